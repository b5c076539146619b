"""The difference between contracts and servers, without servers."""

from dataclasses import replace

import pytest

from streamgauge.access.kafka import Acl
from streamgauge.access.load import load_access
from streamgauge.apply.actual import Actual, ActualDatabase, ActualSubject, ActualTable, ActualTopic
from streamgauge.apply.changes import (
    AddColumn,
    AllowKafka,
    AllowRelation,
    CreateTable,
    CreateTopic,
    GrowTopic,
    MakeView,
    RegisterSchema,
    SetCompatibility,
    SetTopicConfig,
    TakeUpContract,
    describe,
)
from streamgauge.apply.desired import Desired, desired
from streamgauge.apply.plan import make_plan
from streamgauge.contract.fingerprint import fingerprint
from streamgauge.contract.load import load_contracts
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import ACCESS_FILE, CHECKOUT
from streamgauge.state.applied import Applied
from streamgauge.stores.ddl import Column, Table
from streamgauge.stores.tables.batch import stream_tables
from streamgauge.stores.tables.speed import minutes_table
from tests.derived import derive

CONTRACTS = load_contracts(CHECKOUT / "platform" / "contracts")
USER = next(c for c in CONTRACTS if c.stream == "user_events")
ACCESS = load_access(ACCESS_FILE)
WANTED = desired(CONTRACTS, ACCESS)
NOTHING = Actual(
    topics={},
    subjects={s.name: ActualSubject(registered=False, level=None) for s in WANTED.subjects},
    acls=frozenset(),
    database=ActualDatabase(logins=frozenset(WANTED.roles)),
)


def built(table: Table) -> ActualTable:
    return ActualTable(
        columns={c.name: c.type for c in table.columns},
        primary_key=table.primary_key,
        indexes=frozenset(i.name for i in table.indexes),
        hypertable=table.time is not None,
    )


def applied(wanted: Desired) -> Actual:
    """As if `wanted` had been applied, and every topic written to."""
    return Actual(
        topics={t.name: ActualTopic(t.partitions, t.config, holds_data=True) for t in wanted.topics},
        subjects={s.name: ActualSubject(registered=True, level=s.level) for s in wanted.subjects},
        acls=frozenset(wanted.acls),
        database=ActualDatabase(
            schema_exists=True,
            logins=frozenset(wanted.roles),
            usage=frozenset((role, "USAGE") for role in wanted.roles),
            tables={t.name: built(t) for t in wanted.database.tables},
            views={v.name: v.fingerprint for v in wanted.database.views},
            functions={f.name: f.fingerprint for f in wanted.database.functions},
            grants=frozenset(wanted.grants),
        ),
        contracts={stream: as_applied(contract) for stream, contract in wanted.contracts.items()},
        principals=wanted.principals,
        redis_users={u.name: u for u in wanted.redis_users},
    )


def as_applied(contract: Contract) -> Applied:
    return Applied(fingerprint(contract), contract)


def with_topic(actual: Actual, name: str, topic: ActualTopic) -> Actual:
    return replace(actual, topics={**actual.topics, name: topic})


def with_table(actual: Actual, name: str, table: ActualTable) -> Actual:
    return replace(actual, database=replace(actual.database, tables={**actual.database.tables, name: table}))


def test_from_nothing_everything_is_made() -> None:
    plan = make_plan(WANTED, NOTHING)
    assert not plan.refusals
    topics = {c.topic.name: c.topic for c in plan.kafka if isinstance(c, CreateTopic)}
    assert set(topics) == {
        *(c.topic for c in CONTRACTS),
        *(c.dead_letter_topic for c in CONTRACTS),
        "app-user-event-counts",
    }
    assert all(t.config["message.timestamp.type"] == "LogAppendTime" for t in topics.values())
    assert topics["app-user-event-counts"].config["cleanup.policy"] == "compact"
    assert topics[USER.topic].partitions == 6
    assert topics[USER.topic].config["retention.ms"] == str(7 * 86_400_000)
    tables = {c.table.name for c in plan.postgres if isinstance(c, CreateTable)}
    assert {"stream_offsets", "dead_letters", "user_events_minutes", "user_events_top_minutes"} <= tables
    assert "reference_actors" in tables
    registered = {c.subject.name for c in plan.registry if isinstance(c, RegisterSchema)}
    assert registered == {*(c.subject for c in CONTRACTS), "app-user-event-counts-value"}


