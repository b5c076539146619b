"""Rollups of any window, over both layers."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from serving.depends import CallerDep, ServicesDep, StreamDep, problems
from serving.formats import MEDIA_TYPES, Format, Rows, etag, format_of, json_answer, not_modified, rows_answer
from serving.personal import reader_of
from serving.rollups.asked import (
    MAX_ROWS,
    RANGE,
    Asked,
    Fill,
    check_range,
    default_range,
    filters_of,
    groups_of,
    parse_time,
    wanted_measures,
    whole_range,
    window_of,
)
from serving.rollups.in_sql import in_sql
from serving.rollups.read import Answer, read
from serving.schemas import Rollups, RollupsSql
from serving.stream_state import StreamState, read_state
from streamgauge.contract.model import Contract
from streamgauge.rollup.finality import FINAL, Finality, read_finality
from streamgauge.rollup.windows import latest_minute

router = APIRouter(tags=["numbers"])

WindowName = Literal["1m", "5m", "15m", "1h", "3h", "1d"]
From = Annotated[
    str | None,
    Query(alias="from", max_length=64, description="Windows start from here. ISO 8601, UTC unless it says else."),
]
To = Annotated[str | None, Query(max_length=64, description="Windows start before this.")]
Size = Annotated[
    Literal[WindowName, "range"],
    Query(description="How long a window is. range: one window from `from` to `to`, of whole minutes."),
]
Words = Annotated[list[Annotated[str, Query(max_length=500)]] | None, Query(max_length=100)]


@router.get(
    "/v1/streams/{stream}/rollups",
    summary="Counts and measures by window, final where the hour is final and provisional after it",
    responses={
        200: {
            "model": Rollups,
            "content": {
                media.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
                for form, media in MEDIA_TYPES.items()
                if form != "json"
            },
        },
        304: {"description": "What the caller has is still so."},
        **problems(404, 406),
    },
)
def rollups(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    contract: StreamDep,
    window: Size = "1m",
    hop: Annotated[WindowName | None, Query(description="Start a window this often; else as long as it is.")] = None,
    begin: From = None,
    to: To = None,
    group_by: Annotated[Words, Query(description="Dimensions to split by.")] = None,
    where: Annotated[Words, Query(description="dimension:value. Values of one dimension are alternatives.")] = None,
    measures: Annotated[Words, Query(description="By default all that need no sketch.")] = None,
    fill: Annotated[Fill, Query(description="zero: a row also for windows without events.")] = "none",
    limit: Annotated[
        int | None, Query(ge=1, le=MAX_ROWS, description="Rows a page. Without it, all or an error.")
    ] = None,
    cursor: Annotated[str | None, Query(max_length=2000, description="From `next` of the page before.")] = None,
    form: Annotated[Format | None, Query(alias="format", description="Stands above Accept.")] = None,
) -> Response:
    form = format_of(request, form)
    question = _question(contract, window, hop, begin, to, group_by, where, measures)
    with services.database.snapshot() as connection:
        at = read_state(connection, contract)
        asked = question(lambda: latest_minute(connection, contract) or at.as_of, fill, limit)
        if cursor is not None:
            asked = asked.after_cursor(cursor)
        layers = read_finality(connection, contract, asked.first, asked.stop, at.watermark)
        tag = _tag(request, form, asked, at, layers, caller.sees_personal)
        unchanged = not_modified(request, tag)
        if unchanged is not None:
            return unchanged
        answer = read(connection, asked, at, layers)
    if caller.sees_personal:
        rows = services.personal.in_rows(contract, answer.rows, asked.group_by, reader_of(request, caller))
        answer = replace(answer, rows=rows)
    return _answer(request, form, answer, tag, _next(request, asked, answer), services.watch.ends(contract))


@router.get(
    "/v1/streams/{stream}/rollups/sql",
    summary="The same question as SQL, for Postgres' views of windows",
    responses={200: {"model": RollupsSql}, **problems(404)},
)
def rollups_in_sql(
    request: Request,
    services: ServicesDep,
    contract: StreamDep,
    window: Size = "1m",
    begin: From = None,
    to: To = None,
    group_by: Annotated[Words, Query(description="Dimensions to split by.")] = None,
    where: Annotated[Words, Query(description="dimension:value. Values of one dimension are alternatives.")] = None,
    measures: Annotated[Words, Query(description="By default all that need no sketch.")] = None,
) -> Response:
    question = _question(contract, window, None, begin, to, group_by, where, measures)
    with services.database.snapshot() as connection:
        asked = question(lambda: latest_minute(connection, contract) or datetime.now(UTC), "none", None)
    query, left_out = in_sql(asked)
    return json_answer(request, {"stream": contract.stream, "sql": query, "left_out": left_out})


_Question = Callable[[Callable[[], datetime], Fill, int | None], Asked]
"""Of what is asked for the newest minute where the question names no time, of `fill` and of `limit`."""


def _question(
    contract: Contract,
    window: str,
    hop: str | None,
    begin: str | None,
    to: str | None,
    group_by: list[str] | None,
    where: list[str] | None,
    measures: list[str] | None,
) -> _Question:
    """Checked before the database is asked anything."""
    start, end = parse_time("from", begin), parse_time("to", to)
    length = whole_range(start, end, hop) if window == RANGE else window_of(window, hop)
    groups, filters = groups_of(contract, group_by), filters_of(contract, where)
    wanted = wanted_measures(contract, measures)

    def asked(newest: Callable[[], datetime], fill: Fill, limit: int | None) -> Asked:
        first, last = start, end
        if first is None or last is None:
            from_newest = default_range(length, newest())
            first = first or (from_newest[0] if last is None else last - (from_newest[1] - from_newest[0]))
            last = last or from_newest[1]
        check_range(length, first, last)
        return Asked(
            contract=contract,
            window=length,
            window_name=window,
            hop_name=hop or window,
            start=first,
            end=last,
            group_by=groups,
            where=filters,
            measures=wanted,
            fill=fill,
            limit=limit,
            after=None,
        )

    return asked


def _tag(request: Request, form: Format, asked: Asked, at: StreamState, layers: Finality, sees_personal: bool) -> str:
    """Of what the numbers hang on: of final hours their revisions alone, else also how far the worker has come."""
    settled = layers.of_range(asked.first, asked.stop) == FINAL if asked.stop > asked.first else False
    moving = None if settled else (at.version, at.rebuilt, at.watermark, at.revised_at)
    question = (asked.contract.generation, asked.fingerprint, asked.limit, asked.after, form, sees_personal)
    final_hours = sorted((hour, final.revision, final.checked) for hour, final in layers.final.items())
    return etag(question, moving, final_hours, request.headers.get("accept-encoding", ""))


def _next(request: Request, asked: Asked, answer: Answer) -> str | None:
    """The next page's address: this one's, with the range spelled out so that it doesn't move between pages."""
    if answer.next is None:
        return None
    fixed = {"from": asked.start.isoformat(), "to": asked.end.isoformat(), "cursor": answer.next}
    kept = [(k, v) for k, v in request.query_params.multi_items() if k not in fixed]
    return f"{request.url.path}?{urlencode([*kept, *fixed.items()])}"


def _answer(request: Request, form: Format, answer: Answer, tag: str, following: str | None, ends: Any) -> Response:
    asked, at = answer.asked, answer.state
    around: dict[str, Any] = {
        "stream": asked.contract.stream,
        "window": asked.window_name,
        "hop": asked.hop_name,
        "from": asked.start,
        "to": asked.end,
        "group_by": asked.group_by,
        "status": answer.status,
        "unchecked": answer.unchecked,
        "as_of": at.as_of,
        "watermark": at.watermark,
        "completeness": at.completeness(ends),
        "errors": answer.errors,
        "source": {"provisional": answer.tables.get(False), "final": answer.tables.get(True)},
        "next": following,
    }
    headers = {"X-As-Of": at.as_of.isoformat(), "X-Status": answer.status}
    if answer.unchecked:
        headers["X-Unchecked"] = "true"
    if at.watermark is not None:
        headers["X-Watermark"] = at.watermark.isoformat()
    if following is not None:
        headers["Link"] = f'<{following}>; rel="next"'
    return rows_answer(request, form, Rows(answer.rows, around), tag, headers)
