"""Plan and apply on the real servers."""

import json
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
import yaml
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME as LOG_APPEND_TIME
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AclBinding, AclBindingFilter  # pyright: ignore[reportPrivateImportUsage]
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg import sql
from pydantic import SecretStr
from redis.exceptions import NoPermissionError
from typer.testing import CliRunner

from streamgauge.access.kafka import Acl
from streamgauge.access.load import load_access
from streamgauge.apply.actual import Actual, read_actual
from streamgauge.apply.changes import (
    AddColumn,
    AllowKafka,
    ForbidKafka,
    ForbidRelation,
    ForbidSchema,
    RegisterSchema,
    SetCompatibility,
    SetTopicConfig,
    TakeUpContract,
    TakeUpPrincipals,
    describe,
)
from streamgauge.apply.desired import Subject, desired
from streamgauge.apply.execute import acl_words, apply, change_registry, plan
from streamgauge.cli import contracts as commands
from streamgauge.errors import UserError
from streamgauge.records.avro import avro_schema
from streamgauge.records.compatibility import incompatibilities
from streamgauge.records.registry import Incompatible, Registry
from streamgauge.settings import ACCESS_FILE, Settings
from streamgauge.stores.kafka import admin_client, consumer_config, producer_config
from streamgauge.stores.postgres import connect
from streamgauge.stores.redis import redis_client
from tests.integration.own_stream import Document, OwnStream, add_field, block, prop

pytestmark = pytest.mark.usefixtures("stack")


@pytest.fixture
def stream(tmp_path: Path) -> OwnStream:
    return OwnStream(tmp_path)


def state(stream: OwnStream) -> Actual:
    """All that apply could have changed."""
    settings = stream.settings()
    wanted = desired([stream.contract], load_access(settings.access_file))
    registry = Registry(settings.registry_url)
    with connect(settings) as connection:
        return read_actual(wanted, admin_client(settings), registry, connection, redis_client(settings))


def latest(stream: OwnStream) -> Any:
    found = Registry(stream.settings().registry_url).latest(stream.contract.subject)
    assert found is not None
    return found


def apply_own(stream: OwnStream) -> None:
    apply(stream.settings(), (stream.contract,))


def test_plan_apply_and_nothing_is_left_to_do(stream: OwnStream) -> None:
    settings, contracts = stream.settings(), (stream.contract,)
    planned = plan(settings, contracts)
    assert planned.registry
    assert planned.kafka
    assert planned.postgres
    assert state(stream).topics == {}, "a plan changes nothing"

    assert apply(settings, contracts).changes == planned.changes

    assert plan(settings, contracts).changes == ()
    assert apply(settings, contracts).changes == ()


