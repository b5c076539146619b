"""Events, for senders without Kafka."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response

from serving.depends import CallerDep, ServicesDep, find_stream, problems
from serving.formats import json_bytes
from serving.ingest.batcher import Verdicts
from serving.ingest.body import MAX_BYTES, MAX_EVENTS, MEDIA_TYPES
from serving.ingest.check import Refused
from serving.problems import CONFLICT, REFUSED, Problem
from serving.schemas import Accepted
from streamgauge.errors import UserError

router = APIRouter(tags=["events"])

_SHOWN = 100
"""Errors of a request in which no event is right: the rest is mostly the same."""
_EVENT: dict[str, Any] = {"type": "object", "description": "The contract's fields, by name."}
_BODIES: dict[str, dict[str, Any]] = {
    "json": {"anyOf": [_EVENT, {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": MAX_EVENTS}]},
    "ndjson": {"type": "string", "description": "An event a line."},
    "cloudevent": {"type": "object", "description": "A CloudEvent 1.0 with the fields in `data`."},
    "cloudevents": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": MAX_EVENTS},
}
_REQUEST = {
    "requestBody": {
        "required": True,
        "content": {media: {"schema": _BODIES[form]} for media, form in MEDIA_TYPES.items()},
    }
}


@router.post(
    "/v1/streams/{stream}/events",
    summary="Send events",
    description=f"At most {MAX_EVENTS:,} events and {MAX_BYTES:,} bytes. 202 says that Kafka has acknowledged every"
    " event that is not refused; `records` has a verdict for each. A request that fails may be sent again as it is: an"
    " event whose id is there already is counted once. A CloudEvent in binary mode is sent as application/json with the"
    " headers `ce-specversion`, `ce-id`, `ce-source`, `ce-type`.",
    status_code=202,
    responses={202: {"model": Accepted}, **problems(400, 404, 408, 409, 413, 415)},
    response_class=Response,
    openapi_extra=_REQUEST,
)
async def sent(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    stream: Annotated[str, Path(description="Such as user_events.")],
    x_correlation_id: Annotated[
        str | None, Header(description="Goes with each record; by default the request's id.")
    ] = None,
) -> Response:
    contract = find_stream(services, caller, stream)
    try:
        contract.check_written_here()
    except UserError as e:
        raise Problem(CONFLICT, f"{e.what}.", f"{e.hint}.") from e
    accepted = await services.ingest.take(request, contract, f"http:{caller.name}")
    found = accepted.verdicts
    if len(found.refused) == found.events:
        wrong = tuple((_place(r), r.reason) for r in found.refused[:_SHOWN])
        raise Problem(REFUSED, f"None of {found.events:,} events keeps the contract.", errors=wrong)
    return Response(
        json_bytes(_shown(stream, accepted.correlation_id, found)),
        202,
        {"Cache-Control": "no-store"},
        "application/json",
    )


def _place(refused: Refused) -> str:
    return f"[{refused.index}]" + (f".{refused.field}" if refused.field else "")


def _shown(stream: str, correlation_id: str, found: Verdicts) -> dict[str, Any]:
    records: list[dict[str, Any]] = [{"index": i, "verdict": "accepted"} for i in range(found.events)]
    for r in found.refused:
        records[r.index] = {"index": r.index, "verdict": "refused", "field": r.field, "reason": r.reason}
    return {
        "stream": stream,
        "accepted": found.events - len(found.refused),
        "refused": len(found.refused),
        "correlation_id": correlation_id,
        "records": records,
    }
