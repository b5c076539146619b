"""Numbers as they change."""

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Response

from serving.depends import ServicesDep, StreamDep, problems
from serving.sse import LiveResponse

router = APIRouter(tags=["numbers"])


@router.get(
    "/v1/streams/{stream}/live",
    summary="Server-sent events: a snapshot, then what changes",
    description="Events `snapshot` and `numbers` have an id; who comes back with it in `Last-Event-ID` gets what"
    " it missed, or a snapshot. `heartbeat` comes every 5 s, `problem` while a server is away, `bye` before the API"
    " stops. A client that doesn't read for half a minute is dropped. Personal values are always pseudonyms.",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **problems(404)},
)
async def live(
    services: ServicesDep,
    contract: StreamDep,
    window: Annotated[Literal["1m", "5m", "1h"], Query(description="Of the top-N.")] = "5m",
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> LiveResponse:
    hub = services.hub
    hub.take_place()
    channel = hub.channel(contract)
    try:
        client = await channel.join(window, last_event_id)
    except BaseException:
        hub.give_place_back()
        raise

    def leave() -> None:
        channel.leave(client)
        hub.give_place_back()

    return LiveResponse(client, leave)