def test_what_is_applied_needs_nothing() -> None:
    plan = make_plan(WANTED, applied(WANTED))
    assert plan.changes == ()
    assert plan.refusals == ()


def test_levels_are_set_before_schemas_are_registered() -> None:
    """Else the first version of a subject would be taken without any rule, and the second too."""
    of_user = [c for c in make_plan(WANTED, NOTHING).registry if USER.subject in repr(c)]
    assert [type(c) for c in of_user] == [SetCompatibility, RegisterSchema]


def test_the_registrys_reason_refuses_the_plan() -> None:
    reasons = ("reader's field 'colour' has no default",)
    subject = ActualSubject(registered=False, level="BACKWARD_TRANSITIVE", incompatibilities=reasons)
    actual = replace(NOTHING, subjects={**NOTHING.subjects, USER.subject: subject})
    plan = make_plan(WANTED, actual)
    assert [r.target for r in plan.refusals] == [f"subject {USER.subject}"]
    with pytest.raises(UserError, match=r"nothing was changed.*'colour' has no default"):
        plan.check()


def test_fewer_partitions_are_refused() -> None:
    actual = with_topic(applied(WANTED), USER.topic, ActualTopic(7, WANTED.topics[0].config, holds_data=False))
    (refusal,) = make_plan(WANTED, actual).refusals
    assert "can't shrink to 6" in refusal.reason


def test_more_partitions_are_refused_where_keys_would_move() -> None:
    now = applied(WANTED)
    config = now.topics[USER.topic].config
    (refusal,) = make_plan(WANTED, with_topic(now, USER.topic, ActualTopic(3, config, holds_data=True))).refusals
    assert "a key would move" in refusal.reason
    plan = make_plan(WANTED, with_topic(now, USER.topic, ActualTopic(3, config, holds_data=False)))
    assert plan.refusals == ()
    assert plan.changes == (GrowTopic(USER.topic, 6),)


def test_only_the_settings_that_differ_are_set() -> None:
    now = applied(WANTED)
    config = {**now.topics[USER.topic].config, "retention.ms": "1", "segment.bytes": "5"}
    plan = make_plan(WANTED, with_topic(now, USER.topic, ActualTopic(6, config, holds_data=True)))
    assert plan.changes == (SetTopicConfig(USER.topic, {"retention.ms": str(USER.retention_ms)}),)


def test_a_new_column_is_added_and_a_new_measure_so_possible() -> None:
    now = applied(WANTED)
    table = now.database.tables[USER.minutes_table]
    older = replace(table, columns={k: v for k, v in table.columns.items() if k != "commits_kll"})
    plan = make_plan(WANTED, with_table(now, USER.minutes_table, older))
    assert plan.changes == (AddColumn(USER.minutes_table, Column("commits_kll", "bytea", null=True)),)


def test_every_column_that_may_be_added_later_needs_no_value() -> None:
    """A NOT NULL column without a default can't be added to a table with rows."""
    for contract in CONTRACTS:
        key = minutes_table(contract).primary_key
        added = [c for c in minutes_table(contract).columns if c.name not in (*key, "upto")]
        assert all(c.null or c.default is not None for c in added)


def test_a_dropped_column_is_refused() -> None:
    now = applied(WANTED)
    table = now.database.tables[USER.minutes_table]
    older = replace(table, columns={**table.columns, "stars_n": "bigint"})
    (refusal,) = make_plan(WANTED, with_table(now, USER.minutes_table, older)).refusals
    assert "stars_n is in no contract any more" in refusal.reason


def test_another_type_is_refused() -> None:
    now = applied(WANTED)
    table = now.database.tables[USER.minutes_table]
    older = replace(table, columns={**table.columns, "count": "integer"})
    (refusal,) = make_plan(WANTED, with_table(now, USER.minutes_table, older)).refusals
    assert "column count is integer, the contract says bigint" in refusal.reason


def test_other_dimensions_are_refused() -> None:
    now = applied(WANTED)
    table = now.database.tables[USER.minutes_table]
    columns = {k: v for k, v in table.columns.items() if k != "actor_kind"}
    older = replace(table, columns=columns, primary_key=("minute", "event_type", "partition"))
    (refusal,) = make_plan(WANTED, with_table(now, USER.minutes_table, older)).refusals
    assert "can't be split by other dimensions" in refusal.reason


