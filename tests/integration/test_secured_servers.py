"""Against servers that already exist: TLS, each kind of login, and a Postgres without TimescaleDB."""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from confluent_kafka import KafkaException

from assets.housekeeping.chunks import drop_chunks
from assets.housekeeping.policy import hypertables
from streamgauge.apply.execute import apply, plan
from streamgauge.contract.model import Contract
from streamgauge.producer.producer import EventProducer
from streamgauge.records.log_spans import LogSpans
from streamgauge.settings import Settings
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import connect
from streamgauge.stores.redis import redis_client
from tests.integration.own_stream import OwnStream
from tests.integration.running import events
from tests.integration.secured_servers import LOGINS, SecuredServers, clean_environment, make_roles, secured_servers
from tests.integration.workers import wait_for

_EVENTS = 500


@pytest.fixture(scope="module")
def servers() -> Generator[SecuredServers]:
    # not pytest's own folder, which each session that begins closes to the user whom the servers run as
    with TemporaryDirectory(prefix="streamgauge-secured-") as folder, secured_servers(Path(folder)) as started:
        make_roles(started)
        yield started


@pytest.fixture(scope="module")
def own(servers: SecuredServers, tmp_path_factory: pytest.TempPathFactory) -> OwnStream:
    """Applied, so that each login has a topic to work with."""
    own = OwnStream(tmp_path_factory.mktemp("contracts"))
    with _as(servers, "admin") as settings:
        apply(settings, (own.contract,))
        assert not plan(settings, (own.contract,)).changes
    return own


@pytest.fixture
def contract(own: OwnStream) -> Contract:
    return own.contract


@contextmanager
def _as(servers: SecuredServers, role: str, login: str = "SCRAM-SHA-512") -> Generator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(clean_environment()):
            patch.delenv(name)
        for name, value in servers.environment(role, login).items():
            patch.setenv(name, value)
        yield Settings.for_role("worker")


@pytest.mark.parametrize("login", LOGINS)
def test_each_kind_of_login_sends_reads_and_asks(servers: SecuredServers, contract: Contract, login: str) -> None:
    with _as(servers, "producer", login) as settings, EventProducer(settings, contract) as producer:
        assert not producer.send(events(contract, 10, user_id=login))
    with _as(servers, "worker", login) as settings, LogSpans(settings, contract, {}) as spans:
        ends = spans.ends()
        read = sum(len(records.offsets) for records in spans.read(ends))
        assert read == sum(end - first for first, end in ends.values()) >= 10
        assert contract.topic in admin_client(settings).list_topics(timeout=10).topics


def test_who_can_not_prove_itself_is_refused(servers: SecuredServers) -> None:
    with _as(servers, "worker") as settings:
        for changed in ({"kafka_ca_file": None}, {"kafka_password": "not this"}):
            with pytest.raises(KafkaException):
                admin_client(Settings.model_validate({**settings.model_dump(), **changed})).list_topics(timeout=3)


def test_events_are_counted_and_old_minutes_deleted(
    servers: SecuredServers, own: OwnStream, contract: Contract, tmp_path: Path
) -> None:
    environment = {**clean_environment(), **servers.environment("worker")}
    environment["STREAMGAUGE_CONTRACTS_DIR"] = str(own.folder)
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "streamgauge.cli", "worker", contract.stream], env=environment, stderr=log
        )
    with _as(servers, "producer") as settings, EventProducer(settings, contract) as producer:
        assert not producer.send(events(contract, _EVENTS))
    with _as(servers, "reader") as settings, connect(settings, autocommit=True) as connection:

        def counted() -> bool:
            assert worker.poll() is None, (tmp_path / "worker.log").read_text()
            query = f'select coalesce(sum(count), 0) from "{contract.stream}_5m"'
            row = connection.execute(query.encode()).fetchone()
            return row is not None and row[0] >= _EVENTS

        try:
            wait_for(counted, "all events are counted")
            wait_for(lambda: bool(redis_client(settings).keys("*")), "Redis has the top lists")  # pyright: ignore
        finally:
            worker.terminate()
            worker.wait(20)
    with _as(servers, "batch") as settings, connect(settings, autocommit=True) as connection:
        gone = drop_chunks(connection, hypertables([contract], datetime(2100, 1, 1, tzinfo=UTC)))
        assert gone[contract.minutes_table] > 0
        query = f'select count(*) from "{contract.minutes_table}"'
        assert connection.execute(query.encode()).fetchone() == (0,)
