"""Asks the API and the database the same, in turns, so that both meet the same load.

One kept connection to each, as a dashboard has them. Prints the seconds of every answer as JSON.
"""

import http.client
import json
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import psutil

from serving.database import WORK_MEM
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.measures import counter
from streamgauge.contract.model import Contract
from streamgauge.rollup.windows import MINUTE, Window, latest_minute, read_top
from streamgauge.settings import Settings
from streamgauge.stores.postgres import Connection, connect
from streamgauge.stores.tables.speed import COUNTERS

_WARM_UP = 10
_TOP, _KEYS = "1h", 10
_DAY = timedelta(days=1)
_OPEN = timedelta(hours=1)
"""The day's newest minutes grow between two readings, and older ones where a slow machine sends late."""

Ask = Callable[[], Any]


def main() -> None:
    job = json.load(sys.stdin)
    settings = Settings.for_role("api")
    contract = find_contract(load_contracts(settings.contracts_dir), job["stream"])
    dimension, seconds = job["dimension"], job["seconds"]
    end = datetime.now(UTC).replace(second=0, microsecond=0) + MINUTE
    path = f"/v1/streams/{contract.stream}"
    day = {"window": "1m", "group_by": dimension, "from": (end - _DAY).isoformat(), "to": end.isoformat()}
    query = _day_query(contract, dimension, end)
    process = psutil.Process(job["api"])
    with connect(settings, autocommit=True) as connection:
        connection.execute(f"SET work_mem = '{WORK_MEM}'".encode())  # as the API has it
        api = _Api(job["url"])
        _agree(end, json.loads(api.get(f"{path}/rollups", day))["rows"], _day(connection, query))
        found = {
            "top": _in_turns(
                lambda: api.get(f"{path}/top", {"window": _TOP, "limit": str(_KEYS)}),
                lambda: _top(connection, contract),
                seconds,
                process,
            ),
            "day": _in_turns(
                lambda: api.get(f"{path}/rollups", day), lambda: _day(connection, query), seconds, process
            ),
        }
    print(json.dumps(found))  # noqa: T201


class _Api:
    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        assert place.hostname is not None
        self._connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)

    def get(self, path: str, parameters: dict[str, str]) -> bytes:
        self._connection.request("GET", f"{path}?{urlencode(parameters)}")
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {content[:500].decode()}")
        return content


def _in_turns(served: Ask, bare: Ask, seconds: float, api: psutil.Process) -> dict[str, Any]:
    for _ in range(_WARM_UP):
        served()
        bare()
    times: tuple[list[float], list[float]] = ([], [])
    used, ends = _cpu(api), time.monotonic() + seconds
    while time.monotonic() < ends:
        # whoever had less time so far: as much load for both, and many answers of the quick one
        turn = 0 if sum(times[0]) <= sum(times[1]) else 1
        began = time.perf_counter()
        (served, bare)[turn]()
        times[turn].append(time.perf_counter() - began)
    return {"served": times[0], "bare": times[1], "cpu": (_cpu(api) - used) / len(times[0])}


def _cpu(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def _day_query(contract: Contract, dimension: str, end: datetime) -> bytes:
    """As one would write it by hand for the rows that the API gives."""
    columns = [*map(counter, COUNTERS), *contract.rollup.columns]
    merged = [c.merge.aggregate.format(c=c.name, by=c.by or c.name) for c in columns if c.merge]
    merged += [f"sum({m.name}_sum) / nullif(sum({m.name}_n), 0)" for m in contract.rollup.measures]
    return (
        f"SELECT minute, {dimension}, {', '.join(merged)} FROM {contract.minutes_table}"
        f" WHERE minute >= '{end - _DAY}' AND minute < '{end}' GROUP BY 1, 2 ORDER BY 1, 2"
    ).encode()


def _day(connection: Connection, query: bytes) -> list[tuple[Any, ...]]:
    return connection.cursor(binary=True).execute(query).fetchall()


def _top(connection: Connection, contract: Contract) -> Any:
    """The sketches of the last hour, merged: there is no other way to these numbers but Redis."""
    newest = latest_minute(connection, contract)
    assert newest is not None
    end = newest + MINUTE
    start = end - Window.parse(_TOP).size
    return [read_top(connection, contract, t.name, start, end, _KEYS) for t in contract.rollup.top]


def _agree(end: datetime, served: list[dict[str, Any]], bare: list[tuple[Any, ...]]) -> None:
    own = _summed(end, ((datetime.fromisoformat(r["window_start"]), r["count"], r["late"]) for r in served))
    other = _summed(end, ((r[0], r[2], r[3]) for r in bare))
    if own != other:
        sys.exit(f"the two sides differ in rows, counted and late: {own}, {other}")


def _summed(end: datetime, rows: Iterable[tuple[datetime, int, int]]) -> tuple[int, int, int]:
    settled = [(count, late) for minute, count, late in rows if minute < end - _OPEN]
    return len(settled), sum(count for count, _ in settled), sum(late for _, late in settled)


if __name__ == "__main__":
    main()
