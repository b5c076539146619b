"""Merged minutes against a plain loop over the events behind them."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.measures import Ratio
from streamgauge.errors import UserError
from streamgauge.rollup import sketches
from streamgauge.rollup.finality import Finality
from streamgauge.rollup.measure_kinds import RANKS
from streamgauge.rollup.windows import MINUTE, Window, merge_minutes, merge_tops, with_status
from streamgauge.settings import CHECKOUT
from tests.every_kind import every_kind
from tests.examples import examples

USER = every_kind(find_contract(load_contracts(CHECKOUT / "platform" / "contracts"), "user_events"))
RATIOS = {"share": ("commits_n", "count"), "of_most": ("commits_sum", "commits_max")}
RATED = replace(
    USER,
    rollup=USER.rollup.model_copy(
        update={"ratios": tuple(Ratio(name=name, of=of, to=to) for name, (of, to) in RATIOS.items())}
    ),
)
START = datetime(2026, 3, 29, 0, 58, tzinfo=UTC)
SCHEMA: dict[str, Any] = {
    "minute": pl.Datetime("us", "UTC"),
    "event_type": pl.String,
    "actor_kind": pl.String,
    "count": pl.Int64,
    "late": pl.Int64,
    "duplicates": pl.Int64,
    "users_hll": pl.Binary,
    "commits_n": pl.Int64,
    "commits_sum": pl.Float64,
    "commits_min": pl.Float64,
    "commits_max": pl.Float64,
    "commits_last": pl.Float64,
    "commits_last_ms": pl.Int64,
    "commits_kll": pl.Binary,
}


@dataclass(frozen=True)
class Event:
    minute: int
    partition: int
    event_type: str
    actor_kind: str
    user: str
    commits: int | None
    second: int = 0

    @property
    def time(self) -> datetime:
        return START + self.minute * MINUTE


events = st.lists(
    st.builds(
        Event,
        minute=st.integers(0, 130),
        partition=st.integers(0, 2),
        event_type=st.sampled_from("AB"),
        actor_kind=st.sampled_from(["bot", "human"]),
        user=st.sampled_from("uvwxyz"),
        commits=st.none() | st.integers(0, 50),
        second=st.integers(0, 3),
    ),
    max_size=120,
)
windows = st.sampled_from([("1m", None), ("5m", None), ("1h", None), ("5m", "1m"), ("1h", "5m")])
groupings = st.sampled_from([(), ("event_type",), ("event_type", "actor_kind")])


def minutes(of: Iterable[Event]) -> pl.DataFrame:
    """The rows that the worker would have stored."""
    groups: dict[Any, list[Event]] = defaultdict(list)
    for e in of:
        groups[e.time, e.partition, e.event_type, e.actor_kind].append(e)
    rows: list[Any] = []
    for (minute, _, event_type, actor_kind), group in groups.items():
        hll, kll = sketches.new_hll(), sketches.new_kll()
        values = [float(e.commits) for e in group if e.commits is not None]
        for e in group:
            hll.update(e.user)
        for value in values:
            kll.update(value)
        low, high = (min(values), max(values)) if values else (None, None)
        dumped = sketches.dump_kll(kll) if values else None
        value, at = last(group)
        measure = (len(values), sum(values), low, high, None if value is None else float(value), at, dumped)
        rows.append((minute, event_type, actor_kind, len(group), 1, 2, sketches.dump_hll(hll), *measure))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def last(group: Iterable[Event]) -> tuple[int | None, int | None]:
    """The value of the latest event that has one, and its time in epoch ms; of several the greatest."""
    valued = [(round(e.time.timestamp()) * 1000 + e.second * 1000, e.commits) for e in group if e.commits is not None]
    at, value = max(valued, default=(None, None))
    return value, at


def starts(time: datetime, size: int, hop: int) -> list[datetime]:
    """Every window that `time` is part of, by trying them all."""
    epoch = int(time.timestamp()) // 60
    return [datetime.fromtimestamp(start * 60, UTC) for start in range(epoch - size + 1, epoch + 1) if start % hop == 0]


def nearest_rank(values: list[int], rank: float) -> float:
    return sorted(values)[math.ceil(rank * len(values)) - 1]


@examples(60)
@given(events, windows, groupings)
def test_a_window_is_what_a_loop_over_its_events_gives(
    given_events: list[Event], window: tuple[str, str | None], group_by: tuple[str, ...]
) -> None:
    parsed = Window.parse(*window)
    size, hop = parsed.size // MINUTE, parsed.hop // MINUTE
    expected: dict[Any, list[Event]] = defaultdict(list)
    for e in given_events:
        for start in starts(e.time, size, hop):
            expected[start, *(getattr(e, g) for g in group_by)].append(e)

    rows = merge_minutes(minutes(given_events), RATED, parsed, group_by).to_dicts()

    found = {(row["window_start"], *(row[g] for g in group_by)): row for row in rows}
    assert set(found) == set(expected)
    assert list(found) == sorted(found)
    for key, group in expected.items():
        row, values = found[key], [e.commits for e in group if e.commits is not None]
        stored = {(e.minute, e.partition, e.event_type, e.actor_kind) for e in group}
        assert row["count"] == len(group)
        assert (row["late"], row["duplicates"]) == (len(stored), 2 * len(stored))
        assert row["users_distinct"] == len({e.user for e in group})
        assert (row["commits_n"], row["commits_sum"]) == (len(values), sum(values))
        assert row["commits_min"] == min(values, default=None)
        assert row["commits_max"] == max(values, default=None)
        assert row["commits_mean"] == (sum(values) / len(values) if values else None)
        assert row["share"] == len(values) / len(group)
        assert row["of_most"] == (sum(values) / max(values) if values and max(values) else None)
        assert row["commits_last"] == last(group)[0]
        for name, rank in RANKS.items():
            assert row[f"commits_{name}"] == (nearest_rank(values, rank) if values else None)


def test_a_window_is_complete_when_nothing_more_can_come() -> None:
    parsed = Window.parse("5m")
    rows = minutes([Event(2, 0, "A", "bot", "u", None), Event(7, 0, "A", "bot", "u", None)])
    first_end = START + timedelta(minutes=7)

    def complete(before: datetime | None) -> list[bool]:
        merged = merge_minutes(rows, USER, parsed)
        return with_status(merged, parsed, Finality({}), before)["complete"].to_list()

    assert complete(first_end - timedelta(microseconds=1)) == [False, False]
    assert complete(first_end) == [True, False]
    assert complete(None) == [False, False]


def test_distinct_over_many_minutes_is_not_their_sum() -> None:
    rows = minutes([Event(m, p, "A", "bot", "u", None) for m in range(2, 6) for p in range(3)])
    assert merge_minutes(rows, USER, Window.parse("5m"))["users_distinct"].to_list() == [1]


def test_quantiles_of_many_values_keep_their_promise() -> None:
    """The rank of what p95 gives is within the sketch's error of 0.95, though it came from 60 sketches."""
    given_events = [
        Event(m, 0, "A", "bot", "u", (m * 7919 + i * 104729) % 10_007) for m in range(2, 62) for i in range(200)
    ]
    values = sorted(e.commits for e in given_events if e.commits is not None)
    (row,) = merge_minutes(minutes(given_events), USER, Window.parse("1h")).to_dicts()
    for name, rank in RANKS.items():
        position = sum(v <= row[f"commits_{name}"] for v in values) / len(values)
        assert abs(position - rank) < 0.03


