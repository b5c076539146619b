"""What commands and requests leave in the audit log, and whether its past can be changed unseen."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from sensors.audit import write_checkpoint
from serving import keys_cli
from streamgauge.apply.execute import apply
from streamgauge.audit.checkpoint import FOLDER, Checkpoints
from streamgauge.audit.entry import GENESIS, AuditEvent, digest_of
from streamgauge.audit.log import append, entries, person
from streamgauge.cli import audit, dead_letters
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.stack.control import Stack
from streamgauge.stores.files import Files
from streamgauge.stores.postgres import Connection, connect
from tests.integration.own_stream import OwnStream
from tests.integration.serving_client import in_process
from tests.integration.test_dead_letters_cli import store

pytestmark = pytest.mark.usefixtures("stack")


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnStream:
    own = OwnStream(tmp_path)
    apply(own.settings(), (own.contract,))
    monkeypatch.setenv("STREAMGAUGE_CONTRACTS_DIR", str(tmp_path))
    return own


@pytest.fixture
def log(stream: OwnStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """An empty log, with checkpoints in a folder of this test's own."""
    monkeypatch.setenv("STREAMGAUGE_LAKE_URL", str(tmp_path / "lake"))
    with connect(stream.settings("admin"), autocommit=True) as connection:
        connection.execute("delete from audit_log")
        yield connection


def run(*arguments: str, of: Any = audit.app) -> Result:
    return CliRunner().invoke(of, list(arguments))


def listed(*arguments: str) -> list[dict[str, Any]]:
    """The oldest first."""
    return json.loads(run("list", "--json", *arguments).stdout)[::-1]


def faults() -> list[str]:
    result = run("verify", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == bool(found["faults"])
    return found["faults"]


def sign() -> int | None:
    settings = Settings.for_role("batch")
    with connect(settings) as connection:
        written = write_checkpoint(connection, settings, datetime.now(UTC))
    return None if written is None else written.number


def record(count: int) -> None:
    with connect(Settings.for_role("api"), autocommit=True) as connection:
        for number in range(count):
            append(connection, AuditEvent("personal.read", f"s{number}", "a key", "127.0.0.1"))


def test_commands_and_requests_are_recorded(stream: OwnStream, log: Connection) -> None:
    assert not apply(stream.settings(), (stream.contract,)).changes
    assert listed() == [], "nothing was changed"
    stream.write({**stream.document(), "version": "1.0.1"})
    apply(stream.settings(), (stream.contract,))
    key = json.loads(run("create", "me", "--scope", f"read:{stream.name}", "--json", of=keys_cli.app).stdout)
    assert run("revoke", key["id"], of=keys_cli.app).exit_code == 0
    position = store(stream, 7)
    assert run("show", position, "--payload", of=dead_letters.app).exit_code == 0
    assert run("requeue", position, of=dead_letters.app).exit_code == 0
    scopes = ("--scope", "admin", "--scope", "personal", "--scope", f"read:{stream.name}")
    admin = json.loads(run("create", "root", *scopes, "--json", of=keys_cli.app).stdout)
    bearer = {"Authorization": f"Bearer {admin['key']}"}
    with in_process(stream.folder) as client:
        wanted = {"name": "new", "scopes": ["operations"]}
        created = client.post("/v1/api-keys", json=wanted, headers=bearer).json()
        assert client.delete(f"/v1/api-keys/{created['id']}", headers=bearer).status_code == 200
        assert client.get(f"/v1/streams/{stream.name}/top").status_code == 200
        assert client.get(f"/v1/streams/{stream.name}/top", headers=bearer).status_code == 200

    me, api = (person(), None), (admin["id"], "127.0.0.1")
    assert [(e["action"], e["subject"], (e["actor"], e.get("address"))) for e in listed()] == [
        ("contract.apply", stream.name, me),
        ("api-key.create", key["id"], me),
        ("api-key.revoke", key["id"], me),
        ("dead-letter.read", position, me),
        ("dead-letters.requeue", "chosen", me),
        ("api-key.create", admin["id"], me),
        ("api-key.create", created["id"], api),
        ("api-key.revoke", created["id"], api),
        ("personal.read", stream.name, api),
    ]
    (change,) = listed("--action", "contract.apply")
    assert (change["before"] != change["after"]) and change["after"]["stream"] == stream.name
    assert change["login"].endswith("admin")
    assert admin["key"] not in run("list", "--json").stdout, "a key's secret"
    assert faults() == []


def test_entries_at_once_are_one_chain(log: Connection) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, [25] * 8))
    assert [e.number for e in entries(log)] == list(range(1, 201))
    assert faults() == []


def test_what_is_rolled_back_leaves_no_gap(log: Connection) -> None:
    record(1)
    with connect(Settings.for_role("api")) as connection:
        append(connection, AuditEvent("personal.read", "never", "a key"))
        connection.rollback()
    record(1)
    assert [e.number for e in entries(log)] == [1, 2]


