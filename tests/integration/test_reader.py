"""What the reader does when the client that fetches for it doesn't go on."""

import time
from collections.abc import Iterable

import pytest

from streaming.worker.assignment import Assignment, Takeover
from streaming.worker.pipeline import Pipeline
from streaming.worker.reader import FetchStalled, Reader
from tests.integration.running import Running, events

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(120)]

PARTITIONS = range(6)


def read(reader: Reader, seconds: float, most: int = 0, paused: Iterable[int] = ()) -> int:
    """As a session does, which looks for stalled partitions every few seconds. Ends early after `most` records, and
    returns how many they were.
    """
    count, checked = 0, time.monotonic()
    until = checked + seconds
    while time.monotonic() < until and not 0 < most <= count:
        records = reader.read()
        count += 0 if records is None else len(records.positions)
        if time.monotonic() - checked > 2:
            checked = time.monotonic()
            reader.check_stalled(set(paused))
    return count


def test_a_partition_that_is_no_longer_fetched_ends_the_session(running: Running) -> None:
    running.apply()
    contract = running.contract

    def take_over(topic_id: str, ends: dict[int, tuple[int, int]]) -> Takeover:
        at = dict.fromkeys(ends, 0)
        return Takeover(Assignment(Pipeline(contract, lambda _: None), topic_id), dict(at), dict(at))

    reader = Reader(running.own.settings("worker"), contract, take_over)
    try:
        running.send(events(contract, 3_000))
        assert read(reader, 30, most=3_000) == 3_000
        # as silent as a client that has lost its partitions
        reader._fetcher.pause(PARTITIONS)  # pyright: ignore[reportPrivateUsage]
        assert read(reader, 15) == 0, "nothing was sent, so nothing stands still"
        running.send(events(contract, 3_000, start=10_000))
        assert read(reader, 15, paused=PARTITIONS) == 0, "these stand still because they are paused"
        with pytest.raises(FetchStalled, match="nothing is fetched of partition"):
            read(reader, 30)
    finally:
        reader.close()