def test_no_minutes_no_windows() -> None:
    assert merge_minutes(minutes([]), USER, Window.parse("5m", "1m")).is_empty()


def test_a_dimension_that_is_none() -> None:
    with pytest.raises(UserError, match="no dimension 'user_id'") as caught:
        merge_minutes(minutes([]), USER, Window.parse("1m"), ("user_id",))
    assert "event_type" in caught.value.hint


@pytest.mark.parametrize(("size", "hop"), [("2m", None), ("5m", "1h"), ("5m", "7m")])
def test_a_window_that_is_none(size: str, hop: str | None) -> None:
    with pytest.raises(UserError):
        Window.parse(size, hop)


weights = st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 1000), max_size=30)


def frequent(counted: dict[str, int], exact_keys: int) -> bytes:
    sketch = sketches.new_frequent(exact_keys)
    for key, weight in counted.items():
        sketch.update(key, weight)
    return sketches.dump_frequent(sketch)


@examples(60)
@given(st.lists(weights, max_size=8))
def test_tops_are_exact_up_to_the_contracts_number_of_keys(parts: list[dict[str, int]]) -> None:
    """Each part has at most 30 keys and all together more: the merge must not lose what the parts know."""
    expected: Counter[str] = Counter()
    for part in parts:
        expected.update(part)
    top = merge_tops([frequent(part, 30) for part in parts], 1000)
    assert top.exact
    assert [(i.key, i.count) for i in top.items] == sorted(expected.items(), key=lambda r: (-r[1], r[0]))
    assert all(i.lower == i.count == i.upper for i in top.items)
    assert top.keys == len(expected)


@examples(40)
@given(
    st.lists(
        st.dictionaries(st.integers(0, 400), st.integers(1, 99), min_size=60, max_size=200),
        min_size=1,
        max_size=4,
    )
)
def test_beyond_that_number_every_count_is_within_its_bounds(parts: list[dict[int, int]]) -> None:
    expected: Counter[str] = Counter()
    for part in parts:
        expected.update({str(k): v for k, v in part.items()})
    top = merge_tops([frequent({str(k): v for k, v in part.items()}, 10) for part in parts], 1000)
    assert not top.exact
    for item in top.items:
        assert item.lower <= expected[item.key] <= item.upper <= item.lower + top.error
    missed = set(expected) - {i.key for i in top.items}
    assert all(expected[key] <= top.error for key in missed)


@pytest.mark.parametrize("keys", [10, 12, 13, 1000, 3000, 3072, 3073])
def test_a_sketch_is_exact_with_as_many_keys_as_it_was_made_for(keys: int) -> None:
    counted = {str(i): i + 1 for i in range(keys)}
    assert sketches.frequent_error(sketches.load_frequent(frequent(counted, keys))) == 0
    smaller = 0.75 * 2 ** (sketches.frequent_lg(keys) - 1)
    assert smaller < keys or sketches.frequent_lg(keys) == 3
