"""Generated traffic, without servers."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from streamgauge.contract.load import load_contracts
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.producer.encode import Encoder
from streamgauge.records.avro import avro_schema
from streamgauge.settings import CHECKOUT
from streaming.ledger import Ledger, read_ledger
from streaming.load.fill import records
from streaming.load.generate import BAD_KINDS, BYTE_FAULTS, Batch, Generator, Shape
from streaming.load.load import BATCH, Plan
from tests.oracle import LogRecord, from_ledger, play

CONTRACTS = load_contracts(CHECKOUT / "platform" / "contracts")
START = 1_700_000_000_000
SCHEMA_ID = 7
ROUGH = Shape(users=100, duplicates=0.1, late=0.05, bad=0.2)


class Encodes:
    def __init__(self, contract: Contract) -> None:
        self._encoder = Encoder(contract, SCHEMA_ID)

    def keys(self, events: pl.DataFrame) -> list[bytes]:
        return [k.encode() for k in events["event_id"].to_list()]

    def encode(self, events: pl.DataFrame) -> list[bytes]:
        return self._encoder.encode(events)


def generate(contract: Contract, shape: Shape, seed: int = 1, events: int = 10_000, size: int = BATCH) -> list[Batch]:
    plan = Plan(events, None, START, seed)
    generator = Generator(contract, shape, seed, START, Encodes(contract))
    return [generator.batch(plan.times(first, min(size, events - first))) for first in range(0, events, size)]


def verdicts(contract: Contract, batches: list[Batch]) -> list[tuple[str, str]]:
    """Each record's kind and the oracle's verdict, as if all were in one partition and appended at the end."""
    values = [v for b in batches for v in b.values]
    log = [LogRecord(0, i, v, START) for i, v in enumerate(values)]
    found = play(contract, log, {SCHEMA_ID: avro_schema(contract)}).verdicts
    return [(k, found[0, i]) for i, k in enumerate(k for b in batches for k in b.kinds)]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.stream)
def test_the_same_seed_makes_the_same_records(contract: Contract) -> None:
    first, again, other = (generate(contract, ROUGH, seed) for seed in (1, 1, 2))
    assert [b.values for b in first] == [b.values for b in again]
    assert [b.keys for b in first] == [b.keys for b in again]
    assert [b.values for b in first] != [b.values for b in other]
    ids, others = (
        {i for b in batches for i, k in zip(b.event_ids, b.kinds, strict=True) if k != "contract"}
        for batches in (first, other)
    )
    assert not ids & others


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.stream)
def test_records_are_what_they_were_meant_to_be(contract: Contract) -> None:
    batches = generate(contract, ROUGH)
    kinds = Counter(k for b in batches for k in b.kinds)
    assert set(kinds) == {"good", "duplicate", "changed", "late", *BAD_KINDS}
    assert kinds["duplicate"] + kinds["changed"] == pytest.approx(1000, rel=0.2)
    assert kinds["late"] == pytest.approx(500, rel=0.2)
    assert sum(kinds[k] for k in BAD_KINDS) == pytest.approx(2000, rel=0.2)

    found = Counter(verdicts(contract, batches))
    reasons: dict[str, set[str]] = {}
    for kind, verdict in found:
        reasons.setdefault(kind, set()).add(verdict)
    assert reasons["contract"] == {"contract"}
    assert reasons["future"] == {"future"}
    assert reasons["tombstone"] == reasons["empty"] == {"empty"}
    assert reasons["unknown_schema"] == {"unknown_schema"}
    assert reasons["truncated"] == reasons["trailing"] == reasons["magic"] == reasons["utf8"] == {"undecodable"}
    assert reasons["good"] == reasons["null_key"] == {"counted"}
    # before the first event's watermark nothing is late
    assert reasons["late"] <= {"late", "counted"} and found["late", "late"] > 400
    assert reasons["duplicate"] == reasons["changed"] == {"duplicate"}


def test_good_traffic_only_is_all_counted() -> None:
    for contract in CONTRACTS:
        batches = generate(contract, Shape(), events=2000)
        assert Counter(verdicts(contract, batches)) == {("good", "counted"): 2000}


def test_a_changed_duplicate_has_another_payload() -> None:
    contract = CONTRACTS[0]
    batches = generate(contract, replace(ROUGH, duplicates=0.5))
    rows = [row for b in batches for row in zip(b.kinds, b.event_ids, b.times.tolist(), b.values, strict=True)]
    originals = {i: (at, v) for kind, i, at, v in rows if kind in ("good", "late")}
    same = Counter((kind, originals[i] == (at, v)) for kind, i, at, v in rows if kind in ("duplicate", "changed"))
    assert same["duplicate", False] == 0
    assert same["changed", True] == 0
    assert same["changed", False] > 500
    assert all(originals[i][0] == at for kind, i, at, _ in rows if kind == "changed")


def test_skew() -> None:
    contract = next(c for c in CONTRACTS if c.stream == "user_events")

    def busiest(skew: float) -> int:
        batches = generate(contract, Shape(users=1000, skew=skew))
        log = [LogRecord(0, i, v, START) for i, v in enumerate(v for b in batches for v in b.values)]
        tops = play(contract, log, {SCHEMA_ID: avro_schema(contract)}).tops
        return max(sum((c for (_, name, _), c in tops.items() if name == "users"), Counter[str]()).values())

    assert busiest(0.0) < 40
    assert busiest(1.0) > 800


def test_event_times() -> None:
    spread = Plan(1000, None, START, 1, span_seconds=100)
    assert spread.times(0, 1000)[[0, -1]].tolist() == [START - 100_000, START - 100]
    paced = Plan(1000, 50.0, START, 1)
    assert paced.times(0, 1000)[[0, 1, -1]].tolist() == [START, START + 20, START + 19_980]
    assert np.concatenate((paced.times(0, 300), paced.times(300, 700))).tolist() == paced.times(0, 1000).tolist()


@pytest.mark.parametrize("shape", [{"bad": 1.1}, {"late": -0.1}, {"duplicates": 0.6, "bad": 0.6}, {"users": 0}])
def test_impossible_shapes(shape: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Shape(**shape)


def test_a_contract_for_which_no_value_can_be_made() -> None:
    contract = CONTRACTS[0]
    odd = tuple(replace(f, pattern="^a(?:bc){7}$") if f.name == "metric" else f for f in contract.fields)
    with pytest.raises(UserError, match="no value can be made for metric_events: metric"):
        generate(replace(contract, fields=odd), Shape())


class Acknowledged:
    """What the ledger asks of librdkafka's message."""

    def __init__(self, partition: int, offset: int) -> None:
        self._place = partition, offset

    def partition(self) -> int:
        return self._place[0]

    def offset(self) -> int:
        return self._place[1]

    def timestamp(self) -> tuple[int, int]:
        return 2, START