def test_a_view_that_is_made_again_gets_its_rights_again() -> None:
    now = applied(WANTED)
    views = {**now.database.views, "user_events_5m": "another text"}
    plan = make_plan(WANTED, replace(now, database=replace(now.database, views=views)))
    view, *grants = plan.postgres
    assert isinstance(view, MakeView)
    assert view.view.name == "user_events_5m"
    assert grants == [AllowRelation("user_events_5m", f"streamgauge_{p}", ("SELECT",)) for p in ("api", "reader")]


def test_a_broker_without_rights_gets_none() -> None:
    plan = make_plan(WANTED, replace(NOTHING, acls=None))
    assert not any(isinstance(c, AllowKafka) for c in plan.changes)


def test_each_role_may_do_what_it_needs_and_no_more() -> None:
    allowed = {c.acl for c in make_plan(WANTED, NOTHING).kafka if isinstance(c, AllowKafka)}
    assert {a for a in allowed if a.user == "producer"} == {
        Acl("producer", "topic", c.topic, "write") for c in CONTRACTS
    }
    assert {a for a in allowed if a.user == "api"} == {Acl("api", "topic", c.topic, "write") for c in CONTRACTS}
    assert not {a for a in allowed if a.user == "reader" and a.operation == "write"}
    assert Acl("worker", "topic", USER.topic, "write") not in allowed
    assert {Acl("worker", "topic", USER.topic, "read"), Acl("worker", "group", USER.group, "read")} <= allowed
    writes = [g for g in WANTED.grants if g.privilege != "SELECT"]
    assert "streamgauge_reader" not in {g.role for g in writes}
    by_worker = {g.relation for g in writes if g.role == "streamgauge_worker"}
    assert not by_worker & {t.name for c in CONTRACTS for t in stream_tables(c)}


def test_a_contract_that_says_something_else_is_taken_up_and_no_other() -> None:
    actual = applied(WANTED)
    before = as_applied(replace(USER, version="0.9.0"))
    changed = replace(actual, contracts={**actual.contracts, USER.stream: before})
    (change,) = make_plan(WANTED, changed).changes
    assert change == TakeUpContract(USER, before.contract)
    assert describe(change).detail == "for worker, API and Dagster to work by"


def test_a_field_that_becomes_personal_is_reported_and_one_that_no_longer_is() -> None:
    actual = applied(WANTED)

    def text(before: set[str]) -> str:
        fields = (replace(f, classification="personal" if f.name in before else "internal") for f in USER.fields)
        known = as_applied(replace(USER, fields=tuple(fields)))
        (change,) = make_plan(WANTED, replace(actual, contracts={**actual.contracts, USER.stream: known})).changes
        return describe(change).detail

    assert "personal from now on: user_id, pseudonyms in" in text(set())
    assert "personal no more: event_type, which all who" in text({"user_id", "event_type"})


def test_an_expression_that_is_another_is_reported() -> None:
    contracts = [derive(c, {"even": "schema_version % 2 = 0", "odd": "not even"}) for c in CONTRACTS[-1:]]
    wanted = desired(contracts, ACCESS)
    (stream,) = wanted.contracts
    before = derive(CONTRACTS[-1], {"even": "schema_version % 2 = 1", "gone": "1", "odd": "not even"})
    changed = replace(applied(wanted), contracts={stream: as_applied(before)})
    (change,) = make_plan(wanted, changed).changes
    assert describe(change).detail.endswith("computed otherwise from now on: even, but what was counted stays as it is")


def test_what_an_earlier_version_kept_stays_and_stands_in_nobodys_way() -> None:
    actual = applied(WANTED)
    tables = dict(actual.database.tables)
    former = {t.name: t.former for t in WANTED.database.tables if t.former}
    assert "applied_contracts" in former
    for name, columns in former.items():
        tables[name] = replace(tables[name], columns={**tables[name].columns, **dict.fromkeys(columns, "jsonb")})
    plan = make_plan(WANTED, replace(actual, database=replace(actual.database, tables=tables)))
    assert (plan.changes, plan.refusals) == ((), ())


def test_what_an_earlier_version_applied_is_taken_up_once_more() -> None:
    known = {stream: replace(of, contract=None) for stream, of in applied(WANTED).contracts.items()}
    changes = make_plan(WANTED, replace(applied(WANTED), contracts=known)).changes
    assert {c.contract.stream for c in changes if isinstance(c, TakeUpContract)} == {c.stream for c in CONTRACTS}
    assert len(changes) == len(CONTRACTS)
