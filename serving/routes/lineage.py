"""Where a number comes from, and what became of an event."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import entry_points
from threading import BoundedSemaphore
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from psycopg import sql
from psycopg.rows import dict_row

from serving.arrivals import hours_of_arrival
from serving.depends import CallerDep, ServicesDep, StreamDep, problems, readable
from serving.formats import json_answer, momentary_answer
from serving.links import DESCRIBED, UPSTREAM, asset_url, run_url
from serving.problems import AWAY, BUSY, INVALID, NOT_FOUND, TOO_SLOW, Problem
from serving.rollups.asked import Asked, aligned, filters_of, parse_time, wanted_measures, window_of
from serving.rollups.plan import Layer, layers_of, where_of
from serving.rollups.read import read
from serving.routes.batch import hour_details
from serving.routes.rollups import WindowName, Words
from serving.schemas import Provenance, Traces
from serving.services import Services
from serving.stream_state import StreamState, read_state
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HOUR, HourRange, hour_start
from streamgauge.errors import UserError
from streamgauge.rollup.finality import FINAL, WindowStatus, read_finality
from streamgauge.settings import Settings
from streamgauge.state.commits import commits_of, run_pages
from streamgauge.stores.lake import LakeError
from streamgauge.stores.postgres import Connection

router = APIRouter(tags=["lineage"])

GROUP, NAME = "streamgauge.lineage", "event"


@cache
def _tracer() -> Any:
    """What follows an event through the layers is another package's, which this one may not import."""
    found = entry_points(group=GROUP, name=NAME)
    return next(iter(found)).load() if found else None


@router.get(
    # an id may have slashes
    "/v1/lineage/{event_id:path}",
    summary="What became of an event, layer by layer",
    responses={200: {"model": Traces}, **problems(404)},
)
def lineage(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    event_id: Annotated[str, Path(min_length=1, max_length=200)],
    stream: Annotated[str | None, Query(max_length=63, description="Where to look; else everywhere.")] = None,
    begin: Annotated[
        str | None, Query(alias="from", max_length=64, description="Look at what came from here; else of seven days.")
    ] = None,
    to: Annotated[
        str | None, Query(max_length=64, description="Look at what came before this; else up to now.")
    ] = None,
) -> Response:
    contracts = readable(services, caller, stream)
    hours = _hours_of_ingest(parse_time("from", begin), parse_time("to", to))
    trace = _tracer()
    if trace is None:
        raise Problem(AWAY, "Lineage is not installed here.", headers={"Retry-After": "3600"})
    if not _SEARCHES.acquire(blocking=False):
        raise Problem(BUSY, f"{_MOST_SEARCHES} events are looked for already.", headers={"Retry-After": "1"})
    try:
        settings = services.settings if caller.sees_operations else _without_stores(services.settings)
        found = trace(settings, contracts, event_id, hours, services.config.query_seconds, services.database.snapshot)
    except LakeError as e:
        raise Problem(AWAY, f"{e.what}.", f"{e.hint}.", headers={"Retry-After": "5"}) from e
    finally:
        _SEARCHES.release()
    names = ", ".join(c.stream for c in contracts)
    if not found.traces and found.begin > hours.first:
        raise Problem(
            TOO_SLOW,
            f"No event {event_id!r} in {names} since {found.begin:%Y-%m-%dT%H:%MZ}; there was no time to look further.",
            f"Ask again with to={found.begin:%Y-%m-%dT%H:%MZ}, or name the stream or the time when it came.",
        )
    if not found.traces:
        raise Problem(
            NOT_FOUND,
            f"No event {event_id!r} came to {names} from {hours.first:%Y-%m-%dT%H:%MZ} on.",
            "Check the id, and look further back with `from`; an event is found once its hour is in the lake.",
        )
    searched = {"from": found.begin, "to": hours.last + HOUR}
    return momentary_answer(request, {"event_id": event_id, **searched, "traces": found.traces})


def _without_stores(settings: Settings) -> Settings:
    """Neither asks the store of logs nor has links to it, or to that of traces."""
    return settings.model_copy(update={"logs_url": None, "zipkin_url": None})


_SEARCHED = timedelta(days=7)
_MOST_SEARCHES = 2
_SEARCHES = BoundedSemaphore(_MOST_SEARCHES)
"""A search reads the lake with all cores: many at once would leave none to those who ask for numbers."""


def _hours_of_ingest(begin: datetime | None, to: datetime | None) -> HourRange:
    """Whole hours, which the lake is parted by."""
    end = to or datetime.now(UTC)
    last = hour_start(end - timedelta(microseconds=1))
    first = hour_start(begin or end - _SEARCHED)
    if last < first:
        raise Problem(INVALID, f"The range ends at {end.isoformat()}, before it begins.", parameter="to")
    return HourRange(first, last)


