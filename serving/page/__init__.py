"""The live page: static files, which the API serves beside itself."""

import os
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.routing import Route
from starlette.staticfiles import PathLike
from starlette.types import Scope

from streamgauge.style import FOLDER, TOKENS

_HERE = Path(__file__).parent
_STATIC = _HERE / "static"
_PACKAGES = _HERE / "node_modules"
_LIBRARIES = {"uplot": _PACKAGES / "uplot" / "dist", "swagger-ui": _PACKAGES / "swagger-ui-dist"}
_ASK_AGAIN = {"Cache-Control": "no-cache"}
"""A browser keeps a file, and asks each time whether it is still the same: no page of two versions."""


class _Files(StaticFiles):
    """Read at once: they are small, and Starlette's way, by threads and in pieces, costs ten times as much. The page
    asks for some twenty of them before its first number."""

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        if isinstance(response, FileResponse):
            headers = {k: response.headers[k] for k in ("Content-Type", "ETag", "Last-Modified")}
            response = Response(Path(full_path).read_bytes(), status_code, headers)
        response.headers.update(_ASK_AGAIN)
        return response


def mount(app: FastAPI) -> None:
    static, shared = _Files(directory=_STATIC), _Files(directory=FOLDER)

    async def index(request: Request) -> Response:
        return await static.get_response("index.html", request.scope)

    async def reference(request: Request) -> Response:
        return await static.get_response("api.html", request.scope)

    async def tokens(request: Request) -> Response:
        return await shared.get_response(TOKENS, request.scope)

    # Not a route of the API, which would refuse the parameters that a shared link may bring along.
    app.router.routes += [Route("/", index), Route("/api", reference), Route(f"/static/css/{TOKENS}", tokens)]
    # Installed by npm: where that was left out, the API starts all the same.
    for name, folder in _LIBRARIES.items():
        app.mount(f"/static/{name}", _Files(directory=folder, check_dir=False))
    app.mount("/static", static)
