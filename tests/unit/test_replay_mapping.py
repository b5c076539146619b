"""Data sets into events, and the real ones counted."""

import gzip
import json
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streamgauge.contract.load import load_contracts
from streamgauge.errors import UserError
from streamgauge.settings import CHECKOUT
from streaming.replay.dataset import BadLine, Dataset, read_dataset, shift, with_fresh_ids
from streaming.replay.mapping import find_mapping, load_mapping
from streaming.replay.replay import MAPPINGS, parse_end, pieces

CONTRACTS = load_contracts(CHECKOUT / "platform" / "contracts")
DATA = CHECKOUT / "examples" / "data"


def read(name: str) -> Dataset:
    mapping, contract = find_mapping(DATA / name, MAPPINGS, CONTRACTS)
    data = read_dataset(DATA / name, mapping, contract)
    assert data.bad_lines == []
    assert data.events["timestamp"].is_sorted()
    assert data.events["event_id"].is_unique().all()
    return data


def entry(column: str, key: str) -> pl.Expr:
    return (
        pl.col(column)
        .list.eval(pl.element().struct.field("value").filter(pl.element().struct.field("key") == key))
        .list.first()
    )


def test_github_events() -> None:
    events = read("github_events.jsonl.gz").events
    assert Counter(events["event_type"]) == {
        "PushEvent": 5843, "CreateEvent": 1368, "WatchEvent": 920, "IssueCommentEvent": 446, "ForkEvent": 349,
        "PullRequestEvent": 335, "IssuesEvent": 285, "DeleteEvent": 254, "PullRequestReviewCommentEvent": 77,
        "GollumEvent": 54, "MemberEvent": 30, "ReleaseEvent": 20, "CommitCommentEvent": 11, "PublicEvent": 8,
    }  # fmt: skip
    users = Counter(events["user_id"])
    assert len(users) == 4517
    assert users.most_common(2) == [("LombiqBot", 567), ("gentoo-repo-qa-bot", 396)]
    assert events["timestamp"].dt.truncate("1m").n_unique() == 22
    first = events.select(entry("properties", "repo"), entry("properties", "size").alias("size")).row(0)
    assert first == ("LimeVista/Tapes", "1")
    assert events.select(entry("properties", "size").is_not_null().sum()).item() == 5843


def test_openstack_logs() -> None:
    events = read("openstack_logs.jsonl.gz").events
    assert Counter(events["level"]) == {"INFO": 1969, "WARNING": 31}
    assert Counter(events["service"]) == {"nova-api": 1060, "nova-compute": 933, "nova-scheduler": 7}
    assert events["timestamp"].min() == datetime(2017, 5, 16, 0, 0, 0, 8000, UTC)
    assert events["timestamp"].max() == datetime(2017, 5, 16, 0, 14, 47, 687000, UTC)
    assert events.filter(pl.col("event_id") == "openstack-1")["http_status"].item() == 200


def test_cloudwatch_metrics() -> None:
    events = read("cloudwatch_metrics.jsonl.gz").events
    assert (events.height, events["metric"].n_unique()) == (67_740, 17)
    assert events.select("metric", "timestamp").n_unique() == 67_740 - 22
    assert set(events["unit"]) == {"1"}


def test_actors_are_known_for_every_user() -> None:
    actors = pl.read_csv(DATA / "github_actors.csv")
    assert actors.columns == ["user_id", "kind", "organisation"]
    assert set(actors["user_id"]) == set(read("github_events.jsonl.gz").events["user_id"])
    assert Counter(actors["kind"]) == {"human": 4479, "bot": 38}


