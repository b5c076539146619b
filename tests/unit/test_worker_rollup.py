"""The worker's rollup, by number, against the batch layer's, by grouping texts: for sources of every kind."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.measures import Count
from streamgauge.contract.model import Contract, Measure, RollupSpec, Source, Top
from streamgauge.producer.encode import Encoder
from streamgauge.records.avro import avro_schema
from streamgauge.records.decode import Decoder
from streamgauge.records.payloads import Payloads
from streamgauge.rollup import sketches
from streamgauge.rollup.enrich import Reference
from streamgauge.rollup.plan import (
    COUNTED,
    DUPLICATE,
    KEYS,
    LATE,
    MINUTE,
    PARTITION,
    VALUES,
    WEIGHTS,
    RollupPlan,
    picked,
)
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.settings import CHECKOUT
from streaming.worker import rollup as worker
from streaming.worker.groups import group_events, merge
from streaming.worker.lookup import Lookup
from streaming.worker.rollup import Rollup, RollupInput, TopRow
from tests.derived import derive
from tests.examples import examples

T0 = 1_700_000_040_000
ALL = load_contracts(CHECKOUT / "platform" / "contracts")
USER = find_contract(ALL, "user_events")
ODD = replace(
    USER,
    rollup=RollupSpec(
        dimensions=(
            Source(name="version", source="schema_version"),
            Source(name="person", source="user_id"),
            Source(name="repo", source="properties.repo"),
            Source(name="organisation", source="reference.organisation"),
        ),
        distinct=(Source(name="repos", source="properties.repo"), Source(name="kinds", source="reference.kind")),
        measures=(
            Measure(name="commits", source="properties.size", quantiles=True, last=True),
            Measure(name="versions", source="schema_version", last=True),
            Measure(name="budget", source="reference.organisation", quantiles=True),
        ),
        top=(
            Top(name="repos", source="properties.repo", exactKeys=10),
            Top(name="users", source="user_id", exactKeys=50),
        ),
    ),
)
PSEUDONYMS = Pseudonyms("a secret", USER.stream)
PLAIN = replace(USER, rollup=RollupSpec(dimensions=()))


DERIVED = derive(
    USER,
    {
        "size": "cast(properties.size as double)",
        "large": "size > 2 and reference.kind <> 'bot'",
        "kind": "case when large then 'large' else upper(substr(properties.repo, 1, 3)) || reference.kind end",
        "third": "size / 3",
        "unused": "properties.other",
        "initial": "substr(user_id, 1, 1)",
        "person": "case when event_type <> 'a' then user_id end",
    },
    RollupSpec(
        dimensions=(
            Source(name="large", source="large"),
            Source(name="what", source="kind"),
            Source(name="initial", source="initial"),
            Source(name="person", source="person"),
        ),
        distinct=(Source(name="kinds", source="kind"),),
        counts=(Count(name="small", where="size <= 2"), Count(name="known", where="reference.kind is not null")),
        measures=(
            Measure(name="thirds", source="third", quantiles=True, last=True),
            Measure(name="commits", source="properties.size"),
            Measure(name="of_bots", source="size", where="reference.kind = 'bot'", quantiles=True, last=True),
            Measure(name="of_b", source="properties.size", where="event_type = 'b' or large"),
        ),
        top=(
            Top(name="sizes", source="size", exactKeys=50),
            Top(name="kinds", source="kind", exactKeys=50),
            Top(name="people", source="person", exactKeys=50),
        ),
    ),
)
CONTRACTS = [*ALL, ODD, PLAIN, DERIVED]

LONG = "a text that is longer than a view holds within itself, number "
texts = st.sampled_from(["a", "b", "none", "", LONG + "1", LONG + "2", "é", "exactly-12by", "thirteen-byte"])
map_texts = texts | st.sampled_from(["x" * 300, "x" * 199 + "yz", "nul\0", "nul\ufffd"])
sizes = st.sampled_from(["1", "2.5", "-3e2", "many", "", "inf", "nan", " 1", "1" * 400])
users = st.sampled_from(["u1", "u2", "u3", LONG + "3"])
REFERENCE = pl.DataFrame(
    {"key": ["u1", "u2", LONG + "3"], "kind": ["bot", None, "human"], "organisation": ["12", LONG, None]}
)

VALUES_OF: dict[str, st.SearchStrategy[Any]] = {
    "event_id": texts,
    "user_id": users,
    "timestamp": st.integers(T0 - 70_000, T0 + 190_000),
    "properties": st.dictionaries(st.sampled_from(["size", "repo", "other"]), map_texts | sizes, max_size=3),
    "metadata": st.just({}),
    "tags": st.dictionaries(st.sampled_from(["device", "other"]), map_texts, max_size=2),
}
VALUES_OF_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "string": texts,
    "int": st.integers(1, 3),
    "long": st.integers(0, 10**12),
    "double": st.floats(-1e9, 1e9),
}


@dataclass(frozen=True)
class Event:
    """`verdict` is the worker's number for it."""

    values: dict[str, Any]
    partition: int
    verdict: int