def test_plans_exit_code_says_whether_there_is_something_to_do(
    stream: OwnStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMGAUGE_CONTRACTS_DIR", str(stream.folder))
    app = typer.Typer()
    app.command("plan")(commands.plan)
    app.command("apply")(commands.apply)
    runner = CliRunner()

    planned = runner.invoke(app, ["plan", "--json"])
    assert planned.exit_code == 2
    targets = {step["target"] for step in json.loads(planned.output)}
    assert {f"topic app-{stream.name}", f"hypertable {stream.name}_minutes"} <= targets
    summed_up = runner.invoke(app, ["plan"]).output
    assert len(summed_up.splitlines()) < 20 < len(targets)
    assert f"app-{stream.name}, app-{stream.name}-dead-letters" in summed_up and "--verbose" in summed_up
    applied = runner.invoke(app, ["apply", "--verbose"])
    assert applied.exit_code == 0
    assert f"subject app-{stream.name}-value" in applied.output
    nothing = runner.invoke(app, ["plan"])
    assert (nothing.exit_code, "nothing to change" in nothing.output) == (0, True)

    document = stream.document()
    add_field(document, "colour", default=None)
    stream.write(document)
    refused = runner.invoke(app, ["plan"])
    assert refused.exit_code == 1
    assert "colour" in refused.output
    assert isinstance(runner.invoke(app, ["apply"]).exception, UserError)


def test_a_new_file_makes_all_that_a_stream_needs(stream: OwnStream) -> None:
    apply_own(stream)
    contract = stream.contract
    found = state(stream)
    topics = {name: topic.partitions for name, topic in found.topics.items()}
    assert topics == {contract.topic: 6, contract.dead_letter_topic: 1, f"{contract.topic}-counts": 6}
    assert latest(stream).schema == avro_schema(contract)
    assert found.subjects[contract.subject].level == "BACKWARD_TRANSITIVE"
    minutes, top = found.database.tables[contract.minutes_table], found.database.tables[contract.top_table]
    assert minutes.hypertable
    assert top.hypertable
    assert minutes.primary_key == ("minute", "event_type", "actor_kind", "partition")
    assert {f"{stream.name}_{w}" for w in ("1m", "5m", "1h", "5m_hop_1m")} <= set(found.database.views)
    assert f"reference_{stream.name}" in found.database.tables


def test_a_field_with_a_default_is_a_new_version_and_the_old_one_stays(stream: OwnStream) -> None:
    apply_own(stream)
    old = stream.contract
    before = latest(stream)
    document = stream.document()
    add_field(document, "colour", default="grey")
    new = stream.write(document)

    change, adopted = apply(stream.settings(), (new,)).changes

    assert isinstance(change, RegisterSchema)
    assert isinstance(adopted, TakeUpContract)
    assert latest(stream).version == before.version + 1
    registry = Registry(stream.settings().registry_url)
    assert registry.find_schema(latest(stream).id) == avro_schema(new)
    assert registry.find_schema(before.id) == avro_schema(old)
    # A producer that still has the old contract finds its schema, and what it planned changes no server.
    held = registry.lookup(old.subject, avro_schema(old))
    assert held is not None
    assert held.id == before.id
    (change,) = plan(stream.settings(), (old,)).changes
    assert isinstance(change, TakeUpContract)


def test_a_field_that_becomes_personal_is_named_once(stream: OwnStream) -> None:
    apply_own(stream)
    assert plan(stream.settings(), (stream.contract,)).changes == ()
    document = stream.document()
    prop(document, "event_id")["classification"] = "personal"
    contract = stream.write(document)
    (change,) = apply(stream.settings(), (contract,)).changes
    assert "personal from now on: event_id" in describe(change).detail
    assert plan(stream.settings(), (contract,)).changes == ()


def test_an_expression_that_becomes_another_is_named_once(stream: OwnStream) -> None:
    document = stream.document()
    named: dict[str, Any] = {"property": "derived", "value": {"kind": "case when user_id like '%bot' then 'it''s' end"}}
    document["customProperties"].append(named)
    contract = stream.write(document)
    apply(stream.settings(), (contract,))
    assert plan(stream.settings(), (contract,)).changes == ()
    named["value"]["kind"] = "lower(user_id)"
    contract = stream.write(document)
    (change,) = apply(stream.settings(), (contract,)).changes
    assert "computed otherwise from now on: kind" in describe(change).detail
    assert plan(stream.settings(), (contract,)).changes == ()


@pytest.mark.parametrize("fault", ["type", "default"])
def test_an_incompatible_version_is_refused_with_the_reason_and_nothing_changes(stream: OwnStream, fault: str) -> None:
    """The same file also has changes that would be fine, in every store: they are not made either."""
    apply_own(stream)
    before, version = state(stream), latest(stream)
    document = stream.document()
    if fault == "type":
        field = prop(document, "schema_version")
        field.update(logicalType="string", physicalType="string", logicalTypeOptions={}, customProperties=[])
    else:
        add_field(document, "colour", default=None)
    block(document, "rollup")["measures"].append({"name": "stars", "source": "properties.stars"})
    next(p for p in document["slaProperties"] if p["property"] == "retention")["value"] = 3
    stream.write(document)

    with pytest.raises(UserError) as caught:
        apply_own(stream)

    named = "schema_version" if fault == "type" else "colour"
    assert named in caught.value.what, "the registry says which field it is about"
    assert "nothing was changed" in caught.value.what
    assert latest(stream) == version
    assert {n: t.config for n, t in state(stream).topics.items()} == {n: t.config for n, t in before.topics.items()}
    assert state(stream).database.tables == before.database.tables
    planned = plan(stream.settings(), (stream.contract,))
    assert planned.refusals
    assert {SetTopicConfig, AddColumn} <= {type(c) for c in planned.changes}


def _without(document: Document, field: str) -> None:
    schema = document["schema"][0]
    schema["properties"] = [p for p in schema["properties"] if p["name"] != field]


def test_a_stricter_level_that_refuses_the_schema_is_refused_by_the_plan(stream: OwnStream) -> None:
    apply_own(stream)
    version = latest(stream)
    document = stream.document()
    _without(document, "metadata")
    block(document, "topic")["compatibility"] = "FULL_TRANSITIVE"
    next(p for p in document["slaProperties"] if p["property"] == "retention")["value"] = 3
    stream.write(document)
    (refused,) = plan(stream.settings(), (stream.contract,)).refusals
    assert "metadata" in refused.reason

    with pytest.raises(UserError, match=r"nothing was changed.*metadata"):
        apply_own(stream)

    registry = Registry(stream.settings().registry_url)
    assert registry.level(stream.contract.subject) == "BACKWARD_TRANSITIVE"
    assert latest(stream) == version
    assert state(stream).topics[stream.contract.topic].config["retention.ms"] == str(7 * 86_400_000)


def test_a_looser_level_lets_pass_what_the_one_in_force_refuses(stream: OwnStream) -> None:
    document = stream.document()
    block(document, "topic")["compatibility"] = "FULL_TRANSITIVE"
    stream.write(document)
    apply_own(stream)
    _without(document, "metadata")
    stream.write(document)
    assert plan(stream.settings(), (stream.contract,)).refusals
    block(document, "topic")["compatibility"] = "BACKWARD"
    stream.write(document)
    apply_own(stream)
    assert plan(stream.settings(), (stream.contract,)).changes == ()
    assert latest(stream).schema == avro_schema(stream.contract)


def test_levels_are_put_back_where_the_registry_refuses_a_schema_after_all(stream: OwnStream) -> None:
    """As when someone registers another version between the plan and its execution."""
    apply_own(stream)
    old = Subject(stream.contract.subject, "FULL_TRANSITIVE", avro_schema(stream.contract))
    fields = [f for f in old.schema["fields"] if f["name"] != "metadata"]
    changes = (
        SetCompatibility(old.name, "BACKWARD_TRANSITIVE", "FULL_TRANSITIVE"),
        RegisterSchema(replace(old, schema={**old.schema, "fields": fields})),
    )
    registry = Registry(stream.settings().registry_url)
    with pytest.raises(Incompatible, match="metadata"):
        change_registry(registry, changes)
    assert registry.level(old.name) == "BACKWARD_TRANSITIVE"
    assert latest(stream).schema == old.schema


def _field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def _record(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [_field("id", "string"), *fields]}


NUMBER, TEXTS = ["null", "long"], {"type": "map", "values": "string"}
SCHEMAS = (
    _record(),
    _record(_field("n", "int")),
    _record(_field("n", "long", default=1)),
    _record(_field("n", NUMBER, default=None)),
    _record(_field("n", "double")),
    _record(_field("n", "string", default="")),
    _record(_field("n", {"type": "long", "logicalType": "timestamp-millis"}, default=0)),
    _record(_field("n", TEXTS, default={})),
    _record(_field("n", {"type": "map", "values": "bytes"})),
    _record(_field("m", "boolean", default=False)),
)


@pytest.mark.parametrize("level", ["BACKWARD", "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"])
def test_a_plan_judges_a_level_as_the_registry_does_when_it_is_in_force(stream: OwnStream, level: str) -> None:
    registry = Registry(stream.settings().registry_url)
    pairs = [((old,), new) for old in SCHEMAS for new in SCHEMAS if old != new]
    pairs += [((SCHEMAS[n], SCHEMAS[0]), new) for n in (1, 2, 7) for new in SCHEMAS[1:] if new != SCHEMAS[n]]
    for i, (versions, new) in enumerate(pairs):
        subject = f"{stream.name}-{i}"
        for version in versions:
            registry.register(subject, version)
            registry.set_level(subject, "NONE")
        registry.set_level(subject, level)
        held = registry.versions(subject)
        assert held == list(versions)
        refused = bool(registry.incompatibilities(subject, new))
        assert bool(incompatibilities(level, new, held)) == refused, (level, versions, new)


def test_new_rollups_become_columns_and_keep_the_rows(stream: OwnStream) -> None:
    apply_own(stream)
    table = sql.Identifier(stream.contract.minutes_table)
    with connect(stream.settings("worker")) as connection:
        connection.execute(
            sql.SQL(
                "INSERT INTO {} (minute, event_type, actor_kind, partition, count, upto)"
                " VALUES ('2026-01-01', 'A', 'bot', 0, 5, 5)"
            ).format(table)
        )
    document = stream.document()
    block(document, "rollup")["measures"].append({"name": "stars", "source": "properties.stars", "quantiles": True})
    block(document, "rollup")["distinct"].append({"name": "types", "source": "event_type"})
    stream.write(document)
    apply_own(stream)
    assert plan(stream.settings(), (stream.contract,)).changes == ()
    with connect(stream.settings("reader")) as connection:
        view = sql.Identifier(f"{stream.name}_1h")
        row = connection.execute(sql.SQL("SELECT count, stars_n, stars_max FROM {}").format(view)).fetchone()
    assert row == (5, 0, None)


def test_check_results_and_alerts_follow_an_assets_new_name(stream: OwnStream) -> None:
    apply_own(stream)
    name = stream.contract.stream
    former, now = f"facts/{name}", f"facts/{name}_facts"
    failing = {"failing": {former: {"2026-11-05-07": 1}, f"{former}:contract": {"": 2}, f"{former}x": {"": 3}}}
    with connect(stream.settings(), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO check_results (stream, asset, check_name, partition, status, severity, observed, expected,"
            " failing, denominator, run_id) VALUES (%s, %s, 'c', 'p', 'passed', 'error', '', '', 0, 0, 'r')",
            (name, former),
        )
        connection.execute(
            "INSERT INTO alerts (id, cause, name, severity, stream, asset, owner, summary, description, runbook_url,"
            " since, raised_at, resolved_at) VALUES (%s, %s, 'n', 'warning', %s, %s, 'o', 's', 'd', 'u',"
            " now(), now(), now())",
            (name, f"run/{former}", name, former),
        )
        connection.execute("INSERT INTO alert_memory VALUES (%s, '{}'), (%s, %s)", (former, name, json.dumps(failing)))
        changes = plan(stream.settings(), (stream.contract,)).changes
        assert [str(commands.describe(c).target) for c in changes] == [f"asset {former}"]
        apply_own(stream)
        assert not plan(stream.settings(), (stream.contract,)).changes
        found = connection.execute(
            "SELECT c.asset, a.asset, a.cause, m.memory FROM check_results c JOIN alerts a USING (stream),"
            " alert_memory m WHERE stream = %s AND m.subject = %s",
            (name, name),
        ).fetchall()
        subjects = connection.execute("SELECT subject FROM alert_memory WHERE subject = %s", (now,)).fetchall()
        connection.execute("DELETE FROM alert_memory WHERE subject IN (%s, %s)", (now, name))
    kept = {"failing": {now: {"2026-11-05-07": 1}, f"{now}:contract": {"": 2}, f"{former}x": {"": 3}}}
    assert found == [(now, now, f"run/{now}", kept)]
    assert subjects == [(now,)]


def test_more_partitions_are_refused_once_there_is_data(stream: OwnStream) -> None:
    document = stream.document()
    block(document, "topic")["partitions"] = 2
    stream.write(document)
    apply_own(stream)
    document["customProperties"][0]["value"]["partitions"] = 3
    stream.write(document)
    apply_own(stream)
    assert state(stream).topics[stream.contract.topic].partitions == 3

    produce(stream, "admin", b"k", b"v")
    document["customProperties"][0]["value"]["partitions"] = 4
    stream.write(document)
    with pytest.raises(UserError, match="a key would move"):
        apply_own(stream)
    assert state(stream).topics[stream.contract.topic].partitions == 3


def produce(stream: OwnStream, role: str, key: bytes, value: bytes) -> Any:
    """Sends one record with a time of its own making; returns what the broker said."""
    sender = Producer({**producer_config(stream.settings(role)), "enable.idempotence": False})
    answers: list[Any] = []
    sender.produce(
        stream.contract.topic,
        value,
        key,
        timestamp=1000,
        on_delivery=lambda error, message: answers.append((error, message)),
    )
    assert sender.flush(20) == 0
    error, message = answers[0]
    if error is not None:
        raise KafkaException(error)
    return message


def test_the_brokers_time_is_on_every_record(stream: OwnStream) -> None:
    apply_own(stream)
    sent = produce(stream, "producer", b"k", b"v")
    consumer = Consumer(
        {**consumer_config(stream.settings("worker"), stream.contract.group), "auto.offset.reset": "earliest"}
    )
    try:
        consumer.assign([TopicPartition(stream.contract.topic, sent.partition(), 0)])
        (record,) = consumer.consume(1, timeout=20)
        kind, time = record.timestamp()
    finally:
        consumer.close()
    assert kind == LOG_APPEND_TIME
    assert time > 1_000_000


def test_each_role_can_do_no_more_than_its_work(stream: OwnStream) -> None:
    apply_own(stream)
    for role in ("worker", "reader"):
        with pytest.raises(KafkaException) as caught:
            produce(stream, role, b"k", b"v")
        assert caught.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    minutes = sql.Identifier(stream.contract.minutes_table)
    for role, statement in (
        ("reader", sql.SQL("UPDATE {} SET count = 0").format(minutes)),
        ("reader", sql.SQL("DELETE FROM dead_letters")),
        ("worker", sql.SQL("DELETE FROM {}").format(minutes)),
        ("worker", sql.SQL("DROP TABLE {}").format(minutes)),
        ("worker", sql.SQL("UPDATE {} SET kind = 'bot'").format(sql.Identifier(f"reference_{stream.name}"))),
    ):
        with connect(stream.settings(role)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_a_reader_sees_of_dead_letters_and_tops_what_is_not_personal(stream: OwnStream) -> None:
    apply_own(stream)
    with connect(stream.settings("reader"), autocommit=True) as connection:
        for name, columns in (
            ("dead_letters", "value"),
            (stream.contract.top_table, "sketch"),
            (f"{stream.name}_batch_tops", "sketch"),
            (f"reference_{stream.name}", "user_id"),
            ("api_keys", "hash"),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f'SELECT {columns} FROM "{name}"'.encode())
        connection.execute("SELECT reason, detail, value_bytes, header_names FROM dead_letter_list")
        connection.execute(f'SELECT count FROM "{stream.name}_5m"'.encode())


def access_file(stream: OwnStream, principal: str, rights: Document, folder: Path) -> Settings:
    """Settings with an access file that has one principal more."""
    document = yaml.safe_load(ACCESS_FILE.read_text())
    document["principals"][principal] = rights
    file = folder / "access.yml"
    file.write_text(yaml.safe_dump(document))
    return stream.settings().model_copy(update={"access_file": file})


def test_rights_that_the_access_file_does_not_give_are_taken_away(stream: OwnStream) -> None:
    apply_own(stream)
    settings, contract = stream.settings(), stream.contract
    more = {
        Acl("reader", "topic", contract.topic, "read"),
        Acl("reader", "topic", contract.topic[:5], "read", "prefixed"),
        Acl("worker", "topic", "*", "alter"),
        Acl("api", "broker", "kafka-cluster", "create"),
    }
    others = {
        Acl("somebody", "topic", contract.topic, "read"),
        Acl("reader", "topic", f"{contract.topic}-of-another-project", "read"),
    }
    admin: Any = admin_client(settings)
    built = admin.create_acls([AclBinding(*acl_words(a)) for a in more | others])
    assert all(f.result(20) is None for f in built.values())
    with connect(settings) as connection:
        connection.execute("GRANT SELECT, TRUNCATE ON dead_letters TO PUBLIC")
        connection.execute("GRANT SELECT (value) ON dead_letters TO streamgauge_reader")
        connection.execute("GRANT UPDATE ON final_hours TO streamgauge_api")
        connection.execute("GRANT EXECUTE ON FUNCTION drop_old TO streamgauge_worker")
        connection.execute("GRANT CREATE ON SCHEMA streamgauge TO streamgauge_reader")
    try:
        planned = plan(settings, (contract,)).changes
        assert {c.acl for c in planned if isinstance(c, ForbidKafka)} == more
        assert {c for c in planned if not isinstance(c, ForbidKafka)} == {
            ForbidRelation("dead_letters", "PUBLIC", ("SELECT", "TRUNCATE")),
            ForbidRelation("dead_letters", "streamgauge_reader", ("SELECT",)),
            ForbidRelation("final_hours", "streamgauge_api", ("UPDATE",)),
            ForbidRelation("drop_old", "streamgauge_worker", ("EXECUTE",)),
            ForbidSchema("streamgauge", "streamgauge_reader", "CREATE"),
        }
        assert set(apply(settings, (contract,)).changes) == set(planned)
        assert not plan(settings, (contract,)).changes
        assert others <= (state(stream).acls or frozenset())
    finally:
        admin.delete_acls([AclBindingFilter(*acl_words(a)) for a in more | others])


def test_redis_users_have_the_rights_of_the_access_file(stream: OwnStream, tmp_path: Path) -> None:
    apply_own(stream)
    settings, key = stream.settings(), stream.contract.redis_minutes_key
    with closing(redis_client(settings)) as admin, closing(redis_client(stream.settings("reader"))) as reader:
        wide = ("~*", "&all", "+@read", "+config|get", "(+set ~other)")
        admin.execute_command("ACL SETUSER", "reader", *wide)  # pyright: ignore[reportUnknownMemberType]
        assert reader.get("anything") is None
        (found,) = plan(settings, (stream.contract,)).changes
        assert describe(found).target == "redis user reader"
        assert {"no longer the keys *", "no longer the commands config|get"} <= set(describe(found).detail.split("; "))
        apply(settings, (stream.contract,))
        assert not plan(settings, (stream.contract,)).changes
        assert reader.get(key) is None
        top = stream.contract.redis_top_key("users", "1h")
        for forbidden in (("GET", "anything"), ("GET", top), ("SET", key, "1")):
            with pytest.raises(NoPermissionError):
                reader.execute_command(*forbidden)  # pyright: ignore[reportUnknownMemberType]


def test_a_redis_that_is_away_stops_it_before_anything_is_made(stream: OwnStream) -> None:
    away = {"redis_url": SecretStr("redis://127.0.0.1:9/0")}
    with pytest.raises(UserError, match="Redis doesn't answer"):
        apply(stream.settings().model_copy(update=away), (stream.contract,))
    assert state(stream).topics == {}


def test_who_leaves_the_access_file_loses_all_rights(stream: OwnStream, tmp_path: Path) -> None:
    apply_own(stream)
    contract, may_send = stream.contract, Acl("shop", "topic", stream.contract.topic, "write")
    rights: Document = {"about": "Sends.", "streams": [stream.name], "kafka": {"events": ["write"]}}
    before = state(stream).principals
    changes = apply(access_file(stream, "shop", rights, tmp_path), (contract,)).changes
    assert set(changes) == {AllowKafka(may_send), TakeUpPrincipals(before | {"shop"}, before)}
    changes = apply(stream.settings(), (contract,)).changes
    assert set(changes) == {ForbidKafka(may_send), TakeUpPrincipals(before, before | {"shop"})}
    assert "without shop" in {describe(c).detail for c in changes}
    assert not plan(stream.settings(), (contract,)).changes


def test_a_login_that_is_not_there_is_named_and_nothing_changes(stream: OwnStream, tmp_path: Path) -> None:
    apply_own(stream)
    rights: Document = {"about": "Looks.", "postgres": {"windows": ["select"]}}
    with pytest.raises(UserError, match="login streamgauge_auditor: is in the access file and not in Postgres"):
        apply(access_file(stream, "auditor", rights, tmp_path), (stream.contract,))
    assert not plan(stream.settings(), (stream.contract,)).changes


def test_a_registry_that_is_away_stops_it_before_anything_is_made(stream: OwnStream) -> None:
    settings = stream.settings().model_copy(update={"registry_url": f"http://127.0.0.1:9/{uuid.uuid4().hex}"})
    with pytest.raises(UserError, match="registry"):
        apply(settings, (stream.contract,))
    assert state(stream).topics == {}


Edit = Callable[[Document], None]


def _named(part: str, name: str) -> Edit:
    def edit(document: Document) -> None:
        block(document, "rollup")[part][0]["name"] = name

    return edit


def _more(part: str, **source: Any) -> Edit:
    return lambda document: block(document, "rollup")[part].append(source)


def _partitions(number: int) -> Edit:
    return lambda document: block(document, "topic").update(partitions=number)


def _type(field: str, kind: str) -> Edit:
    return lambda document: prop(document, field).update(physicalType=kind, logicalTypeOptions={}, customProperties=[])


def _level(level: str) -> Edit:
    return lambda document: block(document, "topic").update(compatibility=level)


EDITS: dict[str, Edit] = {
    "dimension status": _named("dimensions", "status"),
    "dimension hour": _named("dimensions", "hour"),
    "dimension commits_sum": _named("dimensions", "commits_sum"),
    "measure late": _named("measures", "late"),
    "renamed dimension": _named("dimensions", "kind_of_event"),
    "new dimension": _more("dimensions", name="version", source="schema_version"),
    "renamed measure": _named("measures", "pushed"),
    "new measure": _more("measures", name="versions", source="schema_version", quantiles=True),
    "new distinct count": _more("distinct", name="kinds", source="event_type"),
    "new top-N": _more("top", name="kinds", source="event_type", exactKeys=100),
    "more partitions": _partitions(8),
    "fewer partitions": _partitions(3),
    "changed type": _type("schema_version", "string"),
    "wider type": _type("schema_version", "long"),
    **{f"level {level}": _level(level) for level in ("BACKWARD", "FULL", "FULL_TRANSITIVE")},
    "field left out": lambda document: _without(document, "metadata"),
    "field with a default": lambda document: add_field(document, "colour", default="grey"),
    "field without a default": lambda document: add_field(document, "colour", default=None),
    "reference column": lambda document: block(document, "reference")["columns"].append("country"),
    "reference column of a fact": lambda document: block(document, "reference")["columns"].append("offset"),
}


@settings(max_examples=12, deadline=None, database=None)
@given(chosen=st.lists(st.sampled_from(sorted(EDITS)), min_size=1, max_size=2, unique=True))
@example(chosen=["dimension status"])
@example(chosen=["dimension hour"])
@example(chosen=["level FULL_TRANSITIVE", "field left out"])
@example(chosen=["level FULL", "field with a default"])
@example(chosen=["new measure", "reference column"])
@example(chosen=["more partitions", "field with a default"])
def test_what_plan_approves_apply_can_do(tmp_path_factory: pytest.TempPathFactory, chosen: list[str]) -> None:
    stream = OwnStream(tmp_path_factory.mktemp("contract"))
    apply_own(stream)
    document = stream.document()
    for name in chosen:
        EDITS[name](document)
    try:
        edited = stream.write(document)
        planned = plan(stream.settings(), (edited,))
        planned.check()
    except UserError:
        return
    assert apply(stream.settings(), (edited,)).changes == planned.changes
    assert plan(stream.settings(), (edited,)).changes == ()
