"""Minute rollups stay exact while workers are killed and frozen, and Postgres and Kafka restart."""

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from streamgauge.apply.execute import apply
from streamgauge.contract.model import Contract
from streamgauge.records.registry import RegistryUnavailable
from streamgauge.settings import Settings
from streamgauge.stack.control import Stack
from streamgauge.stores.postgres import connect
from streaming.ledger import Ledger
from streaming.load.generate import Shape
from streaming.load.load import Plan, load
from tests.integration.expectation import assert_as_expected, expected_of
from tests.integration.own_stream import OwnStream, block
from tests.integration.running import same_tops
from tests.integration.workers import Workers, wait_for, wait_until_read

EVENTS = 200_000
RATE = 2_000.0
PIECE = 10_000
SHAPE = Shape(users=2_000, duplicates=0.05, late=0.02, bad=0.01)
KILLS = 20
FROZEN_SECONDS = 12.0
"""Past the session timeout of 10 s, so that the group has given the partitions to others."""
RESULTS = ("counted", "late", "duplicates", "dead_letters")


@pytest.fixture
def stream(tmp_path: Path) -> OwnStream:
    """What comes of its log must not hang on the clock, and bad records are part of the plan."""
    own = OwnStream(tmp_path)
    document = own.document()
    block(document, "time")["idleAfterSeconds"] = 3600
    block(document, "deadLetters")["limit"] = EVENTS
    own.write(document)
    return own


def know_some_users(contract: Contract) -> dict[str, dict[str, str]]:
    assert contract.reference is not None
    known = {f"user_id-{i}": {"kind": "bot", "organisation": f"org-{i % 7}"} for i in range(0, SHAPE.users, 3)}
    with connect(Settings.for_role("admin")) as connection, connection.cursor() as cursor:
        cursor.executemany(
            sql.SQL("insert into {} (user_id, kind, organisation) values (%s, %s, %s)").format(
                sql.Identifier(contract.reference.table)
            ),
            [(user, row["kind"], row["organisation"]) for user, row in known.items()],
        )
    return known


def committed(contract: Contract) -> int:
    """How many records are committed; -1 while Postgres is away."""
    try:
        with connect(Settings.for_role("reader")) as connection:
            row = connection.execute(
                "select coalesce(sum(next_offset), 0) from stream_offsets where topic = %s", (contract.topic,)
            ).fetchone()
    except psycopg.OperationalError:
        return -1
    return int(row[0]) if row else 0


class Havoc:
    """Does what the test says at random moments, of which a seed decides."""

    def __init__(self, workers: Workers, contract: Contract, rng: random.Random, failures: list[BaseException]) -> None:
        self._failures = failures
        self._workers = workers
        self._contract = contract
        self._rng = rng
        self.kills = 0

    def some_time(self, seconds: float) -> None:
        time.sleep(self._rng.uniform(0, seconds))

    def wait_for_progress(self) -> None:
        before = committed(self._contract)

        def progress() -> bool:
            assert not self._failures, f"the sender failed: {self._failures[0]!r}"
            return committed(self._contract) > max(before, 0)

        wait_for(progress, "the workers go on")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        self._workers.kill(process)
        self.kills += 1
        self._workers.start()

    def kill_some(self) -> None:
        """Soon one after the other, some of them hardly started: a round costs a session timeout."""
        for _ in range(5):
            self.some_time(1.0)
            self.kill(self._rng.choice(self._workers.running))

    def freeze_one_and_kill_the_others(self) -> None:
        frozen, *others = self._rng.sample(self._workers.running, len(self._workers.running))
        frozen.send_signal(signal.SIGSTOP)
        until = time.monotonic() + FROZEN_SECONDS
        for process in others:
            self.kill(process)
        self.wait_for_progress()
        time.sleep(max(0.0, until - time.monotonic()))
        frozen.send_signal(signal.SIGCONT)

    def restart(self, stack: Stack, part: str) -> None:
        self.some_time(0.7)
        stack.stop_program(part)
        self.some_time(1.0)
        stack.start_program(part)


@pytest.mark.timeout(400)
def test_what_is_acknowledged_is_counted_once(stack: Stack, stream: OwnStream) -> None:
    seed = int(os.environ.get("SEED") or random.SystemRandom().getrandbits(32))
    print(f"seed {seed}")  # noqa: T201  pytest shows it when the test fails
    apply(stream.settings(), (stream.contract,))
    contract, rng, ledger = stream.contract, random.Random(seed), Ledger()
    reference = know_some_users(contract)
    failures: list[BaseException] = []
    over = threading.Event()

    def send() -> None:
        """At a moderate rate for as long as the havoc lasts, and the rest at once."""
        settings, left = Settings.for_role("producer"), EVENTS
        try:
            while not over.is_set() or left > 0:
                count, rate = (left, None) if over.is_set() else (PIECE, RATE)
                plan = Plan(count, rate, time.time_ns() // 1_000_000, seed, span_seconds=1.0)
                try:
                    load(settings, contract, plan, SHAPE, ledger=ledger)
                    left -= count
                except RegistryUnavailable:
                    # it keeps its schemas in Postgres; the next piece's producer asks it again
                    time.sleep(0.5)
        except BaseException as e:
            failures.append(e)

    sending = threading.Thread(target=send, name="send")
    with Workers([stream.name], stream.folder) as workers:
        havoc = Havoc(workers, contract, rng, failures)
        workers.start()
        sending.start()
        try:
            havoc.wait_for_progress()
            havoc.kill(workers.running[0])
            workers.start()
            workers.start()
            strikes: list[Callable[[], None]] = [
                havoc.kill_some,
                lambda: havoc.restart(stack, "postgres"),
                havoc.kill_some,
                havoc.freeze_one_and_kill_the_others,
                havoc.kill_some,
                lambda: havoc.restart(stack, "kafka"),
                havoc.kill_some,
            ]
            for strike in strikes:
                havoc.wait_for_progress()
                strike()
            havoc.wait_for_progress()
        finally:
            over.set()
            sending.join(120)
            assert not sending.is_alive() and not failures, failures
        account = wait_until_read(contract, 90)
        wait_for(lambda: same_tops(contract), "Redis has what Postgres has")

    assert havoc.kills >= KILLS
    assert account.acknowledged == ledger.frame().height >= EVENTS
    assert all(getattr(account, result) > 0 for result in RESULTS)
    assert account.acknowledged == sum(getattr(account, result) for result in RESULTS)
    assert_as_expected(contract, expected_of(contract, reference=reference))