def transactions(contract: Contract) -> st.SearchStrategy[list[list[list[Event]]]]:
    """The events of several transactions, each of several batches."""
    fields = {
        f.name: (of if f.required else st.none() | of)
        for f in contract.fields
        for of in [VALUES_OF.get(f.name, VALUES_OF_TYPE.get(f.type, st.none()))]
    }
    event = st.builds(Event, st.fixed_dictionaries(fields), st.integers(0, 2), st.integers(0, 3))
    batch = st.lists(event, max_size=25).map(lambda b: sorted(b, key=lambda e: e.partition))
    return st.lists(st.lists(batch, min_size=1, max_size=3), min_size=1, max_size=3)


BATCHES = st.one_of([st.tuples(st.just(contract), transactions(contract)) for contract in CONTRACTS])


def _column(value: Any) -> Any:
    if isinstance(value, dict):
        return [{"key": k, "value": v} for k, v in cast(dict[str, str], value).items()]
    return value


def frame_of(contract: Contract, events: list[Event]) -> pl.DataFrame:
    rows = [{name: _column(value) for name, value in e.values.items()} for e in events]
    return pl.DataFrame(rows, schema={f.name: POLARS_TYPES[f.type] for f in contract.fields})


def take(contract: Contract, rollup: Rollup, events: list[Event]) -> RollupInput:
    payloads = Payloads.of(list(Encoder(contract, 7).encode(frame_of(contract, events))))
    decoded = Decoder(contract.fields, lambda _: avro_schema(contract), picked(contract)).decode(payloads)
    assert not decoded.rejected
    times = decoded.frame[contract.event_time].to_physical().to_numpy()
    lookup = Lookup(Reference(contract.reference, REFERENCE)) if contract.reference else None
    return rollup.extract(decoded.frame, times, np.array([e.partition for e in events], np.int64), lookup)


_ADD: dict[str, Callable[[tuple[Any, Any]], Any]] = {"_min": min, "_max": max}


@dataclass
class Stored:
    """What a minutes table and a top table hold after some transactions."""

    contract: Contract
    minutes: dict[Any, dict[str, Any]] = field(default_factory=dict[Any, dict[str, Any]])
    tops: dict[Any, bytes] = field(default_factory=dict[Any, bytes])

    def add(self, minutes: pl.DataFrame, tops: list[TopRow]) -> None:
        keys = [MINUTE, PARTITION, *self.contract.dimension_names]
        assert minutes.select(keys).rows() == sorted(set(minutes.select(keys).rows()))
        for row in minutes.iter_rows(named=True):
            held = self.minutes.setdefault(tuple(row.pop(k) for k in keys), {})
            for m in self.contract.rollup.measures:
                last = [f"{m.name}_last_ms", f"{m.name}_last"]
                before, new = ([of.get(c) for c in last] for of in (held, row))
                if None not in before and (None in new or before > new):
                    row |= dict(zip(last, before, strict=True))
            for name, value in row.items():
                before = held.get(name)
                if value is None or before is None:
                    held[name] = before if value is None else value
                elif name.endswith(("_hll", "_kll", "_last", "_last_ms")):
                    held[name] = value
                else:
                    held[name] = _ADD.get(name[-4:], sum)((before, value))
        self.tops |= {(minute, partition, top): data for minute, partition, top, data in tops}


