"""An API of the page's tests: the serving API's shapes, with the answers that a test wants."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
import uvicorn
from fastapi import Body, FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from serving import documentation, page
from serving.catalogue import described
from serving.readers import ReadBy
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import NumberAlert
from streamgauge.settings import CONTRACTS

Json = dict[str, Any]

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
STREAMS = ("user_events", "system_events")
_MINUTE = timedelta(minutes=1)
_MARKUP = "<img src=x onerror=alert(1)>"


def text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


KINDS = [f"Kind{n:02}" for n in range(12)]
SIZES = {
    "1m": _MINUTE,
    "5m": 5 * _MINUTE,
    "15m": 15 * _MINUTE,
    "1h": 60 * _MINUTE,
    "3h": 180 * _MINUTE,
    "1d": timedelta(days=1),
}
ODD = 10
"""Minutes back is the one that is not as expected."""
FIGURES = ("sum", "mean", "max", "p50", "p95", "p99")
"""Of the measure, as the API names them: `commits_sum` and so on."""


@dataclass
class Answers:
    """What the API says. A test changes it while a page is open."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    problem: str | None = None
    """What `live` tells instead of numbers."""
    partial: list[str] = field(default_factory=list[str])
    still: bool = False
    """`live` has nothing new to say."""
    silent: bool = False
    """`live` says nothing at all, and doesn't end."""
    no_live: bool = False
    """`live` is refused, other calls are not."""
    alerts: list[Json] = field(default_factory=list[Json])
    alert_notes: list[str] = field(default_factory=list[str])
    key: str | None = None
    connections: list[str | None] = field(default_factory=list[str | None])
    """The Last-Event-ID of each."""
    unusual: bool = True
    """Something is not as expected."""
    event: str = "a b?c"
    """The id of the one event that is found."""
    recent: dict[str, int] = field(default_factory=lambda: {"user_events": 900})
    """How many events each stream had in the last minutes."""
    saved: list[Json] = field(default_factory=list[Json])
    """Views that are kept."""
    shift: int = 0
    """Added to the first key of each top, so that the order changes."""

    def minute(self, back: int) -> Json:
        start = self.now.replace(second=0, microsecond=0) - back * _MINUTE
        return {
            "minute": text(start),
            "window_end": text(start + _MINUTE),
            "count": 900 + (start.minute * 137) % 400,
            "late": start.minute % 3,
            "duplicates": start.minute % 5,
            "status": "final" if back > 20 else "provisional",
            "revision": 1 if back > 20 else None,
            "complete": back > 2,
        }

    def windows(
        self, window: str, begin: datetime, end: datetime, kinds: list[str], group_by: str | None
    ) -> list[Json]:
        """Each minute has as many events of a kind as the kind's place says, and ten times as many in the last day."""
        size = end - begin if window == "range" else SIZES[window]
        rows: list[Json] = []
        while begin < end:
            minutes = size // _MINUTE * (10 if begin > self.now - timedelta(days=1) else 1)
            common = {
                "window_start": text(begin),
                "window_end": text(begin + size),
                "unchecked": False,
                "revision": None,
            }
            common["status"] = "final" if begin + size < self.now - timedelta(hours=2) else "provisional"
            common["complete"] = begin + size <= self.now
            counts = {k: (KINDS.index(k) + 1) * minutes for k in kinds}
            if group_by:
                rows += [{**common, group_by: kind, "count": n} for kind, n in counts.items()]
            elif counts:
                rows.append({**common, "count": sum(counts.values())})
            begin += size
        return rows

    def stream(self, name: str) -> Json:
        final_until = text(self.now.replace(second=0, microsecond=0) - 20 * _MINUTE)
        return {
            "stream": name,
            "description": "What people and bots do in the product, one record an action.",
            "owner": "product-analytics",
            "promises": [],
            "version": "1.0.0",
            "topic": f"app-{name}",
            "dimensions": ["event_type"],
            "distinct": ["users"],
            "measures": [
                {
                    "name": "commits",
                    "quantiles": True,
                    "figures": [f"commits_{f}" for f in FIGURES],
                    "sums": ["commits_sum"],
                }
            ],
            "tops": ["users", "organisations"],
            "targets": {
                "freshness_seconds": 60,
                "hourly_freshness_seconds": 10800,
                "daily_freshness_seconds": 108000,
                "completeness": 1.0,
                "allowed_lateness_seconds": 120,
            },
            "pauses": [],
            "generation": 1,
            "filling": None,
            "links": {},
            "assets": [
                {
                    "asset": f"facts/{name}_facts",
                    "description": "Each event once.",
                    "url": "http://127.0.0.1:1/assets/facts",
                },
                {
                    "asset": f"reconciliation/{name}_reconciliation",
                    "description": "Speed against batch.",
                    "url": "http://127.0.0.1:1/r",
                },
                {"asset": f"rollups/{name}_hourly", "description": "From facts.", "url": "http://127.0.0.1:1/rollups"},
                {"asset": f"speed/{name}_minutes", "description": "Minute rollups of the worker.", "url": None},
            ],
            "newest_minute": text(self.now.replace(second=0, microsecond=0)),
            "recent_events": self.recent.get(name, 0),
            **self.moving(final_until),
        }

    def moving(self, final_until: str) -> Json:
        return {
            "as_of": text(datetime.now(UTC)),
            "watermark": text(self.now - timedelta(seconds=4)),
            "freshness_seconds": 4.2,
            "completeness": {
                "ratio": 0.99987,
                "lag": 13,
                "lost": 0,
                "complete_until": text(self.now.replace(second=0, microsecond=0) - 2 * _MINUTE),
                "final_until": final_until,
            },
            "final_until": final_until,
            "accounts": {
                "acknowledged": 101_250,
                "counted": 100_900,
                "late": 120,
                "duplicates": 214,
                "dead_letters": 3,
                "lost": 0,
                "lag": 13,
                "adds_up": True,
            },
        }

    def tops(self) -> Json:
        end = self.now.replace(second=0, microsecond=0) + _MINUTE
        keys = [("~3f9a1c", 520 + self.shift), (_MARKUP, 700), ("~77aa01", 400), ("~10ff3e", 390), ("~beef00", 12)]
        items = [{"key": k, "count": n, "lower": n, "upper": n} for k, n in sorted(keys, key=lambda i: -i[1])]
        window = {"window": "1h", "start": text(end - 60 * _MINUTE), "end": text(end), "source": "redis"}
        return {
            "users": {**window, "items": items, "error": 0, "exact": True, "masked": True},
            "organisations": {**window, "items": [], "error": 0, "exact": True, "masked": False},
        }

    def live(self, name: str, minutes: int) -> Json:
        return {
            "stream": name,
            **self.moving(self.stream(name)["final_until"]),
            "minutes": [self.minute(back) for back in reversed(range(minutes))],
            "tops": self.tops(),
            "problems": self.partial,
        }

    def provenance(self, name: str, window: str, start: str) -> Json:
        begin = datetime.fromisoformat(start)
        hour = text(begin.replace(minute=0, second=0, microsecond=0))
        return {
            "stream": name,
            "window": window,
            "start": start,
            "end": text(begin + _MINUTE),
            "status": "final",
            "reason": "Final: its hour was compared with the lake, and every difference is explained.",
            "count": 1011,
            "late": 2,
            "duplicates": 4,
            "sources": [
                {
                    "layer": "batch",
                    "asset": f"rollups/{name}_hourly",
                    "url": "http://127.0.0.1:1/assets/rollups",
                    "partitions": [],
                    "run_id": "6f1c2b3a-1111-2222-3333-444455556666",
                    "written_at": text(self.now),
                },
                {
                    "layer": "speed",
                    "relation": f"{name}_minutes",
                    "url": None,
                    "partitions": [{"partition": p, "upto": 17_000 + p} for p in range(6)],
                    "run_id": None,
                    "written_at": None,
                },
            ],
            "lake": [
                {
                    "hour": hour,
                    "partition": p,
                    "from_offset": 9000,
                    "to_offset": 17_000 + p,
                    "version": 12,
                    "run_id": "r",
                }
                for p in range(6)
            ],
            "revisions": [{"revision": 1, "at": text(self.now), "reason": "The first check.", "checked": True}],
            "reconciliation": self.check(name, 1),
            "differences": [
                {
                    "minute": start,
                    "dimensions": {"event_type": "PushEvent"},
                    "measure": "count",
                    "speed": 600,
                    "batch": 602,
                    "explanation": "2 events arrived late.",
                }
            ],
            "upstream": [
                {"asset": f"kafka/app-{name}", "description": "The log.", "url": None},
                {
                    "asset": f"lake/{name}_lake",
                    "description": "Every record, by hour of arrival.",
                    "url": "http://127.0.0.1:1/lake",
                },
            ],
        }

    def catalogue(self, name: str) -> Json:
        """What the contract says, with an alert and two readers."""
        silence = NumberAlert(name="too_few", number="count", windowMinutes=5, below=10, description=_MARKUP)
        contract = replace(find_contract(load_contracts(CONTRACTS), name), alerts=(silence,))
        readers = [ReadBy("grafana", "a1b2c3d4e5f6", 12_034, self.now), ReadBy("anonymous", None, 7, self.now)]
        return json.loads(orjson.dumps(described(contract, readers)))

    def save(self, wanted: Json, own: bool = True) -> Json:
        view = {**wanted, "id": f"{len(self.saved):012x}", "owner": "ann" if own else "bob", "own": own}
        self.saved.append({**view, "created_at": text(self.now), "changed_at": text(self.now)})
        return self.saved[-1]

    def traces(self, name: str) -> Json:
        step = {"partition": None, "run_id": None, "at": text(self.now), "logs_url": None}
        step["trace_url"] = "http://127.0.0.1:1/zipkin/traces/1"
        speed = {**step, "layer": "speed", "asset": f"speed/{name}_minutes", "url": None, "description": _MARKUP}
        lake = {**step, "layer": "lake", "asset": f"lake/{name}_lake", "url": "http://127.0.0.1:1/lake"}
        return {
            "event_id": self.event,
            "from": text(self.now - timedelta(days=7)),
            "to": text(self.now),
            "traces": [
                {
                    "stream": name,
                    "topic": f"app-{name}",
                    "partition": 3,
                    "offset": 17_001,
                    "ingest_time": text(self.now),
                    "event_time": text(self.now - timedelta(seconds=2)),
                    "verdict": "fact",
                    "steps": [speed, {**lake, "description": "In the lake.", "run_id": "6f1c2b3a-1111"}],
                }
            ],
        }

    def check(self, name: str, back: int) -> Json:
        hour = self.now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=back)
        return {
            "stream": name,
            "hour": text(hour),
            "at": text(hour + timedelta(minutes=66)),
            "run_id": "r",
            "passed": back != 3,
            "buckets": 840,
            "explained": 12,
            "unexplained": 1 if back == 3 else 0,
            "facts": 61_022,
            "counted": 60_990,
            "late": 32,
            "duplicates": 9,
            "batch_duplicates": 9,
            "status": "provisional" if back == 3 else "final",
            "revision": 1,
            "checked": True,
            "reason": "",
            "url": "http://127.0.0.1:1/runs/r",
        }

    def anomalies(self, name: str) -> Json:
        """The tenth minute back is beyond the band of the stream's count, and so is a member's."""
        start = self.now.replace(second=0, microsecond=0)
        counts = {back: self.minute(back)["count"] for back in range(60)}
        count: Json = {
            "id": "a1b2c3d4e5f6",
            "figure": "count",
            "dimensions": {},
            "kind": "peak",
            "direction": "down",
            "began": text(start - ODD * _MINUTE),
            "ended": text(start - (ODD - 1) * _MINUTE),
            "shifted": False,
            "minute": text(start - ODD * _MINUTE),
            "minutes": 1,
            "observed": counts[ODD],
            "expected": counts[ODD] * 2.0,
            "low": counts[ODD] * 1.8,
            "high": counts[ODD] * 2.2,
            "score": 1.9,
            "state": "ended",
            "verdict_at": None,
            "verdict_by": None,
            "verdict_because": None,
        }
        member = {"id": "f6e5d4c3b2a1", "dimensions": {"event_type": _MARKUP}, "ended": None, "state": "open"}
        band = {back: (2 if back == ODD else 1) * counts[back] for back in range(60)}
        return {
            "stream": name,
            "from": text(start - 60 * _MINUTE),
            "to": text(start),
            "looked": True,
            "until": text(start - 2 * _MINUTE),
            "left_out": 0,
            "anomalies": [count, {**count, **member}] if self.unusual else [],
            "band": [
                {"minute": text(start - back * _MINUTE), "expected": n, "low": 0.9 * n, "high": 1.1 * n}
                for back, n in reversed(band.items())
                if back > 2
            ],
        }

    def operations(self) -> Json:
        names = ("postgres", "kafka", "redis", "registry", "worker", "prometheus", "alertmanager", "dagster")
        return {
            "as_of": text(datetime.now(UTC)),
            "parts": [{"name": n, "up": n != "redis", "detail": "refused" if n == "redis" else "ready"} for n in names],
            "lag": [
                {
                    "stream": "user_events",
                    "partition": p,
                    "end_offset": 17_020,
                    "next_offset": 17_000 + p,
                    "lag": 20 - p,
                    "owner": "worker-1",
                    "paused_reason": None,
                    "watermark": text(self.now),
                    "updated_at": text(self.now),
                }
                for p in range(6)
            ],
            "throughput": [{"stream": "user_events", "events_per_second": 19_874.3}],
            "error_budgets": [
                {
                    "name": "freshness",
                    "stream": "user_events",
                    "objective": 0.99,
                    "window": "30d",
                    "remaining": 0.83,
                    "burn_rate": 0.4,
                    "burnt": [{"hour": text(self.now), "bad": 120, "share": 0.62}],
                },
                {
                    "name": "api-latency",
                    "stream": None,
                    "objective": 0.95,
                    "window": "30d",
                    "remaining": 0.1,
                    "burn_rate": 3,
                    "burnt": [],
                },
            ],
            "problems": ["Redis does not answer: top-N lists come from Postgres."],
        }


