"""Dagster's tables over kept connections, on the real Postgres."""

import time

from assets import dagster_storage
from assets.dagster_storage import PooledPostgresStorage
from streamgauge.stack import dagster
from streamgauge.stack.control import Stack
from streamgauge.stack.credentials import credentials
from streamgauge.stack.parts import part


def test_connections_outlive_a_restart_of_postgres(stack: Stack) -> None:
    known = credentials(stack.layout)
    dagster.prepare(known)
    url = part("dagster-daemon").program(known).environment["STREAMGAUGE_DAGSTER_POSTGRES_URL"]
    storage = PooledPostgresStorage(url)
    before = storage.run_storage.get_runs_count()
    assert storage.event_log_storage.supports_asset_checks
    stack.stop_program("postgres")
    stack.start_program("postgres")
    time.sleep(dagster_storage.TRUSTED_SECONDS)
    assert storage.run_storage.get_runs_count() == before