@examples(150)
@given(BATCHES)
def test_like_the_batch_layer(drawn: tuple[Contract, list[list[list[Event]]]]) -> None:
    contract, sent = drawn
    rollup, stored = Rollup(contract, PSEUDONYMS), Stored(contract)
    for parts in sent:
        verdicts = [np.array([e.verdict for e in part], np.uint8) for part in parts]
        stored.add(*rollup.add([take(contract, rollup, part) for part in parts], verdicts, {}))

    evaluated = [e for parts in sent for part in parts for e in part if e.verdict]
    frame = frame_of(contract, evaluated)
    if contract.reference:
        frame = Reference(contract.reference, REFERENCE).enrich(frame)
    flags = {COUNTED: worker.COUNTED, LATE: worker.LATE, DUPLICATE: worker.DUPLICATE}
    rolled = RollupPlan(contract, PSEUDONYMS).roll_up(
        frame.with_columns(
            pl.Series(PARTITION, [e.partition for e in evaluated], pl.Int64),
            *(pl.Series(name, [e.verdict == v for e in evaluated], pl.Boolean) for name, v in flags.items()),
        )
    )
    keys = [MINUTE, PARTITION, *contract.dimension_names]
    expected = {tuple(row.pop(k) for k in keys): row for row in rolled.minutes.iter_rows(named=True)}
    assert stored.minutes.keys() == expected.keys()
    for key, row in stored.minutes.items():
        for name, value in expected[key].items():
            column = name.removeprefix(VALUES)
            if column == name:
                assert row[name] == (None if value is None else pytest.approx(value, rel=1e-9, abs=1e-6))
            elif column.endswith("_kll"):
                assert (0 if row[column] is None else sketches.load_kll(row[column]).n) == len(value)
            else:
                # an HLL doesn't count the empty text
                distinct = len([v for v in value if v])
                built = row[column]
                assert (0 if built is None else round(sketches.load_hll(built).get_estimate())) == distinct
    tops = {
        (row[MINUTE], row[PARTITION], name): dict(zip(row[KEYS], row[WEIGHTS], strict=True))
        for name, table in rolled.tops.items()
        for row in table.iter_rows(named=True)
    }
    found = {
        key: {r.key: r.count for r in sketches.ranked(sketches.load_frequent(data))}
        for key, data in stored.tops.items()
    }
    assert found == tops


def test_only_the_map_keys_that_the_rollup_reads_are_asked_for() -> None:
    assert picked(DERIVED) == {"properties": ["repo", "size"], "metadata": []}


def test_what_is_closed_is_forgotten_and_what_is_open_is_kept() -> None:
    rollup = Rollup(USER, PSEUDONYMS)
    event = {"event_id": "a", "user_id": "u1", "event_type": "Push", "properties": {"size": "1"}, "metadata": {}}
    minutes = [T0, T0 + 60_000, T0 + 120_000]
    events = [Event({**event, "timestamp": at, "schema_version": 1}, 0, worker.COUNTED) for at in minutes]
    verdicts = [np.full(len(events), worker.COUNTED, np.uint8)]
    rollup.add([take(USER, rollup, events)], verdicts, {0: minutes[1]})
    name = ("Push", "bot")
    for opened in rollup.sketches.values():
        assert [len(list(opened.get((0, minute), [name]))) for minute in minutes] == [0, 1, 1]
    for opened in rollup.tops.values():
        assert [len(list(opened.get((0, minute), [()]))) for minute in minutes] == [0, 1, 1]


def test_groups_of_batches_become_one_sorted_list() -> None:
    first = pl.Series(["b", "a"])
    second = pl.Series(["a", "c", "b"])
    coded = [worker.code_texts(first), worker.code_texts(second)]
    minutes = [np.array([60_000, 0]), np.array([0, 0, 60_000])]
    partitions = [np.array([1, 0]), np.array([0, 0, 1])]
    grouped = [group_events(m, p, [c]) for m, p, c in zip(minutes, partitions, coded, strict=True)]
    places, groups = merge([g for _, g in grouped])
    (dimension,) = groups.dimensions
    rows = zip(groups.minutes.tolist(), dimension.values.gather(dimension.codes).to_list(), strict=True)
    assert list(rows) == [(0, "a"), (0, "c"), (60_000, "b")]
    assert [place[codes].tolist() for place, (codes, _) in zip(places, grouped, strict=True)] == [[2, 0], [0, 1, 2]]
    assert groups.cell_ends.tolist() == [2, 3]
