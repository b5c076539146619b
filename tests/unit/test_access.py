"""The access file, and what follows from it, without servers."""

from pathlib import Path
from typing import get_args

import pytest

from streamgauge.access.load import load_access
from streamgauge.access.page import page
from streamgauge.errors import UserError
from streamgauge.settings import ACCESS_FILE, CHECKOUT
from streamgauge.stores.ddl import RelationGroup

TEXT = ACCESS_FILE.read_text()
WORKER = "      events: [read]\n      worker-group: [read]"
PRODUCER = "    kafka:\n      events: [write]\n\n  worker:"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            WORKER,
            WORKER.replace("[read]", "[reed]", 1),
            "principals.worker.kafka.events[0]: input should be 'read'",
        ),
        (WORKER, WORKER.replace("events", "evens", 1), "principals.worker.kafka.evens: input should be 'events'"),
        ("    about: Sends events,", "    abuot: Sends events,", "principals.producer.abuot: there is no such key"),
        ("    owner: true", "    owner: true\n    member_of: [pg_monitor]", "the owner may do everything already"),
        ("    database: registry", "    owner: true", "admin is the owner, and nobody else"),
        ("principals:\n  admin", "principals:\n  admins", "lacks admin, as which processes log in"),
        ("  reader:\n", "  worker:\n", "principals.worker: stands twice"),
        (
            "    database: registry",
            "    streams: [user_events]",
            "limits the topics of a login",
        ),
        ("    redis: {commands: figures}", "    redis: {commands: read}", "to read or write needs keys"),
        ("        - POST /v1/streams/{stream}/events", "        - POST /v1/events", "names no {stream}, for which"),
        ("      scopes: [admin]", "      scopes: [admin, root]", "there is no scope root; the scopes are read"),
        ('scopes: ["write:*"]', "scopes: [write]", "write is for a stream; write write:STREAM"),
        (
            "        - GET /v1/alerts\n",
            "        - GET /v1/alerts\n        - GET /metrics\n",
            "GET /metrics stands twice",
        ),
        (PRODUCER, f"    streams: [orders]\n{PRODUCER}", "there is no stream orders; the streams are user_events"),
    ],
)
def test_a_mistake_is_reported_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert TEXT.count(old) == 1
    file = tmp_path / "access.yaml"
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(UserError) as caught:
        load_access(file, ["user_events"])
    assert str(file) in caught.value.hint
    (reported,) = [m for m in caught.value.what.splitlines() if message in m]
    changed = TEXT[: TEXT.index(old)].count("\n") + 1
    line = int(reported.split(":")[1].split(" ")[0])
    assert changed <= line <= changed + new.count("\n"), reported


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "access.yaml"
    for text, message in (("- a", "is no access file"), ("a: [", "is not YAML"), ("", "is no access file")):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            load_access(file)
    file.unlink()
    with pytest.raises(UserError, match=r"access file access\.yaml can't be read"):
        load_access(file)


def test_somebody_has_rights_to_each_group_of_relations() -> None:
    access = load_access(ACCESS_FILE)
    assert {g for p in access.principals.values() for g in p.postgres} == set(get_args(RelationGroup))


def test_the_page_is_current() -> None:
    assert (CHECKOUT / "docs" / "access.md").read_text() == page(load_access(ACCESS_FILE)), (
        "run the command in its head"
    )
