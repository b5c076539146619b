"""The API's parts that need no server."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.requests import Request

from serving.access import Budget
from serving.flight import SingleFlight
from serving.formats import format_of
from serving.live import QUEUE, Channel, Client
from serving.problems import AWAY, Problem
from serving.rollups.asked import EPOCH, aligned, check_range, parse_time, window_of
from serving.rollups.plan import layers_of
from streamgauge.contract.load import load_contracts
from streamgauge.dagster.hours import HOUR
from streamgauge.rollup.finality import FinalHour, Finality
from streamgauge.settings import CONTRACTS

USER_EVENTS = next(c for c in load_contracts(CONTRACTS) if c.stream == "user_events")
DAY = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def hours(*numbers: int) -> dict[datetime, int]:
    return {DAY + n * HOUR: 1 for n in numbers}


# Windows and ranges


@pytest.mark.parametrize(
    ("time", "step", "wanted"),
    [
        (DAY, HOUR, DAY),
        (DAY + timedelta(seconds=1), HOUR, DAY + HOUR),
        (DAY - timedelta(microseconds=1), MINUTE, DAY),
        (EPOCH, timedelta(days=1), EPOCH),
    ],
)
def test_windows_start_at_multiples_of_their_hop(time: datetime, step: timedelta, wanted: datetime) -> None:
    assert aligned(time, step) == wanted


@pytest.mark.parametrize(("size", "hop"), [("1m", "5m"), ("1d", "1m"), ("1d", "5m")])
def test_hops_that_dont_fit_are_refused(size: str, hop: str) -> None:
    with pytest.raises(Problem):
        window_of(size, hop)


def test_a_range_has_a_limit() -> None:
    check_range(window_of("1m", None), DAY, DAY + timedelta(days=13))
    with pytest.raises(Problem, match="windows"):
        check_range(window_of("1m", None), DAY, DAY + timedelta(days=14))
    check_range(window_of("1h", None), DAY, DAY + timedelta(days=14))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-03-01", DAY),
        ("2026-03-01T00:00:00Z", DAY),
        ("2026-03-01 00:00:00", DAY),
        ("2026-03-01T01:00:00+01:00", DAY),
        ("2026-03-01T01:00:00 01:00", DAY),  # a bare + in a URL
    ],
)
def test_times_as_people_write_them(text: str, wanted: datetime) -> None:
    assert parse_time("from", text) == wanted


@pytest.mark.parametrize("text", ["", "now", "2026-13-01", "1969-12-31", "2100-01-01", "9999-12-31T23:59:59-23:59"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(Problem):
        parse_time("from", text)


# Finality


def test_a_window_is_final_when_all_its_hours_are() -> None:
    layers = Finality({**final(0, 1), DAY + 2 * HOUR: FinalHour(3, checked=True)})
    assert layers.standing(DAY, DAY + HOUR).status == "final"
    assert layers.standing(DAY, DAY + 3 * HOUR).revision == 3
    mixed = layers.standing(DAY + 2.5 * HOUR, DAY + 3.5 * HOUR)
    assert (mixed.status, mixed.revision, mixed.final_share) == ("provisional", None, 0.5)
    assert layers.standing(DAY + 3 * HOUR, DAY + 4 * HOUR).final_share == 0


def final(*numbers: int) -> dict[datetime, FinalHour]:
    return {hour: FinalHour(revision, checked=True) for hour, revision in hours(*numbers).items()}


def test_a_window_with_an_hour_whose_check_failed_says_so() -> None:
    layers = Finality({**final(0), DAY + HOUR: FinalHour(2, checked=False)})
    assert not layers.standing(DAY, DAY + HOUR).unchecked
    assert layers.standing(DAY, DAY + 2 * HOUR).unchecked
    mixed = layers.standing(DAY + HOUR, DAY + 3 * HOUR)
    assert (mixed.status, mixed.unchecked) == ("provisional", True)


def test_hours_that_nobody_has_rows_for_keep_nothing_from_being_final() -> None:
    layers = Finality(final(5, 7), quiet=frozenset(hours(6)), begins=DAY + 5 * HOUR)
    assert layers.standing(DAY, DAY + 8 * HOUR).status == "final"
    assert layers.standing(DAY, DAY + 9 * HOUR).status == "provisional"


def test_each_hour_is_read_from_one_layer() -> None:
    (batch, speed) = layers_of(USER_EVENTS, DAY, DAY + 4 * HOUR, hours(0, 1), hourly=False)
    assert (batch.start, batch.end, batch.hours) == (DAY, DAY + 2 * HOUR, ())
    assert (speed.start, speed.end, speed.hours) == (DAY + 2 * HOUR, DAY + 4 * HOUR, ())
    (batch, speed) = layers_of(USER_EVENTS, DAY, DAY + 4 * HOUR, hours(0, 2), hourly=False)
    assert batch.hours == (DAY, DAY + 2 * HOUR)
    assert speed.hours == (DAY + 2 * HOUR,)
    assert [layer.final for layer in layers_of(USER_EVENTS, DAY, DAY + HOUR, hours(0), hourly=True)] == [True]
    assert not layers_of(USER_EVENTS, DAY, DAY, hours(0), hourly=False)


# Rates and single flight


def test_a_budget_fills_up_again() -> None:
    budget = Budget(per_second=2, burst=3)
    for _ in range(3):
        budget.spend("ann", now=0)
    with pytest.raises(Problem) as refused:
        budget.spend("ann", now=0.1)
    assert refused.value.headers["Retry-After"] == "1"
    budget.spend("bob", now=0.1)
    budget.spend("ann", now=0.6)
    with pytest.raises(Problem):
        budget.spend("ann", now=0.6)


def test_one_asks_for_all() -> None:
    flight = SingleFlight[int](keep_seconds=1)
    asked: list[int] = []

    def work() -> int:
        asked.append(1)
        time.sleep(0.1)
        return len(asked)

    answers: list[int] = []
    together = threading.Barrier(20)

    def ask() -> None:
        together.wait()
        answers.append(flight.do("key", work))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert answers == [1] * 20
    assert flight.do("key", work) == 1
    time.sleep(1.1)
    assert flight.do("key", work) == 2


def test_a_failure_is_told_to_all_who_wait_and_not_kept() -> None:
    flight = SingleFlight[int](keep_seconds=10)

    def fail() -> int:
        raise ValueError("away")

    with pytest.raises(ValueError, match="away"):
        flight.do("key", fail)
    assert flight.do("key", lambda: 7) == 7


# Formats


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("*/*", "json"),
        ("text/csv", "csv"),
        ("application/json;q=0.1, text/csv", "csv"),
        ("text/html, */*;q=0.8", "json"),
        ("application/vnd.apache.arrow.stream", "arrow"),
        ("text/*", "csv"),
    ],
)
def test_accept(accept: str, wanted: str) -> None:
    assert format_of(_request(accept), None) == wanted
    assert format_of(_request(accept), "csv") == "csv"


@pytest.mark.parametrize("accept", ["application/xml", "application/json;q=0", "text/html"])
def test_not_acceptable(accept: str) -> None:
    with pytest.raises(Problem) as refused:
        format_of(_request(accept), None)
    assert refused.value.status == 406


def _request(accept: str) -> Request:
    return Request({"type": "http", "headers": [(b"accept", accept.encode())]})


# Live


class Source:
    """A stream's numbers, as a test sets them."""

    def __init__(self) -> None:
        self.count = 0
        self.problem: Problem | None = None

    def read(self) -> dict[str, Any]:
        if self.problem is not None:
            raise self.problem
        minutes = {DAY: {"minute": DAY, "count": self.count}, DAY + MINUTE: {"minute": DAY + MINUTE, "count": 0}}
        tops = {w: {"users": {"items": [self.count // 10]}} for w in ("1m", "5m", "1h")}
        return {"stream": "s", "as_of": time.time(), "freshness_seconds": time.time(), "minutes": minutes, "tops": tops}


def _loaded(client: Client) -> list[str]:
    used: list[str] = []
    while not client.queue.empty():
        data = client.queue.get_nowait()
        assert data is not None
        used.append(data.decode())
    return used


def _id(event: str) -> str:
    return event.split("\n")[0].removeprefix("id: ")


def test_clients_hear_what_changed_and_nothing_else() -> None:
    async def run() -> None:
        source = Source()
        channel = Channel(USER_EVENTS, source.read)
        client = await channel.join("5m", None)
        (snapshot,) = _loaded(client)
        assert "event: snapshot" in snapshot and snapshot.count('"minute"') == 2
        await channel.tick()
        assert not _loaded(client)
        source.count = 5
        await channel.tick()
        (numbers,) = _loaded(client)
        assert "event: numbers" in numbers and numbers.count('"minute"') == 1 and '"tops":{}' in numbers
        source.count = 10
        await channel.tick()
        assert '"users"' in _loaded(client)[0]

    asyncio.run(run())


def test_who_comes_back_hears_what_he_missed() -> None:
    async def run() -> None:
        source = Source()
        channel = Channel(USER_EVENTS, source.read)
        stays, leaves = await channel.join("5m", None), await channel.join("5m", None)
        last = _id(_loaded(leaves)[0])
        channel.leave(leaves)
        for count in (1, 2):
            source.count = count
            await channel.tick()
        heard = _loaded(stays)[1:]
        back = await channel.join("5m", last)
        assert _loaded(back) == heard
        assert not _loaded(await channel.join("5m", _id(heard[-1])))
        for unknown in ("other-1", f"{last.split('-')[0]}-999", "x", ""):
            (event,) = _loaded(await channel.join("5m", unknown))
            assert "event: snapshot" in event

    asyncio.run(run())


def test_who_was_away_while_nobody_looked_gets_a_snapshot() -> None:
    async def run() -> None:
        source = Source()
        channel = Channel(USER_EVENTS, source.read)
        client = await channel.join("5m", None)
        last = _id(_loaded(client)[0])
        channel.leave(client)
        source.count = 7
        (event,) = _loaded(await channel.join("5m", last))
        assert "event: snapshot" in event and '"count":7' in event

    asyncio.run(run())


def test_who_doesnt_read_is_dropped_and_nobody_else() -> None:
    async def run() -> None:
        source = Source()
        channel = Channel(USER_EVENTS, source.read)
        reads, sleeps = await channel.join("5m", None), await channel.join("5m", None)
        for count in range(1, QUEUE + 2):
            source.count = count
            await channel.tick()
            assert _loaded(reads)
        assert sleeps.dropped.is_set() and not reads.dropped.is_set()
        assert sleeps.queue.qsize() == QUEUE
        source.count = 1000
        await channel.tick()
        assert _loaded(reads) and sleeps.queue.qsize() == QUEUE

    asyncio.run(run())


def test_a_server_that_is_away_is_told_and_its_return_too() -> None:
    async def run() -> None:
        source = Source()
        channel = Channel(USER_EVENTS, source.read)
        client = await channel.join("5m", None)
        _loaded(client)
        source.problem = Problem(AWAY, "Postgres is away.")
        await channel.tick()
        assert "event: problem" in _loaded(client)[0]
        source.problem = None
        await channel.tick()
        assert "event: numbers" in _loaded(client)[0]  # though nothing changed

    asyncio.run(run())
