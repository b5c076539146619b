"""Where a stream's series were not as expected, and what was expected of its count."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query, Request, Response

from serving.depends import CallerDep, ServicesDep, StreamDep, problems
from serving.formats import json_answer
from serving.personal import Reader, reader_of
from serving.problems import INVALID, TOO_LONG, Problem
from serving.rollups.asked import parse_time
from serving.schemas import Anomalies
from serving.services import Services
from streamgauge.contract.model import Contract
from streamgauge.rollup.windows import MINUTE
from streamgauge.state.anomalies import Anomaly, Band, Looked, is_set_up, read_anomalies, read_bands, read_looked

router = APIRouter(tags=["numbers"])

_DEFAULT = timedelta(days=1)
_LONGEST = timedelta(days=8)
"""As long as bands are kept."""

From = Annotated[
    str | None,
    Query(
        alias="from",
        max_length=64,
        description="Anomalies that had not ended by then; by default a day before `to`. ISO 8601, UTC by default.",
    ),
]
To = Annotated[
    str | None, Query(max_length=64, description="Anomalies that began before it; by default the newest minute.")
]


@router.get(
    "/v1/streams/{stream}/anomalies",
    summary="Series that were where chance would not have them, and the band of the stream's count",
    responses={200: {"model": Anomalies}, **problems(404)},
)
def anomalies(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    contract: StreamDep,
    begin: From = None,
    to: To = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many anomalies, the latest first.")] = 100,
) -> Response:
    start, end = parse_time("from", begin), parse_time("to", to)
    with services.database.snapshot() as connection:
        there = is_set_up(connection)
        looked = read_looked(connection, contract.stream) if there else Looked(None, 0)
        end = end or looked.until or datetime.now(UTC)
        start = start or end - _DEFAULT
        if end - start < MINUTE:
            raise Problem(INVALID, "The range ends before it begins.", "Give a `to` after `from`.", parameter="to")
        if end - start > _LONGEST:
            raise Problem(TOO_LONG, f"The range is longer than {_LONGEST}.", parameter="from")
        found = read_anomalies(connection, [contract.stream], start, end, limit) if there else []
        bands = read_bands(connection, contract.stream, start, end) if there else []
    shown = [_shown(contract, a) for a in found]
    if caller.sees_personal:
        _reveal(services, contract, shown, reader_of(request, caller))
    return json_answer(request, _answer(contract, start, end, looked, shown, bands))


def _answer(
    contract: Contract, start: datetime, end: datetime, looked: Looked, shown: list[dict[str, Any]], bands: list[Band]
) -> dict[str, Any]:
    return {
        "stream": contract.stream,
        "from": start,
        "to": end,
        "looked": not contract.anomalies.off,
        "until": looked.until,
        "left_out": looked.left_out,
        "anomalies": shown,
        "band": [asdict(b) for b in bands],
    }


def _shown(contract: Contract, a: Anomaly) -> dict[str, Any]:
    """Dimensions in the contract's order, which jsonb does not keep."""
    ordered = {name: a.dimensions[name] for name in contract.dimension_names if name in a.dimensions}
    return {**{k: v for k, v in asdict(a).items() if k != "stream"}, "dimensions": ordered}


def _reveal(services: Services, contract: Contract, shown: list[dict[str, Any]], reader: Reader) -> None:
    """Puts personal values in the place of pseudonyms."""
    names = list(contract.dimension_names)
    of_members = [a for a in shown if a["dimensions"]]
    if not of_members or not names:
        return
    rows = pl.DataFrame([a["dimensions"] for a in of_members], schema=dict.fromkeys(names, pl.String()))
    for a, values in zip(of_members, services.personal.in_rows(contract, rows, names, reader).to_dicts(), strict=True):
        a["dimensions"] = values
