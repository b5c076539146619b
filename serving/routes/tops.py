"""The most frequent keys."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from serving.depends import CallerDep, ServicesDep, StreamDep, problems
from serving.formats import json_answer
from serving.numbers import shown_top
from serving.personal import reader_of
from serving.problems import INVALID, NOT_FOUND, TOO_LONG, Problem
from serving.rollups.asked import parse_time
from serving.routes.rollups import From, To
from serving.schemas import Tops
from serving.services import Services
from serving.stream_state import read_state
from serving.tops import MAX_ITEMS, of_range
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import hour_start
from streamgauge.rollup.finality import read_finality
from streamgauge.rollup.tops import TopAnswer
from streamgauge.rollup.windows import MINUTE

router = APIRouter(tags=["numbers"])

_LONGEST = timedelta(days=2)
"""Of any minutes; a sketch of each is merged."""
_LONGEST_OF_HOURS = timedelta(days=31)


@router.get(
    "/v1/streams/{stream}/top",
    summary="The most frequent keys, up to the newest minute or of a range",
    responses={200: {"model": Tops}, **problems(404)},
)
def top(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    contract: StreamDep,
    top: Annotated[str | None, Query(max_length=100, description="By default all of the stream's.")] = None,
    window: Annotated[Literal["1m", "5m", "1h"], Query(description="Up to the newest minute.")] = "1h",
    begin: From = None,
    to: To = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = 10,
) -> Response:
    wanted = {t.name: t for t in contract.rollup.top}
    if top is not None:
        if top not in wanted:
            raise Problem(
                NOT_FOUND,
                f"{contract.stream} has no top {top!r}.",
                f"It has {', '.join(wanted) or 'none'}.",
                parameter="top",
            )
        wanted = {top: wanted[top]}
    start, end = parse_time("from", begin), parse_time("to", to)
    if start is None and end is None:
        found = [a for a in services.tops.latest(contract, window) if a.top in wanted]
    else:
        found = _range(services, contract, [t for t in contract.rollup.top if t.name in wanted], start, end)
    values = None
    if caller.sees_personal and any(map(contract.is_personal, wanted.values())):
        values = services.personal.of(contract, (i.key for a in found for i in a.items), reader_of(request, caller))
    shown = [shown_top(contract, a, limit, values) for a in found]
    body: dict[str, Any] = {"stream": contract.stream, "as_of": datetime.now(UTC), "tops": shown}
    return json_answer(request, body)


def _range(
    services: Services, contract: Contract, tops: Any, start: datetime | None, end: datetime | None
) -> list[TopAnswer]:
    if start is None or end is None:
        missing = "from" if start is None else "to"
        raise Problem(INVALID, f"The range has no `{missing}`.", "Give both, or neither.", parameter=missing)
    for name, time in (("from", start), ("to", end)):
        if time.second or time.microsecond:
            raise Problem(INVALID, f"{time.isoformat()} is within a minute.", "Give whole minutes.", parameter=name)
    if end - start < MINUTE:
        raise Problem(INVALID, "The range ends before it begins.", "Give a `to` after `from`.", parameter="to")
    longest = _LONGEST_OF_HOURS if hour_start(start) == start and hour_start(end) == end else _LONGEST
    if end - start > longest:
        hint = f"Give whole hours for up to {_LONGEST_OF_HOURS.days} days."
        raise Problem(TOO_LONG, f"The range is longer than {longest.days} days.", hint, parameter="from")
    with services.database.snapshot() as connection:
        at = read_state(connection, contract)
        layers = read_finality(connection, contract, start, end, at.watermark)
        return of_range(connection, contract, tops, start, end, layers, at.watermark)
