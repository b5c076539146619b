"""What routes ask for: the services, who is calling, and a stream that he may read."""

from typing import Annotated, Any, cast

from fastapi import Depends, Request
from fastapi import Path as InPath

from serving.access import Caller
from serving.context import current
from serving.problems import FORBIDDEN, NOT_FOUND, Problem
from serving.services import Services
from streamgauge.contract.model import Contract
from streamgauge.telemetry.catalog.log_fields import STREAM


async def _services(request: Request) -> Services:
    """Not `def`, as which FastAPI would have a thread do it: a hand-over that costs more than all the rest."""
    return cast(Services, request.app.state.services)


ServicesDep = Annotated[Services, Depends(_services)]


async def _caller(request: Request, services: ServicesDep) -> Caller:
    """Asked for once a request: each time costs the caller some of his budget."""
    if not hasattr(request.state, "caller"):
        request.state.caller = await services.access.caller(request)
    return request.state.caller


CallerDep = Annotated[Caller, Depends(_caller)]


async def _key_holder(caller: CallerDep) -> Caller:
    if not caller.has_key:
        raise Problem(
            FORBIDDEN,
            "What is saved belongs to an API key, and the request has none.",
            "Send one: `streamgauge api-keys create NAME --as viewer` makes it.",
        )
    return caller


KeyHolderDep = Annotated[Caller, Depends(_key_holder)]
"""A caller whom what he saves can belong to."""


async def authorised(request: Request, services: ServicesDep) -> None:
    """A dependency of every route: whether the caller may ask it, as the access file says."""
    rule = services.rules[f"{request.method} {request.scope['route'].path_format}"]
    if not rule.key:
        return
    caller = await _caller(request, services)
    if rule.scope is None:
        return
    if not rule.of_stream:
        caller.require(rule.scope)
    elif services.contracts.get(stream := request.path_params["stream"]) is not None:
        caller.require(rule.scope, stream)
        if rule.scope == "read":
            services.readers.note(stream, caller.name)


def find_stream(services: Services, caller: Caller, stream: str) -> Contract:
    contract = services.contracts.get(stream)
    if contract is not None:
        current().about[STREAM.name] = stream
    else:
        known = ", ".join(s for s in services.contracts if caller.may_read(s))
        raise Problem(NOT_FOUND, f"There is no stream {stream!r}.", f"The streams are {known}.")
    return contract


async def _stream(
    services: ServicesDep, caller: CallerDep, stream: Annotated[str, InPath(description="Such as user_events.")]
) -> Contract:
    return find_stream(services, caller, stream)


StreamDep = Annotated[Contract, Depends(_stream)]


def readable(services: Services, caller: Caller, stream: str | None) -> tuple[Contract, ...]:
    """The stream asked for, or all that the caller may read."""
    if stream is not None:
        found = find_stream(services, caller, stream)
        caller.require("read", stream)
        return (found,)
    return tuple(c for c in services.contracts.values() if caller.may_read(c.stream))


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document: the errors that a route may answer with, besides those that all may."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    every = (401, 403, 422, 429, 500, 503, *statuses)
    return {status: {"description": _WORDS[status], "content": content} for status in sorted(set(every))}


_WORDS = {
    400: "The body is not what its Content-Type says.",
    401: "A valid API key is needed.",
    403: "The API key lacks the scope.",
    404: "There is nothing of that name.",
    406: "No such format.",
    408: "The body took too long.",
    409: "It is not in a state for that.",
    413: "The body has too many bytes or events.",
    415: "The body is of no kind that is read.",
    422: "A parameter is wrong, or the answer would be too large or too slow.",
    429: "Too many requests.",
    500: "The API made a mistake.",
    503: "A server that is needed is away, or all places are taken.",
}
