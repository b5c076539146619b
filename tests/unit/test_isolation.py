"""In what parts the records are taken while one of them is looked for."""

import numpy as np
import pytest

from streamgauge.records.payloads import Payloads
from streaming.worker.isolation import TRIES, Isolation
from streaming.worker.reader import BATCH_RECORDS
from streaming.worker.records import Positions, Records


def _records(count: int) -> Records:
    zeros = np.zeros(count, np.int64)
    nothing = Payloads.of([None] * count)
    return Records(
        Positions(zeros, np.arange(count), zeros),
        nothing,
        nothing,
        lambda row: pytest.fail(f"{row} is no dead letter"),
        lambda _: [],
        lambda rows: np.zeros(len(rows), np.bool_),
    )


@pytest.mark.parametrize("committed", [0, 700])
def test_each_record_is_in_one_part_though_parts_grow_meanwhile(committed: int) -> None:
    isolation = Isolation()
    now = 1_000.0
    while isolation.size > 1:
        isolation.failed(ValueError(), "stream", now := now + 1)
    at, sizes = 0, list[int]()
    for part, is_new in isolation.parts(_records(5_000), {0: committed}):
        offsets = part.positions.offsets
        assert offsets.tolist() == list(range(at, at + len(offsets)))
        assert is_new == (at >= committed)
        at += len(offsets)
        if is_new:
            sizes.append(len(offsets))
            isolation.begin(part)
            isolation.part_done()
    assert at == 5_000
    assert {*sizes[:-1]} == {1}
    assert sizes[-1] > 1
    assert not isolation.active


def test_what_passes_by_itself_makes_no_smaller_parts() -> None:
    isolation = Isolation()
    for _ in range(TRIES + 1):
        isolation.failed(OSError(), "stream", 0.0)
    assert isolation.size == BATCH_RECORDS
