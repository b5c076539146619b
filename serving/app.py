"""The application: its routes, its errors, and the page."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import psycopg
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from serving import documentation, page
from serving.depends import authorised
from serving.envelope import Envelope
from serving.loop_lag import watch_loop
from serving.parameters import known_parameters
from serving.problems import AWAY, HTTP, INVALID, NOT_ALLOWED, NOT_FOUND, Problem
from serving.routes import routers
from serving.schemas import ProblemDetails
from serving.services import Services
from serving.stream_state import Outdated
from streamgauge.access.api import unruled
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import ACCESS_FILE


def create_app(services: Services) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        services.open()
        watching = asyncio.create_task(watch_loop(), name="loop lag")
        try:
            yield
        finally:
            watching.cancel()
            services.close()

    app = FastAPI(
        title="Streamgauge",
        version=version("streamgauge"),
        summary="Numbers at once, numbers again when checked, and always which.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(known_parameters), Depends(authorised)],
        # the envelope has a span, a metric and a log line already
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.services = services
    found = tuple(routers())
    for router in found:
        app.include_router(router)
    _check_rules(services, found)
    documentation.mount(app)
    page.mount(app)
    app.add_middleware(Envelope)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(psycopg.errors.UndefinedTable, _unapplied)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    _document(app, services.contracts)
    return app


def _check_rules(services: Services, found: Iterable[APIRouter]) -> None:
    """A route of which the access file says nothing would be open to all, or to nobody."""
    own = (r for router in found for r in router.routes if isinstance(r, APIRoute))
    routes = [f"{method} {r.path_format}" for r in own for method in r.methods or ()]
    if wrong := unruled(services.rules, routes):
        raise UserError(f"the access file is not of this version: {'; '.join(wrong)}", f"see {ACCESS_FILE}")


def _unapplied(request: Request, error: Exception) -> Response:
    del error
    problem = Problem(AWAY, "Postgres has not all tables yet: run `streamgauge apply`.", headers={"Retry-After": "10"})
    return problem.response(request.url.path)


def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    if isinstance(problem, Outdated):
        # what is asked again in a second has another answer
        request.app.state.services.contracts.refresh()
    return problem.response(request.url.path)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = [(".".join(str(part) for part in e["loc"][1:]) or str(e["loc"][0]), e["msg"]) for e in error.errors()]
    detail = "; ".join(f"{name}: {message}" for name, message in wrong[:5])
    return Problem(INVALID, detail, errors=tuple(wrong[:20])).response(request.url.path)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        problem = Problem(NOT_FOUND, f"There is no {path}.", "GET /v1/openapi.json lists what there is.")
    elif error.status_code == 405:
        problem = Problem(NOT_ALLOWED, f"{path} doesn't take {request.method}.", headers=error.headers)
    else:
        problem = Problem(HTTP, str(error.detail), headers=error.headers, status=error.status_code)
    return problem.response(path)


def _document(app: FastAPI, contracts: Mapping[str, Contract]) -> None:
    """Every error has one shape, a key is sent in one way, and the streams are these."""
    generate = app.openapi
    described_for: list[str] = []

    def openapi() -> dict[str, Any]:
        names = sorted(contracts)
        if names != described_for:
            app.openapi_schema = None
            described_for[:] = names
        if app.openapi_schema is None:
            document = generate()
            shapes = document["components"]["schemas"]
            for name in ("HTTPValidationError", "ValidationError"):
                shapes.pop(name, None)
            described = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
            shapes |= described.pop("$defs", {})
            shapes["ProblemDetails"] = described
            document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"key": []}, {}]
            operations = [o for path in document["paths"].values() for o in path.values()]
            for parameter in (p for o in operations for p in o.get("parameters", []) if p["name"] == "stream"):
                parameter["schema"] = {"type": "string", "enum": names}
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi
