"""The servers' own metrics by their exporters, as the stack's Prometheus has them; and what their login may not see."""

from collections import defaultdict
from collections.abc import Generator
from typing import Any

import httpx
import psycopg
import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from streamgauge.stack.control import Stack
from streamgauge.stack.credentials import DATABASE, MONITOR_ROLE, credentials
from streamgauge.stack.layout import LOOPBACK
from streamgauge.stack.parts import EXPORTERS
from streamgauge.telemetry.catalog.servers import JOBS, SERVERS
from tests.integration.running import Running, events
from tests.integration.workers import wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(480)]

PROGRAMS = ("worker", "prometheus", *EXPORTERS)


@pytest.fixture
def monitored(stack: Stack, running: Running) -> Generator[Stack]:
    """A worker that has read some events, and the stack's Prometheus."""
    running.apply()
    stack.start_program(*PROGRAMS)
    try:
        running.workers.start()
        running.send(events(running.contract, 600))
        wait_until_read(running.contract)
        yield stack
    finally:
        for name in reversed(PROGRAMS):
            stack.stop_program(name)


def kept(stack: Stack) -> dict[str, set[str]]:
    """Prometheus's series of the servers' jobs: their names with their own labels."""
    url = f"{credentials(stack.layout).monitoring_url('prometheus', 'reader')}/api/v1/series"
    matched = [f'{{job="{job}"}}' for job in JOBS]
    answer: Any = httpx.get(url, params={"match[]": matched}, timeout=10).raise_for_status().json()
    found: dict[str, set[str]] = defaultdict(set)
    for series in answer["data"]:
        found[series["__name__"]] |= series.keys() - {"__name__", "job", "instance"}
    of_prometheus = [name for name in found if name == "up" or name.startswith("scrape_")]
    for name in of_prometheus:
        del found[name]
    return dict(found)


def test_prometheus_keeps_what_the_catalog_lists_of_every_server_and_no_more(monitored: Stack) -> None:
    listed = {m.name: set(m.labels) for m in SERVERS}
    wait_for(lambda: kept(monitored).keys() >= listed.keys(), "every server is scraped", 90)
    assert kept(monitored) == listed
    url = f"{credentials(monitored.layout).monitoring_url('prometheus', 'reader')}/api/v1/query"
    query = 'namedprocess_namegroup_num_procs{groupname="worker"}'
    answer: Any = httpx.get(url, params={"query": query}, timeout=10).json()
    assert [r["value"][1] for r in answer["data"]["result"]] == ["1"], "this instance's worker, and no other's"


def test_the_exporters_login_reads_figures_and_no_data(stack: Stack, running: Running) -> None:
    running.apply()
    known = credentials(stack.layout)
    login = f"{MONITOR_ROLE}:{known.of('postgres', MONITOR_ROLE)}"
    with psycopg.connect(
        f"postgresql://{login}@{LOOPBACK}:{stack.layout.port('postgres')}/{DATABASE}", autocommit=True
    ) as connection:
        assert connection.execute("select count(*) from pg_stat_activity").fetchone()
        for statement in ("select * from streamgauge.stream_offsets", "create table public.t (a int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
    redis = Redis(LOOPBACK, stack.layout.port("redis"), username=MONITOR_ROLE, password=known.of("redis", MONITOR_ROLE))
    assert redis.info("memory")  # pyright: ignore[reportUnknownMemberType]
    for forbidden in (("GET", "streamgauge:x"), ("SET", "x", "1"), ("CONFIG", "GET", "*")):
        with pytest.raises(NoPermissionError):
            redis.execute_command(*forbidden)  # pyright: ignore[reportUnknownMemberType]
    redis.close()
