"""The real data sets, replayed by the real command: the figures are those of examples/data/README.md."""

import json
from pathlib import Path
from typing import Any

import pytest

from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract
from streamgauge.rollup.pseudonyms import pseudonyms_of
from streamgauge.rollup.windows import read_top
from streamgauge.settings import CHECKOUT, Settings
from streamgauge.stores.postgres import connect
from tests.integration.running import streamgauge
from tests.integration.workers import Workers, wait_until_read

pytestmark = [pytest.mark.usefixtures("fresh_stack"), pytest.mark.timeout(240)]

DATA = CHECKOUT / "examples" / "data"
CONTRACTS = CHECKOUT / "platform" / "contracts"
FILES = [str(DATA / f"{name}.jsonl.gz") for name in ("github_events", "openstack_logs", "cloudwatch_metrics")]
SENT = {"user_events": 10_000, "system_events": 2_000, "metric_events": 67_740}

EVENT_TYPES = {
    "PushEvent": 5843,
    "CreateEvent": 1368,
    "WatchEvent": 920,
    "IssueCommentEvent": 446,
    "ForkEvent": 349,
    "PullRequestEvent": 335,
    "IssuesEvent": 285,
    "DeleteEvent": 254,
    "PullRequestReviewCommentEvent": 77,
    "GollumEvent": 54,
    "MemberEvent": 30,
    "ReleaseEvent": 20,
    "CommitCommentEvent": 11,
    "PublicEvent": 8,
}
LEVELS = {"INFO": 1969, "WARNING": 31}
SERVICES = {"nova-api": 1060, "nova-compute": 933, "nova-scheduler": 7}
BUSIEST = [("LombiqBot", 567), ("gentoo-repo-qa-bot", 396)]


def counts(stream: str, by: str) -> dict[str, int]:
    with connect(Settings.for_role("admin")) as connection:
        query = f'select {by}, sum(count)::bigint from "{stream}_1m" group by {by} having sum(count) > 0'
        return dict(connection.execute(query.encode()).fetchall())


def busiest(contract: Contract) -> list[tuple[str, int]]:
    with connect(Settings.for_role("admin")) as connection:
        query = f"select min(minute), max(minute) + interval '1 minute' from {contract.minutes_table}"
        first, end = connection.execute(query.encode()).fetchall()[0]
        top = read_top(connection, contract, "users", first, end, 2)
    assert top.exact
    return [(r.key, r.count) for r in top.items]


def assert_facts(contract: Contract) -> None:
    assert counts("user_events", "event_type") == EVENT_TYPES
    assert counts("system_events", "level") == LEVELS
    assert counts("system_events", "service") == SERVICES
    metrics = counts("metric_events", "metric")
    assert len(metrics) == 17
    assert sum(metrics.values()) == SENT["metric_events"]
    names = pseudonyms_of(Settings.for_role("worker"), contract)
    assert busiest(contract) == [(names.of(user), count) for user, count in BUSIEST]


def test_replayed_once_and_again(tmp_path: Path) -> None:
    contracts = load_contracts(CONTRACTS)
    users = find_contract(contracts, "user_events")

    def replay() -> None:
        replayed: list[dict[str, Any]] = json.loads(streamgauge(CONTRACTS, "replay", *FILES, "--json"))
        assert {r["stream"]: r["acknowledged"] for r in replayed} == SENT

    streamgauge(CONTRACTS, "apply")
    streamgauge(CONTRACTS, "reference", "load", "actors", str(DATA / "github_actors.csv"))
    with Workers([], CONTRACTS, logs=tmp_path) as workers:
        workers.start()
        replay()
        for contract in contracts:
            account = wait_until_read(contract)
            assert (account.counted, account.late, account.duplicates, account.dead_letters) == (
                SENT[contract.stream],
                0,
                0,
                0,
            )
        assert_facts(users)
        assert counts("user_events", "actor_kind").keys() == {"bot", "human"}

        replay()
        for contract in contracts:
            sent = SENT[contract.stream]
            account = wait_until_read(contract)
            assert (account.counted, account.late + account.duplicates, account.dead_letters) == (sent, sent, 0)
        assert_facts(users)
