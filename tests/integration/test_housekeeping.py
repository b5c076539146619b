"""What grows in Postgres: superseded results go, the latest of each partition and hour stays."""

from datetime import UTC, datetime, timedelta

import pytest

from assets.housekeeping.chunks import delete_readers
from assets.housekeeping.superseded import delete_superseded
from streamgauge.apply.execute import apply
from streamgauge.contract.load import load_contracts
from streamgauge.settings import CONTRACTS, Settings
from streamgauge.stack.control import Stack
from streamgauge.stores.postgres import Connection, connect

NOW = datetime(2026, 11, 5, tzinfo=UTC)
OLD = NOW - timedelta(days=40)
HOUR = datetime(2026, 9, 1, 7, tzinfo=UTC)


@pytest.mark.usefixtures("stack")
def test_what_was_found_again_since_goes_after_a_month(stack: Stack) -> None:
    apply(Settings.for_role("admin"), load_contracts(CONTRACTS))
    before = NOW - timedelta(days=30)
    with connect(Settings.for_role("batch"), autocommit=True) as connection:
        for at in (OLD, OLD + timedelta(days=1), NOW):
            _check(connection, "made again lately", at)
        for at in (OLD, OLD + timedelta(days=1)):
            _check(connection, "made long ago", at)
            _compare(connection, at)
        assert delete_superseded(connection, before) == {"check_results": 3, "reconciliations": 1}
        assert delete_superseded(connection, before) == {"check_results": 0, "reconciliations": 0}
        checks = connection.execute(
            "SELECT partition, at FROM check_results WHERE stream = 'kept' ORDER BY partition"
        ).fetchall()
        compared = connection.execute("SELECT hour, at FROM reconciliations WHERE stream = 'kept'").fetchall()
    assert checks == [("made again lately", NOW), ("made long ago", OLD + timedelta(days=1))]
    assert compared == [(HOUR, OLD + timedelta(days=1))]


@pytest.mark.usefixtures("stack")
def test_who_asked_long_ago_is_forgotten(stack: Stack) -> None:
    apply(Settings.for_role("admin"), load_contracts(CONTRACTS))
    days = (OLD.date(), NOW.date())
    with connect(Settings.for_role("admin"), autocommit=True) as admin:
        for day in days:
            admin.execute("INSERT INTO stream_readers VALUES ('kept', %s, 'somebody', 1, %s)", (day, NOW))
        with connect(Settings.for_role("batch"), autocommit=True) as batch:
            assert delete_readers(batch, NOW - timedelta(days=30)) == 1
        rows = admin.execute("SELECT day FROM stream_readers WHERE stream = 'kept'").fetchall()
        admin.execute("DELETE FROM stream_readers WHERE stream = 'kept'")
    assert rows == [(NOW.date(),)]


def _check(connection: Connection, partition: str, at: datetime) -> None:
    connection.execute(
        "INSERT INTO check_results (stream, asset, check_name, partition, at, status, severity, observed, expected,"
        " failing, denominator, run_id) VALUES ('kept', 'a', 'c', %s, %s, 'passed', 'error', '', '', 0, 0, 'r')",
        (partition, at),
    )


def _compare(connection: Connection, at: datetime) -> None:
    connection.execute(
        "INSERT INTO reconciliations (stream, hour, at, run_id, passed, buckets, explained, unexplained, facts,"
        " counted, late, duplicates, batch_duplicates) VALUES ('kept', %s, %s, 'r', true, 0, 0, 0, 0, 0, 0, 0, 0)",
        (HOUR, at),
    )
