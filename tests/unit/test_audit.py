"""Whatever is changed in an audit log is found; what is as it was recorded is not."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.audit.chain import verify
from streamgauge.audit.checkpoint import public_key, public_text, sign
from streamgauge.audit.entry import ACTIONS, GENESIS, AuditEntry, digest_of
from streamgauge.audit.export import CHECKPOINTS, ENTRIES, read_export, write_export
from streamgauge.audit.log import person
from streamgauge.audit.ocsf import as_ocsf
from streamgauge.dagster.mutations import change_of
from streamgauge.errors import UserError
from streamgauge.settings import CHECKOUT
from tests.examples import examples

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PAGE = (CHECKOUT / "docs" / "audit.md").read_text()


@dataclass(frozen=True)
class Log:
    entries: tuple[AuditEntry, ...]
    checkpoints: tuple[tuple[str, str], ...]

    def faults(self) -> tuple[str, ...]:
        return verify(self.entries, self.checkpoints, KEY.public_key()).faults


def log(subjects: Sequence[str], signed_at: Sequence[int] = ()) -> Log:
    entries = chained(
        [
            json.dumps(
                {
                    "number": n,
                    "at": "2026-11-30T00:00:00.000000Z",
                    "login": "streamgauge_api",
                    "action": "personal.read",
                    "subject": subject,
                    "actor": "a key",
                }
            )
            for n, subject in enumerate(subjects, 1)
        ]
    )
    return Log(entries, tuple(checkpoint(entries, n) for n in signed_at))


def chained(bodies: Sequence[str]) -> tuple[AuditEntry, ...]:
    previous, entries = GENESIS, list[AuditEntry]()
    for number, body in enumerate(bodies, 1):
        previous = digest_of(previous, body)
        entries.append(AuditEntry(number, body, previous.hex()))
    return tuple(entries)


def checkpoint(entries: Sequence[AuditEntry], number: int, key: Ed25519PrivateKey = KEY) -> tuple[str, str]:
    signed = sign(key, number, entries[number - 1].digest, f"2026-11-30T00:{number:02}:00+00:00")
    return f"{number:012d}.json", signed.as_json()


@st.composite
def logs(draw: st.DrawFn) -> Log:
    subjects = draw(st.lists(st.text(max_size=5), min_size=2, max_size=12))
    return log(subjects, sorted(draw(st.sets(st.integers(1, len(subjects))))))


@given(logs())
def test_a_log_as_it_was_recorded_has_no_fault(written: Log) -> None:
    found = verify(written.entries, written.checkpoints, KEY.public_key())
    assert found.faults == ()
    assert found.entries == len(written.entries)
    assert found.signed == max((int(name[:12]) for name, _ in written.checkpoints), default=0)


@examples(200)
@given(logs(), st.data())
def test_one_flipped_byte_is_found(written: Log, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(written.entries) - 1))
    entry = written.entries[at]
    if data.draw(st.booleans()):
        raw = bytearray(entry.body.encode())
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1
        changed = replace(entry, body=raw.decode())
    else:
        raw = bytearray(bytes.fromhex(entry.digest))
        raw[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
        changed = replace(entry, digest=raw.hex())
    entries = (*written.entries[:at], changed, *written.entries[at + 1 :])
    assert replace(written, entries=entries).faults()


@examples(100)
@given(logs(), st.data())
def test_a_missing_and_a_moved_entry_are_found(written: Log, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(written.entries) - 2))
    before, after = written.entries[:at], written.entries[at + 1 :]
    assert replace(written, entries=(*before, *after)).faults()
    moved = (*before, after[0], written.entries[at], *after[1:])
    assert replace(written, entries=moved).faults()


def test_who_writes_all_digests_anew_is_found_by_a_checkpoint() -> None:
    written = log(["a", "b", "c", "d"], signed_at=[2])
    rewritten = chained([written.entries[0].body.replace('"a"', '"x"'), *(e.body for e in written.entries[1:])])
    (fault,) = replace(written, entries=rewritten).faults()
    assert fault.startswith("entries up to 2 were written anew after checkpoint 000000000002.json")
    assert not replace(written, entries=rewritten, checkpoints=()).faults(), "the chain alone can't know"


def test_entries_taken_off_the_end_are_found_by_a_checkpoint() -> None:
    written = log(["a", "b", "c"], signed_at=[3])
    (fault,) = replace(written, entries=written.entries[:2]).faults()
    assert fault.startswith("entry 3 is missing")
    assert replace(written, entries=()).faults()


def test_a_checkpoint_of_another_key_or_of_none_is_found() -> None:
    written = log(["a", "b"], signed_at=[1])
    forged = [checkpoint(written.entries, 2, OTHER), ("000000000002.json", "{}"), ("000000000002.json", "no json")]
    for one in forged:
        faults = replace(written, checkpoints=(*written.checkpoints, one)).faults()
        assert faults == ("checkpoint 000000000002.json is not signed by the key",)


def test_a_key_is_given_as_text() -> None:
    assert public_text(KEY) == "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"  # RFC 8032's form
    written = log(["a"], signed_at=[1])
    assert not verify(written.entries, written.checkpoints, public_key(public_text(KEY))).faults
    assert verify(written.entries, written.checkpoints, public_key(public_text(OTHER))).faults
    with pytest.raises(UserError, match="no public key"):
        public_key("abc")


def test_an_export_is_read_again_and_each_change_of_a_file_is_found(tmp_path: Path) -> None:
    written = log(["a", "b", "ü"], signed_at=[1, 3])
    folder = tmp_path / "export"
    assert write_export(folder, written.entries, written.checkpoints, public_text(KEY)) == 3
    with pytest.raises(UserError, match="not empty"):
        write_export(folder, (), (), "")

    def faults() -> tuple[str, ...]:
        found = read_export(folder)
        return verify(found.entries, found.checkpoints, public_key(found.key)).faults

    assert read_export(folder).entries == list(written.entries)
    assert faults() == ()
    file = folder / ENTRIES
    lines = file.read_text().splitlines()
    for changed in ([lines[1], lines[0], lines[2]], lines[:2], [lines[0], lines[1].replace("b", "c", 3), lines[2]]):
        file.write_text("\n".join(changed))
        assert faults()
    file.write_text("\n".join([*lines, "{}"]))
    assert read_export(folder).unreadable == [4]
    file.write_text("\n".join(lines))
    (folder / CHECKPOINTS / written.checkpoints[0][0]).write_text("{}")
    assert faults()
    with pytest.raises(UserError, match="no export"):
        read_export(tmp_path)


def test_a_person_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987654)
    assert person().startswith("uid-987654@")


def test_an_entry_is_an_ocsf_event() -> None:
    (entry,) = log(["user_events"]).entries
    event = as_ocsf(entry)
    assert event["class_uid"] * 100 + event["activity_id"] == event["type_uid"] == 600302
    assert event["time"] == 1_795_996_800_000
    assert (event["api"], event["actor"]) == ({"operation": "personal.read"}, {"user": {"name": "a key"}})
    assert event["resources"] == [{"name": "user_events"}]


def test_the_page_lists_every_action() -> None:
    rows = re.findall(r"^\| `([\w.-]+)` \| (.+) \|$", PAGE, re.M)
    assert dict(rows) == dict(ACTIONS)


STOP = "mutation StopSensor($id: String!) { stopSensor(id: $id) { __typename } }"


@pytest.mark.parametrize(
    ("path", "body", "what"),
    [
        ("/graphql", {"query": STOP, "variables": {"id": "x"}}, "stopSensor"),
        ("/graphql", {"query": f"query Q {{ a }} {STOP}", "operationName": "StopSensor"}, "stopSensor"),
        ("/graphql", {"query": f"query Q {{ a }} {STOP}", "operationName": "Q"}, None),
        ("/graphql", {"query": "mutation { a: launchRun { x } wipeAssets { y } }"}, "launchRun, wipeAssets"),
        ("/graphql", {"query": 'query { search(text: "mutation") }'}, None),
        ("/graphql", {"query": "mutation {"}, None),
        ("/graphql", {"query": None}, None),
        ("/graphql", [], None),
        ("/report_asset_materialization/x", {}, "/report_asset_materialization/x"),
    ],
)
def test_what_a_request_to_dagster_changes(path: str, body: Any, what: str | None) -> None:
    found = change_of(path, json.dumps(body).encode())
    assert (None if found is None else found.what) == what


def test_long_variables_are_left_out() -> None:
    for count, kept in ((3, True), (2000, False)):
        body = json.dumps({"query": STOP, "variables": {"id": ["x"] * count}}).encode()
        found = change_of("/graphql", body)
        assert found is not None
        assert (found.variables is not None) == kept
