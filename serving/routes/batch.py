"""What the batch layer found: quality, its reports, and reconciliation."""

import base64
import hashlib
import re
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from psycopg import sql
from psycopg.rows import dict_row

from serving.depends import CallerDep, ServicesDep, StreamDep, problems, readable
from serving.envelope import SECURITY
from serving.formats import etag, json_answer, not_modified, respond
from serving.links import run_url
from serving.problems import NOT_FOUND, Problem
from serving.rollups.asked import parse_time
from serving.routes.rollups import From, To
from serving.schemas import Anything, Days, Listed
from streamgauge.dagster.hours import hour_start
from streamgauge.stores.postgres import Connection
from streamgauge.stores.reports import Reports

router = APIRouter(tags=["quality"])

StreamName = Annotated[str | None, Query(max_length=63, description="By default all that the caller may read.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Status = Literal["passed", "failed", "unknown"]


# A step in the primary key's index for each check that there is, and one for its latest result: a plain DISTINCT reads
# every result that was kept, and the page asks every few seconds.
_LATEST_CHECKS = """WITH RECURSIVE known AS (
 (SELECT stream, asset, check_name FROM check_results WHERE stream = ANY(%(streams)s) ORDER BY 1, 2, 3 LIMIT 1)
 UNION ALL
 SELECT n.stream, n.asset, n.check_name FROM known k, LATERAL (
  SELECT stream, asset, check_name FROM check_results c WHERE stream = ANY(%(streams)s)
  AND (c.stream, c.asset, c.check_name) > (k.stream, k.asset, k.check_name) ORDER BY 1, 2, 3 LIMIT 1) n
)
SELECT latest.* FROM known k, LATERAL (SELECT stream, asset, check_name AS "check", partition, at, status,
 status = 'passed' AS passed, severity, observed, expected, failing, denominator, samples, details, run_id
 FROM check_results c WHERE (c.stream, c.asset, c.check_name) = (k.stream, k.asset, k.check_name)
 ORDER BY partition DESC, at DESC LIMIT 1) latest"""


@router.get(
    "/v1/quality",
    summary="The newest result of each quality check",
    responses={200: {"model": Listed}, **problems(404)},
)
def quality(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    stream: StreamName = None,
    status: Annotated[Status | None, Query(description="Of these results only.")] = None,
    limit: Limit = 200,
) -> Response:
    streams = [c.stream for c in readable(services, caller, stream)]
    with services.database.snapshot() as connection:
        rows = _rows(
            connection,
            f"{_LATEST_CHECKS} WHERE %(status)s::text IS NULL OR status = %(status)s"
            ' ORDER BY status, stream, asset, "check" LIMIT %(limit)s',
            {"streams": streams, "status": status, "limit": limit},
        )
    for row in rows:
        row["description"] = f"{row['observed']}; expected {row['expected']}"
        row["url"] = run_url(services.settings, row["run_id"])
    return json_answer(request, {"rows": rows})


@router.get(
    "/v1/streams/{stream}/reports",
    summary="The days that have a data-quality report",
    responses={200: {"model": Days}, **problems(404)},
)
def reports(request: Request, services: ServicesDep, contract: StreamDep) -> Response:
    days = Reports(services.settings.lake).days(contract.stream)
    return json_answer(request, {"stream": contract.stream, "days": days})


@router.get(
    "/v1/streams/{stream}/reports/{day}",
    summary="The data-quality report of a day, a page to read",
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **problems(404)},
)
def report(
    request: Request, services: ServicesDep, contract: StreamDep, day: Annotated[date, Path(description="Of UTC.")]
) -> Response:
    page = Reports(services.settings.lake).read(contract.stream, day.isoformat())
    if page is None:
        raise Problem(
            NOT_FOUND,
            f"{contract.stream} has no report of {day}.",
            f"GET /v1/streams/{contract.stream}/reports lists the days that have one.",
        )
    content = page.encode()
    tag = etag(content)
    own = {"Content-Security-Policy": _policy(page)}
    return not_modified(request, tag) or respond(request, content, "text/html; charset=utf-8", tag=tag, headers=own)


def _policy(page: str) -> str:
    """The page brings its style along: just that one is let through, named by its hash."""
    styles = re.findall(r"<style[^>]*>(.*?)</style>", page, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in styles]
    return SECURITY["Content-Security-Policy"].replace(
        "style-src 'self'", f"style-src 'self' {' '.join(hashes)}".strip()
    )


# The newest hours of each stream by the primary key's index, and of these alone the revisions.
_RECONCILIATIONS = """SELECT r.*, f.revision, f.checked, f.revised_at, f.reason,
 CASE WHEN f.revision IS NULL THEN 'provisional' ELSE 'final' END AS status
 FROM unnest(%(streams)s::text[]) AS s (name), LATERAL (
  SELECT DISTINCT ON (stream, hour) * FROM reconciliations WHERE stream = s.name
  AND (%(from)s::timestamptz IS NULL OR hour >= %(from)s) AND (%(to)s::timestamptz IS NULL OR hour < %(to)s)
  ORDER BY stream DESC, hour DESC, at DESC LIMIT %(limit)s) AS r
 LEFT JOIN LATERAL (SELECT revision, checked, at AS revised_at, reason FROM hour_revisions v
  WHERE v.stream = r.stream AND v.hour = r.hour ORDER BY revision DESC LIMIT 1) AS f ON true"""


@router.get(
    "/v1/reconciliation",
    summary="The newest comparison of each hour, the newest hours first",
    responses={200: {"model": Listed}, **problems(404)},
)
def reconciliation(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    stream: StreamName = None,
    begin: From = None,
    to: To = None,
    limit: Limit = 48,
) -> Response:
    values = {
        "streams": [c.stream for c in readable(services, caller, stream)],
        "from": parse_time("from", begin),
        "to": parse_time("to", to),
        "limit": limit,
    }
    with services.database.snapshot() as connection:
        rows = _rows(connection, f"{_RECONCILIATIONS} ORDER BY r.hour DESC, r.stream LIMIT %(limit)s", values)
    for row in rows:
        row["url"] = run_url(services.settings, row["run_id"])
    return json_answer(request, {"rows": rows})


@router.get(
    "/v1/reconciliation/{stream}/{hour}",
    summary="An hour's comparisons, differences and revisions",
    responses={200: {"model": Anything}, **problems(404)},
)
def reconciled_hour(
    request: Request,
    services: ServicesDep,
    contract: StreamDep,
    hour: Annotated[str, Path(max_length=64, description="Any time in it, ISO 8601.")],
) -> Response:
    asked = parse_time("hour", hour)
    assert asked is not None
    at = hour_start(asked)
    with services.database.snapshot() as connection:
        body = hour_details(connection, contract.stream, [at])
    if not body["comparisons"]:
        raise Problem(
            NOT_FOUND,
            f"The hour {at.isoformat()} of {contract.stream} was never compared.",
            f"GET /v1/reconciliation?stream={contract.stream} lists those that were.",
        )
    return json_answer(request, {"stream": contract.stream, "hour": at, **body})


def hour_details(connection: Connection, stream: str, hours: list[Any]) -> dict[str, list[dict[str, Any]]]:
    values = {"stream": stream, "hours": hours}
    of_hours = " WHERE stream = %(stream)s AND hour = ANY(%(hours)s)"
    return {
        "comparisons": _rows(connection, f"SELECT * FROM reconciliations{of_hours} ORDER BY at DESC LIMIT 100", values),
        "differences": _rows(
            connection,
            f"SELECT * FROM reconciliation_differences{of_hours} ORDER BY explained, minute, measure LIMIT 500",
            values,
        ),
        "revisions": _rows(
            connection, f"SELECT * FROM hour_revisions{of_hours} ORDER BY hour, revision DESC LIMIT 500", values
        ),
    }


def _rows(connection: Connection, query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql.SQL(query), values).fetchall()  # pyright: ignore[reportArgumentType]
