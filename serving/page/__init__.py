"""The live page: static files, which the API serves beside itself."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

_HERE = Path(__file__).parent
_STATIC = _HERE / "static"
_UPLOT = _HERE / "node_modules" / "uplot" / "dist"


def mount(app: FastAPI) -> None:
    async def index() -> FileResponse:
        return FileResponse(_STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    app.add_api_route("/", index, include_in_schema=False)
    # Installed by npm: where that was left out, the API starts all the same.
    app.mount("/static/uplot", StaticFiles(directory=_UPLOT, check_dir=False))
    app.mount("/static", StaticFiles(directory=_STATIC))
