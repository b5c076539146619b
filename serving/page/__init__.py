"""The live page: static files, which the API serves beside itself."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

_HERE = Path(__file__).parent
_STATIC = _HERE / "static"
_UPLOT = _HERE / "node_modules" / "uplot" / "dist"
_ASK_AGAIN = {"Cache-Control": "no-cache"}
"""A browser keeps a file, and asks each time whether it is still the same: no page of two versions."""


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_ASK_AGAIN)
        return response


def mount(app: FastAPI) -> None:
    async def index() -> FileResponse:
        return FileResponse(_STATIC / "index.html", headers=_ASK_AGAIN)

    app.add_api_route("/", index, include_in_schema=False)
    # Installed by npm: where that was left out, the API starts all the same.
    app.mount("/static/uplot", _Files(directory=_UPLOT, check_dir=False))
    app.mount("/static", _Files(directory=_STATIC))
