"""Every principal tries everything on the real servers, and may do what the access file says: no less, and no more."""

import logging
from contextlib import closing

import psycopg
import pytest
from confluent_kafka import Producer
from redis import Redis

from streamgauge.access.api import Rule, known_scopes, rules
from streamgauge.access.kafka import resources
from streamgauge.access.load import load_access
from streamgauge.access.logins import logins
from streamgauge.access.model import Principal
from streamgauge.access.postgres import POSSIBLE, login_of
from streamgauge.access.redis import COMMANDS, KEYS
from streamgauge.apply.execute import apply
from streamgauge.contract.load import load_contracts
from streamgauge.settings import ACCESS_FILE
from streamgauge.stack.control import Stack
from streamgauge.stack.credentials import DATABASE, Credentials, credentials
from streamgauge.stack.layout import LOOPBACK
from streamgauge.state.api_keys import create
from streamgauge.stores.kafka import client_config
from streamgauge.stores.postgres import connect
from streamgauge.stores.tables import database
from tests.integration.attempts import Attempts, in_kafka, in_postgres, in_redis
from tests.integration.own_stream import OwnStream, block
from tests.integration.serving_client import in_process

ACCESS = load_access(ACCESS_FILE)
NAMES = list(ACCESS.principals)


@pytest.fixture(scope="module")
def own(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> OwnStream:
    """A stream with a record in each of its topics, and another one beside it."""
    folder = tmp_path_factory.mktemp("contracts")
    built, other = OwnStream(folder), OwnStream(folder)
    document = other.document()
    block(document, "reference")["name"] = built.name
    other.write(document)
    apply(built.settings(), (built.contract, other.contract))
    producer = Producer(client_config(built.settings()))
    for kind, topic in resources(built.contract).values():
        if kind == "topic":
            producer.produce(topic, b"value", b"key", partition=0)
    assert producer.flush(20) == 0
    return built


@pytest.fixture(scope="module")
def known(stack: Stack) -> Credentials:
    return credentials(stack.layout)


def differences(tried: Attempts, wanted: Attempts) -> dict[tuple[str, str], str]:
    """What was let through or refused against the file."""
    assert tried.keys() == wanted.keys()
    return {a: "let through" if let else "refused" for a, let in tried.items() if let != wanted[a]}


@pytest.mark.parametrize("name", logins(ACCESS, "kafka"))
def test_kafka(own: OwnStream, known: Credentials, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "streamgauge.stores.kafka")
    principal = ACCESS.principals[name]
    login = {"kafka_username": name, "kafka_password": known.of("kafka", name)}
    settings = type(own.settings()).model_validate({**own.settings().model_dump(), **login})
    topics = {called: place for called, (kind, place) in resources(own.contract).items() if kind == "topic"}
    tried = in_kafka(client_config(settings), {**topics}, own.contract.group, owner=principal.owner)
    assert not differences(tried, {a: principal.owner or _in_kafka(principal, *a) for a in tried})


def _in_kafka(principal: Principal, resource: str, operation: str) -> bool:
    given = {str(group): operations for group, operations in principal.kafka.items()}
    if operation == "describe":
        return bool(given.get(resource))
    if (resource, operation) == ("worker-group", "read"):
        # a position is moved by who may read both, the group and the topic
        return operation in given.get(resource, ()) and operation in given.get("events", ())
    return operation in given.get(resource, ())


@pytest.mark.parametrize("name", logins(ACCESS, "postgres"))
def test_postgres(own: OwnStream, stack: Stack, known: Credentials, name: str) -> None:
    principal, wanted = ACCESS.principals[name], database([own.contract])
    address = f"{LOOPBACK}:{stack.layout.port('postgres')}"
    login = f"{login_of(name, principal)}:{known.of('postgres', name)}"
    others = {str(p.database) for p in ACCESS.principals.values() if p.database} - {str(principal.database)}
    for closed in others | ({DATABASE} if principal.database else set[str]()):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(f"postgresql://{login}@{address}/{closed}")
    if principal.database is not None:
        with psycopg.connect(f"postgresql://{login}@{address}/{principal.database}") as connection:
            connection.execute("CREATE TABLE public.mine (a int)")
            connection.rollback()
        return
    with psycopg.connect(f"postgresql://{login}@{address}/{DATABASE}", options="-c lock_timeout=10s") as connection:
        tried = in_postgres(connection, wanted, owner=principal.owner)
    groups = {r.name: r.group for r in wanted.relations}
    may = {
        (r.name, operation)
        for r in wanted.relations
        for operation in principal.postgres.get(r.group, ())
        if operation in POSSIBLE[type(r)]
    }
    if principal.owner:
        may = {a for a in tried if a[0] in groups} | _OF_THE_OWNER
    assert not differences(tried, {a: a in may for a in tried})


_OF_THE_OWNER = {
    ("database", operation)
    for operation in (
        "create a table",
        "create a table elsewhere",
        "create a schema",
        "create a temporary table",
        "become the owner",
    )
}


@pytest.mark.parametrize("name", logins(ACCESS, "redis"))
def test_redis(own: OwnStream, stack: Stack, known: Credentials, name: str) -> None:
    principal = ACCESS.principals[name]
    port = stack.layout.port("redis")
    script = "return 1"
    with closing(Redis(LOOPBACK, port, username="admin", password=known.of("redis", "admin"))) as admin:
        sha = str(admin.script_load(script))  # pyright: ignore
    top = own.contract.rollup.top[0]
    keys = {
        "minutes": own.contract.redis_minutes_key,
        "tops": own.contract.redis_top_key(top.name, "1h"),
        "others": "streamgauge:other",
    }
    with closing(Redis(LOOPBACK, port, username=name, password=known.of("redis", name))) as client:
        tried = in_redis(client, keys, sha, owner=principal.owner)
    assert not differences(tried, {a: principal.owner or _in_redis(principal, *a) for a in tried})


def _in_redis(principal: Principal, resource: str, attempt: str) -> bool:
    assert principal.redis is not None
    words = attempt.split()
    commands = COMMANDS[principal.redis.commands]
    if resource == "server":
        return words[0] in commands or "|".join(words[:2]) in commands
    return words[0] in commands and resource in [str(k) for k in principal.redis.keys]


def test_api(own: OwnStream) -> None:
    api, streams = ACCESS.api, [c.stream for c in load_contracts(own.folder)]
    given = rules(api)
    with connect(own.settings()) as connection:
        keys = {scope: create(connection, "test", (scope,))[0] for scope in known_scopes(api, streams)}
    unknown = f"sg_{'0' * 12}_{'x' * 43}"
    tried: Attempts = {}
    with in_process(own.folder, settings={"api_anonymous": "off"}) as client:
        for route in given:
            method, path = _asked(route, own.name).split(" ")
            for scope, key in {**keys, "unknown": unknown, "none": None}.items():
                headers = {} if key is None else {"Authorization": f"Bearer {key}"}
                content = "{}" if method == "POST" else None
                sent = {**headers, "Content-Type": "application/json"}
                status = client.request(method, path, headers=sent, content=content).status_code
                assert status != 500, route
                assert scope in keys or status in (401, *([] if given[route].key else [200, 404, 503])), (route, scope)
                tried[route, scope] = status not in (401, 403)
    assert not differences(tried, {(r, s): _opens(given[r], s, own.name, s in keys) for r, s in tried})


def _asked(route: str, stream: str) -> str:
    """A request that ends after the caller was looked at: with wrong parameters, where a right one would take long."""
    places = {"stream": stream, "day": "2026-01-01", "hour": "2026-01-01T00:00Z", "name": "key-required"}
    path = route.format(**places, event_id="nothing", key_id="0" * 12, view_id="0" * 12)
    wrong = {f"/{stream}/live": "?window=x", "/lineage/nothing": "?from=x"}
    return path + next((query for end, query in wrong.items() if path.endswith(end)), "")


def _opens(rule: Rule, scope: str, stream: str, known: bool) -> bool:
    if not rule.key:
        return True
    if not known or rule.scope is None:
        return known
    return scope in ((f"{rule.scope}:*", f"{rule.scope}:{stream}") if rule.of_stream else (rule.scope,))


def test_no_server_lets_in_who_has_no_login_there(stack: Stack, known: Credentials) -> None:
    """The tests above are of all who have one."""
    for server in ("kafka", "postgres", "redis"):
        without = set(NAMES) - set(logins(ACCESS, server))
        assert without, server
        assert not [name for name in without if f"{server}.{name}" in known.passwords]
    assert set(KEYS) == {"minutes", "tops"}, "the keys that are tried"
