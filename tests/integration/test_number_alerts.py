"""A contract's bounds of numbers, on minutes that a real worker counted: what is reported, and what is shown."""

import json
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect
from tests.integration.alert_sensor import Sensor, causes
from tests.integration.own_stream import block
from tests.integration.running import Running, events, streamgauge
from tests.integration.workers import wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(240)]

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
USUAL, BUSY, QUIET = 40, 100, 10
"""Events a minute."""
BUSY_MINUTES, QUIET_MINUTES = 10, 12

ALERTS: list[dict[str, Any]] = [
    {"name": "many", "number": "count", "windowMinutes": 5, "above": 300, "criticalAbove": 450},
    {"name": "few", "number": "count", "windowMinutes": 5, "below": 60, "forMinutes": 3, "description": "Ask Ann."},
    {"name": "halved", "number": "count", "windowMinutes": 5, "below": 0.5, "comparedWith": "day", "minimumCount": 100},
    {"name": "too_few_to_say", "number": "count", "windowMinutes": 5, "below": 60, "minimumCount": 1000},
    {"name": "pushes", "number": "count", "windowMinutes": 5, "dimensions": {"event_type": "PushEvent"}, "above": 260},
    {"name": "users", "number": "users_distinct", "windowMinutes": 5, "above": 49},
    {"name": "sizes", "number": "commits_mean", "windowMinutes": 5, "above": 1},
]


@pytest.fixture
def stream(running: Running) -> Generator[Running]:
    def bounded(document: dict[str, Any]) -> None:
        block(document, "time")["allowedLatenessSeconds"] = 0
        document["customProperties"].append({"property": "alerts", "value": ALERTS})

    running.edit(bounded)
    running.apply()
    with connect(Settings.for_role("admin")) as connection:
        connection.execute("truncate alerts, alert_messages, alert_memory")
    yield running


def minutes(running: Running, first: datetime, number: int, each: int, start: int) -> pl.DataFrame:
    """The last second of each minute has its events."""
    return pl.concat(
        events(running.contract, each, start=start + i * each, at=_ms(first + (i + 1) * MINUTE)) for i in range(number)
    )


def _ms(time: datetime) -> int:
    return round(time.timestamp() * 1000) - 1


def firing() -> dict[str, tuple[str, str]]:
    """By the alert's name: severity and text."""
    return {c.rpartition("/")[2]: (severity, text) for c, severity, text, ended in causes() if ended is None}


def shown(stream: Running) -> dict[str, dict[str, Any]]:
    found = json.loads(
        streamgauge(stream.own.folder, "alerts", "numbers", stream.contract.stream, "--days", "1", "--json")
    )
    return {a["alert"]: a for a in found}


def test_numbers_out_of_bounds_are_reported_until_they_are_back(stream: Running) -> None:
    stream.workers.start()
    began = datetime.now(UTC).replace(second=0, microsecond=0) - 40 * MINUTE
    before = minutes(stream, began - DAY - 6 * MINUTE, 36, USUAL, 0)
    busy = minutes(stream, began, BUSY_MINUTES, BUSY, 10_000)
    quiet = minutes(stream, began + BUSY_MINUTES * MINUTE, QUIET_MINUTES, QUIET, 20_000)

    with dg.DagsterInstance.ephemeral() as instance:  # pyright: ignore[reportUnknownMemberType]
        alerts = Sensor(stream, instance)
        stream.send(before)
        stream.send(busy)
        wait_until_read(stream.contract)
        alerts.tick()
        standing = {name: severity for name, (severity, _) in firing().items()}
        assert standing == {"many": "critical", "users": "warning", "sizes": "warning"}
        text = firing()["many"][1]
        assert "count of the 5 min before" in text and ": 500." in text and "above 450 is critical" in text
        now = shown(stream)
        assert {n: a["level"] for n, a in now.items() if a["level"] != "within"} == standing
        assert now["pushes"]["value"] == 250, "half of the events are of the other type"
        assert now["users"]["value"] == 50
        assert now["halved"]["compared"] == pytest.approx(BUSY / USUAL)
        # the latest minute that is whole: the next one has not come in any partition
        assert now["many"]["until"] == (began + (BUSY_MINUTES - 1) * MINUTE).isoformat()

        stream.send(quiet)
        wait_until_read(stream.contract)
        alerts.tick()
        after = firing()
        assert {name: severity for name, (severity, _) in after.items()} == {
            "few": "warning", "halved": "warning", "sizes": "warning", "users": "warning",
        }  # fmt: skip
        assert after["few"][1].endswith("Ask Ann.")
        stood = shown(stream)["many"]["stood"]
        assert [e["level"] for e in stood] == ["critical"]
        assert stood[0]["began"] == (began + 4 * MINUTE).isoformat(), "four minutes of a hundred are more than 300"


def test_a_bound_is_tried_before_it_is_applied(stream: Running) -> None:
    stream.workers.start()
    began = datetime.now(UTC).replace(second=0, microsecond=0) - 40 * MINUTE
    stream.send(minutes(stream, began, BUSY_MINUTES, BUSY, 0))
    wait_until_read(stream.contract)

    def tighter(document: dict[str, Any]) -> None:
        alerts: Any = block(document, "alerts")
        alerts[:] = [{"name": "tried", "number": "count", "windowMinutes": 1, "above": 99}]

    stream.edit(tighter)
    (tried,) = shown(stream).values()
    assert (tried["alert"], tried["level"], tried["value"]) == ("tried", "warning", BUSY)