def write(path: Path, lines: list[Any]) -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_bad_lines_are_reported_by_number_and_reason(tmp_path: Path) -> None:
    good: dict[str, Any] = {"id": 1, "type": "PushEvent", "actor_login": "ann", "created_at": "2018-01-01T11:00:00Z"}
    file = write(
        tmp_path / "github_events.jsonl",
        [
            {**good, "created_at": "2018-01-01T11:00:05Z"},
            "{oops",
            "[]",
            "",
            {**good, "created_at": "yesterday"},
            {**good, "type": "push"},
            {**good, "actor_login": None},
            {**good, "repo_name": ["a"]},
            {**good, "id": 2, "size": 3},
        ],
    )
    mapping, contract = find_mapping(file, MAPPINGS, CONTRACTS)
    data = read_dataset(file, mapping, contract)
    assert data.bad_lines == [
        BadLine(2, "not JSON"),
        BadLine(3, "the line is no JSON object"),
        BadLine(5, "created_at is no time (iso)"),
        BadLine(6, "event_type: doesn't match ^[A-Z][A-Za-z0-9]*$"),
        BadLine(7, "user_id: missing"),
        BadLine(8, "a list or an object can't be text"),
    ]
    assert data.events["event_id"].to_list() == ["2", "1"]
    assert data.events["properties"].to_list() == [[{"key": "size", "value": "3"}], []]


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    whole = (DATA / "openstack_logs.jsonl.gz").read_bytes()
    file = tmp_path / "openstack_logs.jsonl.gz"
    file.write_bytes(whole[:-100])
    mapping, contract = find_mapping(file, MAPPINGS, CONTRACTS)
    with pytest.raises(UserError, match="can't be read"):
        read_dataset(file, mapping, contract)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{stream: nothing, files: x, fields: {}}", "no stream 'nothing'"),
        ("{stream: metric_events, files: x, fields: {colour: {const: red}}}", "has no colour"),
        ("{stream: metric_events, files: x, fields: {metric: {const: a}}}", "must be given"),
        ("{stream: metric_events, files: x, fields: {metric: {const: a, from: b}}}", "exactly one"),
        ("{stream: metric_events, files: x, fields: {metric: {entries: {a: {const: b}}}}}", "must be given"),
        ("{stream: [", "flow"),
    ],
)
def test_a_wrong_mapping_says_what_is_wrong(tmp_path: Path, text: str, wrong: str) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=wrong):
        load_mapping(file, CONTRACTS)


def test_no_mapping_for_a_file() -> None:
    with pytest.raises(UserError, match=r"is for other\.jsonl"):
        find_mapping(Path("other.jsonl"), MAPPINGS, CONTRACTS)


def test_shifted_so_that_the_last_event_is_at_the_end() -> None:
    events = read("openstack_logs.jsonl.gz").events
    moved = shift(events, "timestamp", 1_700_000_000_123)
    assert moved["timestamp"].to_physical()[-1] == 1_700_000_000_123
    assert (moved["timestamp"].diff() == events["timestamp"].diff()).sum() == events.height - 1
    assert shift(events, "timestamp", None).equals(events)


def test_fresh_ids_make_new_events() -> None:
    events = read("openstack_logs.jsonl.gz").events
    one, other = (with_fresh_ids(events, "event_id") for _ in range(2))
    ids = set(events["event_id"]) | set(one["event_id"]) | set(other["event_id"])
    assert len(ids) == 3 * events.height
    assert one.drop("event_id").equals(events.drop("event_id"))


def test_ends() -> None:
    assert parse_end("original") is None
    assert parse_end("2026-01-31T12:00:00") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert parse_end("2026-01-31T12:00:00+01:00") == datetime(2026, 1, 31, 11, tzinfo=UTC)
    with pytest.raises(UserError):
        parse_end("soon")


def test_paced_by_event_time() -> None:
    events = read("openstack_logs.jsonl.gz").events
    now = 0.0

    def rest(seconds: float) -> None:
        nonlocal now
        now += seconds

    times: Any = events["timestamp"].to_physical()
    sent = 0
    for piece in pieces(events, "timestamp", 60.0, rest=rest, stop=threading.Event(), clock=lambda: now):
        assert piece["timestamp"].to_physical()[-1] <= times[0] + now * 60_000
        sent += piece.height
    assert sent == 2000
    assert now == pytest.approx((times[-1] - times[0]) / 60_000, abs=0.5)


def test_stopped_while_waiting() -> None:
    events = read("openstack_logs.jsonl.gz").events
    stop = threading.Event()
    sent = list(pieces(events, "timestamp", 0.001, rest=lambda _: stop.set(), stop=stop, clock=lambda: 0.0))
    assert sum(p.height for p in sent) == 1