def make_app(answers: Answers) -> FastAPI:
    app = FastAPI()

    async def guard(request: Request, call_next: Any) -> Response:
        wanted = answers.key and request.url.path.startswith("/v1")
        if wanted and request.headers.get("authorization") != f"Bearer {answers.key}":
            response: Response = JSONResponse({"detail": "This needs a key.", "hint": "Ask for one."}, 401)
        else:
            response = await call_next(request)
        response.headers["Content-Security-Policy"] = CSP
        return response

    app.middleware("http")(guard)

    @app.get("/v1/streams")
    def streams() -> Json:
        return {
            "as_of": text(datetime.now(UTC)),
            "streams": [answers.stream(n) for n in ("user_events", "system_events")],
        }

    @app.get("/v1/streams/{name}")
    def stream(name: str) -> Json:
        return answers.stream(name)

    @app.get("/v1/streams/{name}/rollups")
    def rollups(
        name: str,
        window: str,
        begin: Annotated[datetime | None, Query(alias="from")] = None,
        to: datetime | None = None,
        group_by: str | None = None,
        where: Annotated[list[str] | None, Query()] = None,
        measures: str = "count",
    ) -> Json:
        if begin is None or to is None:
            rows = [{"window_start": m.pop("minute"), **m} for m in map(answers.minute, reversed(range(60)))]
        else:
            chosen = [k for k in KINDS if not where or f"event_type:{k}" in where]
            rows = answers.windows(window, begin, to, chosen, group_by)
        for row in rows:
            for measure in measures.split(","):
                row.setdefault(measure, 7.25)
        return {"stream": name, "rows": rows, "next": None}

    @app.get("/v1/streams/{name}/rollups/sql")
    def rollups_in_sql(name: str) -> Json:
        return {"stream": name, "sql": f'SELECT sum("count") FROM "{name}_1h";', "left_out": []}

    @app.get("/v1/streams/{name}/anomalies")
    def anomalies(name: str) -> Json:
        return answers.anomalies(name)

    @app.get("/v1/streams/{name}/top")
    def top(name: str) -> Json:
        return {"stream": name, "tops": [{"top": t, **a} for t, a in answers.tops().items()]}

    @app.get("/v1/streams/{name}/provenance")
    def provenance(name: str, window: str, start: str) -> Json:
        return answers.provenance(name, window, start)

    @app.get("/v1/streams/{name}/live", response_model=None)
    def live(name: str, request: Request) -> Response:
        if answers.no_live:
            return JSONResponse({"detail": "Too many clients.", "hint": "Try later."}, 503)
        answers.connections.append(request.headers.get("last-event-id"))
        return StreamingResponse(_events(answers, name), media_type="text/event-stream")

    @app.get("/v1/lineage/{event_id}", response_model=None)
    def lineage(event_id: str, stream: str | None = None) -> Json | Response:
        if event_id != answers.event:
            return JSONResponse({"detail": f"No event {event_id!r} came.", "hint": "Check the id."}, 404)
        return answers.traces(stream or "user_events")

    @app.get("/v1/reconciliation")
    def reconciliation(stream: str) -> Json:
        return {"rows": [answers.check(stream, back) for back in range(1, 6)]}

    @app.get("/v1/streams/{name}/catalogue")
    def catalogue(name: str) -> Json:
        return answers.catalogue(name)

    @app.get("/v1/saved-views")
    def saved_views() -> Json:
        return {"views": sorted(answers.saved, key=lambda v: v["name"])}

    @app.post("/v1/saved-views", status_code=201)
    def save(wanted: Annotated[Json, Body()]) -> Json:
        return answers.save(wanted)

    @app.put("/v1/saved-views/{view_id}")
    def change(view_id: str, wanted: Annotated[Json, Body()]) -> Json:
        found = next(v for v in answers.saved if v["id"] == view_id)
        found.update(wanted)
        return found

    @app.delete("/v1/saved-views/{view_id}")
    def delete(view_id: str) -> Json:
        found = next(v for v in answers.saved if v["id"] == view_id)
        answers.saved.remove(found)
        return found

    @app.get("/v1/quality")
    def quality(stream: str = "user_events") -> Json:
        run = "http://127.0.0.1:1/runs/r"
        common = {"stream": stream, "asset": f"facts/{stream}_facts", "at": text(answers.now), "url": run}
        failed = {"check": "null_rate", "status": "failed", "description": "3 % without an owner; expected at most 1 %"}
        passed = {"check": "event_id_unique", "status": "passed", "description": "0 twice; expected 0"}
        return {"rows": [{**common, **failed}, {**common, **passed}]}

    @app.get("/v1/streams/{name}/reports")
    def reports(name: str) -> Json:
        return {"stream": name, "days": ["2026-11-21", "2026-11-22"]}

    @app.get("/v1/alerts")
    def alerts() -> Json:
        return {"available": True, "whole": True, "notes": answers.alert_notes, "alerts": answers.alerts}

    @app.get("/v1/operations")
    def operations() -> Json:
        return answers.operations()

    documentation.mount(app)
    page.mount(app)
    return app


async def _events(answers: Answers, name: str) -> AsyncIterator[str]:
    number = 0
    while True:
        number += 1
        if not answers.silent:
            kind, data = ("snapshot" if number == 1 else "numbers"), answers.live(name, 60 if number == 1 else 3)
            if answers.still and number > 1:
                kind, data = "heartbeat", {"as_of": text(datetime.now(UTC))}
            if answers.problem:
                kind, data = "problem", {"detail": answers.problem}
            yield f"event: {kind}\nid: {number}\ndata: {json.dumps(data)}\n\n"
        await asyncio.sleep(0.5)


class Server(uvicorn.Server):
    def __init__(self, app: FastAPI, port: int) -> None:
        config = uvicorn.Config(app, "127.0.0.1", port, log_level="error", timeout_graceful_shutdown=1)
        super().__init__(config)

    @property
    def port(self) -> int:
        return self.servers[0].sockets[0].getsockname()[1]


@contextmanager
def serve(answers: Answers, port: int = 0) -> Generator[Server]:
    server = Server(make_app(answers), port)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.02)
        yield server
    finally:
        server.should_exit = True
        thread.join()
