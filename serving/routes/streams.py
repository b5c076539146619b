"""Streams: their contract, and where they stand."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from serving.depends import CallerDep, GroundDep, StreamDep, problems
from serving.formats import json_answer
from serving.ground import Ground
from serving.links import assets_of
from serving.moment import Moment, read_moment
from serving.numbers import standing
from serving.schemas import Stream, Streams
from streamgauge.contract.model import Contract

router = APIRouter(tags=["streams"])


@router.get(
    "/v1/streams", summary="All streams that the caller may read", responses={200: {"model": Streams}, **problems()}
)
def streams(request: Request, ground: GroundDep, caller: CallerDep) -> Response:
    contracts = [c for c in ground.contracts.values() if caller.may_read(c.stream)]
    with ground.database.snapshot() as connection:
        moments = [read_moment(connection, c) for c in contracts]
    found = [_described(ground, m) for m in moments]
    return json_answer(request, {"as_of": datetime.now(UTC), "streams": found})


@router.get(
    "/v1/streams/{stream}",
    summary="A stream's contract, owner, freshness, watermark and completeness",
    responses={200: {"model": Stream}, **problems(404)},
)
def stream(request: Request, ground: GroundDep, contract: StreamDep) -> Response:
    with ground.database.snapshot() as connection:
        moment = read_moment(connection, contract)
    return json_answer(request, {**_described(ground, moment), "fields": _fields(contract)})


def _described(ground: Ground, moment: Moment) -> dict[str, Any]:
    c = moment.contract
    path = f"/v1/streams/{c.stream}"
    return {
        "stream": c.stream,
        "description": c.purpose,
        "owner": c.owner,
        "version": c.version,
        "topic": c.topic,
        "dimensions": c.dimension_names,
        "distinct": [d.name for d in c.rollup.distinct],
        "measures": [{"name": m.name, "quantiles": m.quantiles} for m in c.rollup.measures],
        "tops": [t.name for t in c.rollup.top],
        "targets": {
            "freshness_seconds": c.freshness_ms / 1000,
            "hourly_freshness_seconds": c.hourly_freshness_ms / 1000,
            "daily_freshness_seconds": c.daily_freshness_ms / 1000,
            "completeness": 1.0,
            "allowed_lateness_seconds": c.time.allowedLatenessSeconds,
        },
        **standing(moment, ground.watch.ends(c)),
        "pauses": moment.pauses,
        "links": {
            "self": path,
            "rollups": f"{path}/rollups",
            "top": f"{path}/top",
            "live": f"{path}/live",
            "provenance": f"{path}/provenance",
        },
        "assets": assets_of(ground.settings, c),
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
