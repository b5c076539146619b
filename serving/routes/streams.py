"""Streams: their contract, and where they stand."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from psycopg import sql

from serving.catalogue import described
from serving.depends import CallerDep, ServicesDep, StreamDep, problems
from serving.formats import momentary_answer
from serving.links import assets_of
from serving.numbers import standing
from serving.readers import read_by
from serving.schemas import Catalogue, Stream, Streams
from serving.services import Services
from serving.stream_state import StreamState, read_state
from streamgauge.contract.measures import COUNT, SUM, Measure, Named
from streamgauge.contract.model import Contract
from streamgauge.contract.promises import source_promises
from streamgauge.rollup.measure_kinds import Figure, figures_of, ratio_figure
from streamgauge.state.generations import Filling, read_filling
from streamgauge.stores.postgres import Connection

router = APIRouter(tags=["streams"])


@router.get(
    "/v1/streams", summary="All streams that the caller may read", responses={200: {"model": Streams}, **problems()}
)
def streams(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    contracts = [c for c in services.contracts.values() if caller.may_read(c.stream)]
    with services.database.snapshot() as connection:
        states = [(read_state(connection, c), _flow(connection, c)) for c in contracts]
        filling = read_filling(connection)
    found = [{**_described(services, s, filling.get(s.contract.stream)), **flow} for s, flow in states]
    return momentary_answer(request, {"as_of": datetime.now(UTC), "streams": found})


@router.get(
    "/v1/streams/{stream}",
    summary="A stream's contract, owner, freshness, watermark and completeness",
    responses={200: {"model": Stream}, **problems(404)},
)
def stream(request: Request, services: ServicesDep, contract: StreamDep) -> Response:
    with services.database.snapshot() as connection:
        state, flow = read_state(connection, contract), _flow(connection, contract)
        filling = read_filling(connection).get(contract.stream)
    return momentary_answer(request, {**_described(services, state, filling), **flow, "fields": _fields(contract)})


@router.get(
    "/v1/streams/{stream}/catalogue",
    summary="What a stream's fields and numbers are, how long they are kept, and who asks for them",
    responses={200: {"model": Catalogue}, **problems(404)},
)
def catalogue(request: Request, services: ServicesDep, contract: StreamDep, caller: CallerDep) -> Response:
    named = None
    if caller.sees_operations:
        with services.database.snapshot() as connection:
            named = read_by(connection, contract.stream, datetime.now(UTC))
    return momentary_answer(request, described(contract, named))


_RECENT = timedelta(minutes=10)


def _flow(connection: Connection, contract: Contract) -> dict[str, Any]:
    """What flows now, and how far it came: by this the page opens with the busiest stream."""
    query = sql.SQL(
        "SELECT (SELECT max(minute) FROM {minutes}), (SELECT coalesce(sum(count), 0)::bigint FROM {minutes}"
        " WHERE minute >= %(since)s AND minute < %(now)s)"
    ).format(minutes=sql.Identifier(contract.minutes_table))
    now = datetime.now(UTC)
    row = connection.execute(query, {"since": now - _RECENT, "now": now}).fetchone()
    assert row is not None
    return {"newest_minute": row[0], "recent_events": row[1]}


def _described(services: Services, state: StreamState, filling: Filling | None) -> dict[str, Any]:
    c = state.contract
    path = f"/v1/streams/{c.stream}"
    return {
        "stream": c.stream,
        "description": c.purpose,
        "owner": c.owner,
        "version": c.version,
        "topic": c.topic,
        "promises": source_promises(c),
        "dimensions": c.dimension_names,
        "distinct": [d.name for d in c.rollup.distinct],
        "measures": [
            *(_measure(m, figures_of(m)) for m in c.rollup.numbered),
            *(_measure(r, [ratio_figure(c.rollup, r)]) for r in c.rollup.ratios),
        ],
        "tops": [t.name for t in c.rollup.top],
        "targets": {
            "freshness_seconds": c.freshness_ms / 1000,
            "hourly_freshness_seconds": c.hourly_freshness_ms / 1000,
            "daily_freshness_seconds": c.daily_freshness_ms / 1000,
            "completeness": 1.0,
            "allowed_lateness_seconds": c.time.allowedLatenessSeconds,
        },
        **standing(state, services.watch.ends(c)),
        "pauses": state.pauses,
        "generation": c.generation,
        "filling": None if filling is None else asdict(filling),
        "links": {
            "self": path,
            "rollups": f"{path}/rollups",
            "top": f"{path}/top",
            "anomalies": f"{path}/anomalies",
            "live": f"{path}/live",
            "provenance": f"{path}/provenance",
        },
        "assets": assets_of(services.settings, c),
    }


def _measure(measure: Named, figures: list[Figure]) -> dict[str, Any]:
    return {
        "name": measure.name,
        "quantiles": isinstance(measure, Measure) and measure.quantiles,
        "figures": [f.name for f in figures],
        "sums": [f.name for f in figures if len(f.columns) == 1 and f.columns[0].merge in (COUNT, SUM)],
    }


def _fields(contract: Contract) -> list[dict[str, Any]]:
    return [
        {
            "name": f.name,
            "type": f.type,
            "required": f.required,
            "classification": f.classification,
            "description": f.description,
        }
        for f in contract.fields
    ]
