"""When a changed contract needs a new generation of rollups, and which contracts are worked by meanwhile."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.access.load import load_access
from streamgauge.apply.actual import Actual, ActualSubject, History
from streamgauge.apply.changes import AllowRelation, CreateTable, DropGeneration, FillGeneration, MakeView, describe
from streamgauge.apply.desired import Desired, desired
from streamgauge.apply.generations import Generations, Pending, generations_of
from streamgauge.apply.plan import make_plan
from streamgauge.contract.fingerprint import AS_JSON, fingerprint
from streamgauge.contract.generations import differences, same_numbers, unreadable, with_numbers_of
from streamgauge.contract.load import load_contracts
from streamgauge.contract.measures import Measure, Source
from streamgauge.contract.model import Contract, RollupSpec, Top
from streamgauge.settings import ACCESS_FILE, CONTRACTS
from streamgauge.state.applied import Applied
from streamgauge.state.generations import Filling, Generation
from streamgauge.stores.tables.batch import stream_tables as batch_tables
from streamgauge.stores.tables.speed import stream_tables as speed_tables
from tests.derived import derive
from tests.unit.test_plan import applied as as_if_applied

USER = next(c for c in load_contracts(CONTRACTS) if c.stream == "user_events")
ACCESS = load_access(ACCESS_FILE)
SIZE = Source(name="length", source="properties.size")


def with_rollup(contract: Contract = USER, **parts: Any) -> Contract:
    return replace(contract, rollup=contract.rollup.model_copy(update=parts))


def measures(*of: Measure) -> Contract:
    return with_rollup(measures=of)


WIDER = with_rollup(dimensions=(*USER.rollup.dimensions, SIZE))
NARROWER = with_rollup(dimensions=USER.rollup.dimensions[:1])
RENAMED = with_rollup(dimensions=(USER.rollup.dimensions[0], Source(name="kind", source="reference.kind")))
COMMITS = USER.rollup.measures[0]


@pytest.mark.parametrize(
    ("after", "reasons"),
    [
        (USER, []),
        (WIDER, ["dimension length added"]),
        (NARROWER, ["dimension actor_kind dropped"]),
        (RENAMED, ["dimension kind added", "dimension actor_kind dropped"]),
        (with_rollup(dimensions=USER.rollup.dimensions[::-1]), ["dimensions in another order"]),
        (measures(), ["measure commits dropped"]),
        (measures(COMMITS.model_copy(update={"name": "sizes"})), ["measure commits dropped", "measure sizes added"]),
        (measures(COMMITS.model_copy(update={"quantiles": False})), ["measure commits without commits_kll"]),
        (measures(COMMITS.model_copy(update={"source": "schema_version"})), ["commits computed otherwise"]),
        (with_rollup(distinct=()), ["distinct count users dropped"]),
        (with_rollup(top=(Top(name="users", source="event_type", exactKeys=3000),)), ["users computed otherwise"]),
        # what only adds to the tables that there are, or is computed where it is read, needs none
        (measures(COMMITS.model_copy(update={"last": True})), []),
        (measures(COMMITS, Measure(name="version", source="schema_version")), []),
        (with_rollup(top=()), []),
        (replace(USER, owner="others", version="9.9.9"), []),
    ],
)  # fmt: skip
def test_which_changes_need_a_generation(after: Contract, reasons: list[str]) -> None:
    assert list(differences(USER, after)) == reasons


def test_an_expression_on_the_way_to_a_number_needs_one_and_another_does_not() -> None:
    texts = {"even": "schema_version % 2 = 0", "odd": "not even", "other": "1"}
    before = derive(USER, texts)
    dimension = Source(name="odd", source="odd")
    before = with_rollup(before, dimensions=(*before.rollup.dimensions, dimension))

    def changed(name: str, text: str) -> tuple[str, ...]:
        return differences(before, replace(derive(USER, {**texts, name: text}), rollup=before.rollup))

    assert changed("even", "schema_version % 2 = 1") == ("odd computed otherwise",)
    assert changed("other", "2") == ()


SOURCES = st.sampled_from(["event_type", "properties.size", "reference.kind", "reference.organisation"])


def spec(dimensions: dict[str, str], numbers: dict[str, tuple[bool, bool]]) -> RollupSpec:
    return RollupSpec(
        dimensions=tuple(Source(name=n, source=s) for n, s in dimensions.items()),
        measures=tuple(
            Measure(name=n, source="properties.size", quantiles=q, last=last) for n, (q, last) in numbers.items()
        ),
    )


SPECS = st.builds(
    spec,
    st.dictionaries(st.sampled_from(["a", "b", "c"]), SOURCES, min_size=1),
    st.dictionaries(st.sampled_from(["x", "y"]), st.tuples(st.booleans(), st.booleans())),
)


@given(SPECS, SPECS)
def test_without_one_the_tables_can_be_made_those_of_the_change(one: RollupSpec, other: RollupSpec) -> None:
    before, after = replace(USER, rollup=one), replace(USER, rollup=other)
    if differences(before, after):
        assert one != other
        return
    now = as_if_applied(desired([before], ACCESS))
    assert make_plan(desired([after], ACCESS), now).refusals == ()
    held = {d.name: d.source for d in one.dimensions}
    assert held == {d.name: d.source for d in other.dimensions}


def known(contract: Contract) -> dict[str, Applied]:
    return {contract.stream: Applied(fingerprint(contract), contract, contract.generation)}


def generation(contract: Contract, number: int, *, retired: bool = False) -> Generation:
    at = datetime(2026, 11, 30, tzinfo=UTC)
    text = AS_JSON.dump_json(contract).decode()
    return Generation(contract.stream, number, fingerprint(contract), text, at, None, at if retired else None, None)


def found(file: Contract, before: Contract, *others: Generation) -> Generations:
    return generations_of([file], known(before), {file.stream: others})


def test_what_was_never_applied_is_worked_by_at_once() -> None:
    assert generations_of([WIDER], {}, {}) == Generations((WIDER,))
    nothing = {USER.stream: Applied("of an earlier version", None)}
    assert generations_of([WIDER], nothing, {}).contracts == (WIDER,)


def test_the_present_numbers_are_worked_by_until_the_others_are_filled() -> None:
    file = replace(WIDER, owner="others")
    built = found(file, USER)
    (pending,) = built.pending
    assert pending == Pending(replace(file, generation=2), ("dimension length added",))
    assert built.contracts == (replace(USER, owner="others"),)
    assert built.unneeded == ()


def test_another_plan_finds_the_generation_that_is_being_filled() -> None:
    waiting = generation(WIDER, 2)
    assert found(WIDER, USER, waiting).pending[0].contract.generation == 2
    assert found(replace(WIDER, owner="others"), USER, waiting).pending[0].contract.generation == 2


def test_another_change_takes_its_place_and_numbers_are_not_used_again() -> None:
    waiting = generation(WIDER, 2)
    built = found(NARROWER, USER, waiting)
    assert built.pending[0].contract == replace(NARROWER, generation=3)
    assert built.unneeded == ((USER.stream, 2),)
    undone = found(USER, USER, waiting)
    assert (undone.contracts, undone.pending, undone.unneeded) == ((USER,), (), ((USER.stream, 2),))
    again = found(WIDER, USER, generation(WIDER, 2, retired=True))
    assert again.pending[0].contract.generation == 3
    assert again.unneeded == ()


def test_the_next_change_begins_from_the_generation_that_is_read() -> None:
    present = replace(WIDER, generation=2)
    assert found(WIDER, present).contracts == (present,)
    built = found(USER, present)
    assert built.contracts == (present,)
    assert built.pending[0].contract == replace(USER, generation=3)


def test_a_field_that_the_present_rollups_read_is_named() -> None:
    file = replace(NARROWER, fields=tuple(f for f in USER.fields if f.name != "user_id"))
    assert found(file, USER).unreadable == {USER.stream: ("user_id",)}
    assert unreadable(USER) == ()
    without = replace(USER, reference=None)
    assert set(unreadable(without)) == {"reference.kind", "reference.organisation"}


def test_numbers_are_taken_over_whole() -> None:
    assert with_numbers_of(replace(WIDER, owner="others"), USER) == replace(USER, owner="others")
    assert same_numbers(replace(WIDER, owner="others"), WIDER)
    assert not same_numbers(WIDER, USER)


def planned(generations: Generations, actual: Actual) -> Sequence[Any]:
    plan = make_plan(wanted(generations), actual)
    assert plan.refusals == ()
    return plan.changes


def wanted(generations: Generations) -> Desired:
    return desired((), ACCESS, generations)


def made(changes: Iterable[Any], kind: type[Any], name: Callable[[Any], str]) -> set[str]:
    return {name(c) for c in changes if isinstance(c, kind)}


def before(generations: Generations) -> Actual:
    """As the present contract left it."""
    now = as_if_applied(desired([USER], ACCESS))
    nothing = ActualSubject(registered=False, level=None)
    return replace(now, subjects={**{s.name: nothing for s in wanted(generations).subjects}, **now.subjects})


def test_a_plan_makes_tables_views_and_rights_beside_those_that_are_read() -> None:
    generations = found(WIDER, USER)
    now = replace(before(generations), history={USER.stream: History(30, 4)})
    changes = planned(generations, now)
    (pending,) = generations.pending
    tables = {t.name: t for t in (*speed_tables(pending.contract), *batch_tables(pending.contract))}
    assert made(changes, CreateTable, lambda c: c.table.name) == set(tables)
    assert all("_g2_" in name for name in tables)
    assert tables["user_events_g2_minutes"].primary_key == ("minute", "event_type", "actor_kind", "length", "partition")
    views = {f"user_events_g2_{w}" for w in ("1m", "5m", "1h", "5m_hop_1m")}
    assert made(changes, MakeView, lambda c: c.view.name) == views
    assert made(changes, AllowRelation, lambda c: c.relation) == {*tables, *views}
    (asked,) = [c for c in changes if isinstance(c, FillGeneration)]
    assert asked == FillGeneration(pending, 30, 4)
    assert describe(asked).detail == (
        "dimension length added: generation 2 will be made of the lake, 26 hours, and read once all are there;"
        " 4 hours before that will be empty: their facts are kept no longer"
    )
    topics = {t.name for t in wanted(generations).topics}
    assert {"app-user-event-counts", "app-user-event-counts-g2"} <= topics


def test_planned_again_it_needs_nothing_and_undone_it_goes() -> None:
    generations = found(WIDER, USER)
    (pending,) = generations.pending
    now = replace(as_if_applied(wanted(generations)), waiting={USER.stream: fingerprint(pending.contract)})
    assert planned(generations, now) == ()
    undone = found(USER, USER, generation(WIDER, 2))
    assert planned(undone, now) == (DropGeneration(USER.stream, 2),)


def test_a_field_that_goes_too_early_is_refused() -> None:
    file = replace(NARROWER, fields=tuple(f for f in USER.fields if f.name != "user_id"), star=())
    generations = found(file, USER)
    plan = make_plan(wanted(generations), before(generations))
    assert "the present rollups are still made of user_id" in [r.reason for r in plan.refusals]


def test_generations_share_no_name() -> None:
    names = [{t.name for t in (*speed_tables(c), *batch_tables(c))} for c in (USER, *_generations(WIDER, 2, 3, 10))]
    assert all(not one & other for one, other in combinations(names, 2))
    keys = {c.redis_top_key("users", "1h") for c in (USER, *_generations(USER, 2, 3))}
    assert len(keys) == 3
    assert fingerprint(replace(USER, generation=7)) == fingerprint(USER)


def _generations(contract: Contract, *numbers: int) -> Iterable[Contract]:
    return (replace(contract, generation=n) for n in numbers)


def test_how_far_a_generation_is_can_be_read() -> None:
    at = datetime(2026, 11, 30, tzinfo=UTC)
    assert str(Filling(2, at, 10, 3)) == "generation 2 of its rollups is being filled: 3 of 10 hours are made"
    assert str(Filling(2, at, 0, 0)).endswith("not begun")