@router.get(
    "/v1/streams/{stream}/provenance",
    summary="Where does this number come from?",
    responses={200: {"model": Provenance}, **problems(404)},
)
def provenance(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    contract: StreamDep,
    start: Annotated[str, Query(max_length=64, description="Where the window starts.")],
    window: WindowName = "1m",
    where: Words = None,
) -> Response:
    length = window_of(window, None)
    begin = parse_time("start", start)
    assert begin is not None
    if aligned(begin, length.hop) != begin:
        raise Problem(INVALID, f"No window of {window} starts at {begin.isoformat()}.", parameter="start")
    end = begin + length.size
    asked = Asked(
        contract=contract,
        window=length,
        window_name=window,
        hop_name=window,
        start=begin,
        end=end,
        group_by=(),
        where=filters_of(contract, where),
        measures=wanted_measures(contract, ["count", "late", "duplicates"]),
        fill="zero",
        limit=None,
        after=None,
    )
    hours = [hour_start(begin) + i * HOUR for i in range(max(1, length.size // HOUR))]
    arrived = hours_of_arrival(services.settings.lake, contract, hours)
    with services.database.snapshot() as connection:
        at = read_state(connection, contract)
        layers = read_finality(connection, contract, begin, end, at.watermark)
        answer = read(connection, asked, at, layers)
        row = answer.rows.row(0, named=True)
        tables = layers_of(contract, begin, end, layers.final, asked.hourly)
        sources = [_source(connection, asked, layer) for layer in tables]
        details = hour_details(connection, contract.stream, hours)
        lake = _lake(connection, contract.stream, hours if arrived is None else arrived)
    standing = layers.standing(begin, end)
    for source in sources:
        source["url"] = asset_url(services.settings, tuple(source["asset"].split("/", 1)))
        source["run_url"] = run_url(services.settings, source.get("run_id"))
    _add_pages(services, contract, sources if caller.sees_operations else [])
    upstream = UPSTREAM["final" if standing.final_share else "provisional"]
    return json_answer(
        request,
        {
            "stream": contract.stream,
            "window": window,
            "start": begin,
            "end": end,
            "as_of": at.as_of,
            "reason": _reason(standing, row["complete"], at, end),
            **{k: row[k] for k in _SHOWN},
            "sources": sources,
            "lake": lake,
            "revisions": details["revisions"],
            "reconciliation": next(iter(details["comparisons"]), None),
            "differences": details["differences"],
            "upstream": [
                {
                    "asset": "/".join(key(contract)),
                    "description": DESCRIBED[key],
                    "url": asset_url(services.settings, key(contract)),
                }
                for key in upstream
            ],
        },
    )


_SHOWN = ("count", "late", "duplicates", "status", "revision", "final_share", "unchecked", "complete")


def _reason(standing: WindowStatus, complete: bool, at: StreamState, end: datetime) -> str:
    if standing.status == FINAL:
        if standing.unchecked:
            return (
                f"Final, revision {standing.revision}, and unchecked: the latest comparison failed, or the numbers "
                "changed after it."
            )
        if standing.revision and standing.revision > 1:
            return f"Final, revision {standing.revision}: rebuilt from the lake after late events, and compared again."
        return "Final: rebuilt from the lake and compared with what the stream worker had counted."
    mixed = f" {standing.final_share:.0%} of the window is final already." if standing.final_share else ""
    if complete:
        return f"Provisional: complete, and not yet rebuilt from the lake and compared.{mixed}"
    waits = (
        "no event has come yet" if at.watermark is None else f"the watermark is at {at.watermark:%Y-%m-%d %H:%M:%S}Z"
    )
    return f"Provisional: events for the time up to {end:%H:%M}Z may still come, {waits}.{mixed}"


def _source(connection: Connection, asked: Asked, layer: Layer) -> dict[str, Any]:
    contract = asked.contract
    if layer.final:
        built = connection.execute(
            "SELECT run_id, built_at FROM event_hours WHERE stream = %s AND hour >= %s AND hour < %s"
            " ORDER BY built_at DESC NULLS LAST LIMIT 1",
            (contract.stream, hour_start(layer.start), layer.end),
        ).fetchone()
        return {
            "layer": "batch",
            "relation": layer.table,
            "asset": "/".join(asset_keys.rollups_hourly(contract)),
            "partitions": [],
            "run_id": built[0] if built else None,
            "written_at": built[1] if built else None,
            "trace_url": None,
            "logs_url": None,
        }
    query = sql.SQL(
        "SELECT partition, max(upto) AS upto, sum(count)::bigint AS count, null AS commit FROM {} WHERE {}"
        " GROUP BY 1 ORDER BY 1"
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        partitions = cursor.execute(query.format(sql.Identifier(layer.table), where_of(asked, layer))).fetchall()
    return {
        "layer": "speed",
        "relation": layer.table,
        "asset": "/".join(asset_keys.minutes(contract)),
        "partitions": partitions,
        "run_id": None,
        "written_at": None,
        "trace_url": None,
        "logs_url": None,
    }


def _add_pages(services: Services, contract: Contract, sources: list[dict[str, Any]]) -> None:
    """Where the stores of traces and logs tell of the commits and the run. A number's answer does not hang on them."""
    for source in sources:
        if source["run_id"] and source["written_at"]:
            source["trace_url"], source["logs_url"] = run_pages(
                services.settings, source["run_id"], source["written_at"]
            )
    commits = commits_of(services.settings)
    if commits is None:
        return
    with suppress(UserError):
        for read in (read for source in sources for read in source["partitions"]):
            found = commits.up_to(contract.stream, read["partition"], read["upto"])
            read["commit"] = found and {k: getattr(found, k) for k in ("at", "offsets", "trace_url", "logs_url")}


def _lake(connection: Connection, stream: str, hours: list[datetime]) -> list[dict[str, Any]]:
    """These hours of the lake, which are of ingest time."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "SELECT hour, partition, from_offset, to_offset, rows, closed, version, run_id, written_at FROM lake_hours"
            " WHERE stream = %s AND hour = ANY(%s) ORDER BY hour, partition",
            (stream, hours),
        ).fetchall()