def test_the_ledger_holds_what_was_acknowledged(tmp_path: Path) -> None:
    contract = CONTRACTS[0]
    batches = generate(contract, ROUGH, events=200, size=100)
    ledger = Ledger()
    for number, batch in enumerate(batches):
        page = ledger.page(batch)
        for i in reversed(range(99)):
            page.note(i, Acknowledged(i % 2, number * 100 + i))  # pyright: ignore[reportArgumentType]
    assert ledger.write(tmp_path / "l.parquet") == 198
    rows = read_ledger(tmp_path / "l.parquet")
    assert rows.equals(ledger.frame())
    assert rows.select("partition", "offset").rows() == sorted(rows.select("partition", "offset").rows())
    assert set(rows["sequence"]) == set(range(200)) - {99, 199}
    first = rows.row(0, named=True)
    assert (first["kind"], first["key"], first["value"]) == (
        batches[0].kinds[0],
        batches[0].keys[0],
        batches[0].values[0],
    )
    assert len(from_ledger(rows)) == 198


def test_every_fault_of_bytes_leaves_the_key_alone() -> None:
    batches = generate(CONTRACTS[0], Shape(bad=1.0), events=1000)
    for b in batches:
        for kind, key, event_id in zip(b.kinds, b.keys, b.event_ids, strict=True):
            assert (key is None) == (kind == "null_key")
            assert kind not in BYTE_FAULTS or key == event_id.encode()


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.stream)
def test_filling_makes_events_of_their_own(contract: Contract) -> None:
    plan = Plan(20_000, None, START, 1)
    generator = Generator(contract, Shape(), 1, START, Encodes(contract))
    built = [(k, v) for keys, values in records(generator, contract, plan) for k, v in zip(keys, values, strict=True)]
    log = [LogRecord(0, i, v, START) for i, (_, v) in enumerate(built)]
    expected = play(contract, log, {SCHEMA_ID: avro_schema(contract)})
    assert expected.total("counted") == len({k for k, _ in built}) == 20_000
    assert expected.watermark == START - 600_000 + int(19_999 * 600_000 / 20_000)