def test_no_caller_sets_number_login_or_time(log: Connection) -> None:
    with connect(Settings.for_role("api"), autocommit=True) as connection:
        forged = {"action": "personal.read", "subject": "s", "actor": "a", "number": 9, "login": "root", "at": "1970"}
        connection.execute("select audit_append(%s::jsonb)", (json.dumps(forged),))
    (entry,) = entries(log)
    assert (entry.fields["number"], entry.fields["login"]) == (1, "streamgauge_api")
    assert entry.fields["at"] > "2026"


@pytest.mark.parametrize("statement", ["insert into audit_log select * from audit_log", "delete from audit_log"])
def test_no_process_writes_the_table(log: Connection, statement: str) -> None:
    for role in ("api", "batch"):
        with connect(Settings.for_role(role)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


TAMPERING = {
    "a field": "update audit_log set body = replace(body, 's1', 's9') where number = 2",
    "a digest": "update audit_log set digest = sha256(digest) where number = 2",
    "one is gone": "delete from audit_log where number = 2",
    "the last is gone": "delete from audit_log where number = 3",
    "all are gone": "delete from audit_log",
    "two change places": "update audit_log set number = -2 where number = 2; update audit_log set number = 2"
    " where number = 3; update audit_log set number = 3 where number = -2",
}


@pytest.mark.parametrize("how", TAMPERING)
def test_who_rules_the_database_changes_nothing_unseen(log: Connection, how: str) -> None:
    record(3)
    assert sign() == 3
    assert faults() == []
    for statement in TAMPERING[how].split(";"):
        log.execute(statement.encode())
    assert faults()


def test_nor_by_writing_every_digest_anew(log: Connection) -> None:
    record(2)
    assert sign() == 2
    record(1)
    previous = GENESIS
    for entry in list(entries(log)):
        body = entry.body.replace('"s0"', '"s9"')
        previous = digest_of(previous, body)
        log.execute("update audit_log set body = %s, digest = %s where number = %s", (body, previous, entry.number))
    (fault,) = faults()
    assert "written anew" in fault
    with pytest.raises(UserError, match="does not follow"):
        sign()
    assert len(list(Checkpoints(Settings.for_role("batch")).texts())) == 1, "what was rewritten is not signed"


def test_nor_by_a_checkpoint_of_ones_own(log: Connection) -> None:
    record(1)
    assert sign() == 1
    files = Files(Settings.for_role("batch").lake)
    name = f"{FOLDER}/000000000001.json"
    forged = json.loads(files.read(name) or "")
    files.write(name, json.dumps({**forged, "digest": "00" * 32}), "application/json")
    assert faults() == ["checkpoint 000000000001.json is not signed by the key"]
    record(1)
    with pytest.raises(UserError, match="not signed by"):
        sign()


def test_a_checkpoint_is_written_where_something_is_new(log: Connection) -> None:
    assert sign() is None
    record(2)
    assert sign() == 2
    assert sign() is None
    record(1)
    assert sign() == 3
    assert json.loads(run("verify", "--json").stdout)["signed"] == 3


def test_an_export_is_verified_without_a_server(
    stack: Stack, log: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(3)
    sign()
    key = run("key").stdout.strip()
    folder = tmp_path / "export"
    assert run("export", str(folder)).exit_code == 0
    monkeypatch.setenv("STREAMGAUGE_DATA_DIR", str(tmp_path / "elsewhere"))
    assert run("verify", str(folder), "--key", key).exit_code == 0
    file = folder / "entries.ndjson"
    file.write_text(file.read_text().replace("s1", "s2"))
    result = run("verify", str(folder), "--key", key)
    assert result.exit_code == 1
    assert "entry 2 is not what was recorded" in " ".join(result.stdout.split())


def test_without_a_log_nothing_is_done(stream: OwnStream, log: Connection) -> None:
    """As after an update, before `apply`."""
    key = json.loads(run("create", "me", "--scope", "admin", "--json", of=keys_cli.app).stdout)
    log.execute("drop function audit_append(jsonb)")
    before = log.execute("select count(*) from api_keys").fetchone()
    try:
        result = run("create", "other", "--scope", "admin", of=keys_cli.app)
        assert isinstance(result.exception, UserError) and "streamgauge apply" in result.exception.hint
        with in_process(stream.folder) as client:
            wanted = {"name": "new", "scopes": ["operations"]}
            answer = client.post("/v1/api-keys", json=wanted, headers={"Authorization": f"Bearer {key['key']}"})
        assert (answer.status_code, answer.json()["type"]) == (503, "/v1/problems/server-away")
        assert "no audit log" in answer.json()["detail"]
    finally:
        apply(stream.settings(), (stream.contract,))
    assert log.execute("select count(*) from api_keys").fetchone() == before
