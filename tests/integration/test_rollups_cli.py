"""Stored minutes read back: by the SQL views, `rollups`, `top`, `streams` and after `reference load`."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import typer
from psycopg import sql
from typer.testing import CliRunner, Result

from streamgauge.apply.execute import apply
from streamgauge.cli.reference import app as reference_app
from streamgauge.cli.rollups import rollups
from streamgauge.cli.streams import streams
from streamgauge.cli.top import top
from streamgauge.dagster.hours import HOUR
from streamgauge.errors import UserError
from streamgauge.rollup import sketches
from streamgauge.rollup.pseudonyms import pseudonyms_of
from streamgauge.rollup.windows import MINUTE, Window, read_windows
from streamgauge.state.pseudonyms import keep_values
from streamgauge.stores.kafka import producer
from streamgauge.stores.postgres import connect
from streamgauge.stores.redis import redis_client
from tests.integration.own_stream import OwnStream, block
from tests.integration.serving_client import in_process

pytestmark = pytest.mark.usefixtures("stack")

START = datetime(2026, 1, 1, 10, 57, tzinfo=UTC)


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnStream:
    built = OwnStream(tmp_path)
    document = built.document()
    block(document, "rollup")["measures"][0]["last"] = True
    built.write(document)
    apply(built.settings(), (built.contract,))
    monkeypatch.setenv("STREAMGAUGE_CONTRACTS_DIR", str(tmp_path))
    return built


def run(command: Any, *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(arguments))


def text(command: Any, *arguments: str) -> str:
    result = run(command, *arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def store(
    stream: OwnStream, minute: int, partition: int, event_type: str, users: list[str], commits: list[float]
) -> None:
    """A row of minutes and its top-N, as the worker writes them."""
    hll, kll, frequent = sketches.new_hll(), sketches.new_kll(), sketches.new_frequent(3000)
    pseudonyms = pseudonyms_of(stream.settings("worker"), stream.contract)
    for user in users:
        hll.update(user)
        frequent.update(pseudonyms.of(user))
    for value in commits:
        kll.update(value)
    at = START + minute * MINUTE
    with connect(stream.settings("worker")) as connection:
        connection.execute(
            sql.SQL(
                "INSERT INTO {} (minute, event_type, actor_kind, partition, count, users_hll, commits_n, commits_sum,"
                " commits_min, commits_max, commits_last, commits_last_ms, commits_kll, upto)"
                " VALUES (%s, %s, 'bot', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 9)"
            ).format(sql.Identifier(stream.contract.minutes_table)),
            (
                at,
                event_type,
                partition,
                len(users),
                sketches.dump_hll(hll),
                len(commits),
                sum(commits),
                min(commits),
                max(commits),
                commits[-1],
                int(at.timestamp()) * 1000 + partition,
                sketches.dump_kll(kll),
            ),
        )
        connection.execute(
            sql.SQL("INSERT INTO {} (minute, partition, top, sketch, upto) VALUES (%s, %s, 'users', %s, 9)").format(
                sql.Identifier(stream.contract.top_table)
            ),
            (at, partition, sketches.dump_frequent(frequent)),
        )


def fill(stream: OwnStream) -> None:
    store(stream, 0, 0, "A", ["ann", "bob"], [1, 5])
    store(stream, 0, 1, "B", ["ann"], [2])
    store(stream, 3, 0, "A", ["cid", "ann"], [9])
    with connect(stream.settings("worker")) as connection:
        watermark = int((START + timedelta(minutes=5, seconds=1)).timestamp() * 1000)
        connection.execute(
            "INSERT INTO stream_offsets (topic, partition, start_offset, next_offset, epoch, counted, watermark_ms)"
            " VALUES (%s, 0, 0, 5, 1, 5, %s)",
            (stream.contract.topic, watermark),
        )


@pytest.mark.parametrize("window", ["1m", "5m", "1h", "5m_hop_1m"])
def test_the_views_say_the_same_as_the_merge(stream: OwnStream, window: str) -> None:
    fill(stream)
    size, _, hop = window.partition("_hop_")
    with connect(stream.settings("reader")) as connection:
        merged = read_windows(
            connection,
            stream.contract,
            Window.parse(size, hop or None),
            START - timedelta(hours=2),
            START + timedelta(hours=2),
            ("event_type", "actor_kind"),
        )
        columns = ["window_start", "event_type", "actor_kind", "count", "late", "duplicates"]
        columns += [f"commits_{p}" for p in ("n", "sum", "min", "max")] + ["status"]
        viewed = connection.execute(
            sql.SQL("SELECT {} FROM {} ORDER BY window_start, event_type").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(f"{stream.name}_{window}")
            )
        ).fetchall()
    assert viewed == merged.select(columns).rows()
    assert len(viewed) == {"1m": 3, "5m": 3, "1h": 3, "5m_hop_1m": 13}[window]


def test_rollups_shows_distinct_quantiles_and_what_is_still_open(stream: OwnStream) -> None:
    fill(stream)
    answer = json.loads(
        text(rollups, stream.name, "--window", "5m", "--json", "--from", START.isoformat()[:14] + "00Z")
    )
    first, second = answer["rows"]
    assert first["window_start"] == "2026-01-01T10:55:00+00:00"
    assert (first["count"], first["users_distinct"], first["commits_sum"]) == (3, 2, 8.0)
    assert (first["commits_p50"], first["commits_p99"]) == (2.0, 5.0)
    assert (first["status"], first["complete"]) == ("provisional", True)
    assert (second["window_start"], second["complete"]) == ("2026-01-01T11:00:00+00:00", False)
    assert answer["watermark"] == "2026-01-01T11:02:01+00:00"


def test_rollups_by_dimension_and_hopping_as_a_table(stream: OwnStream) -> None:
    fill(stream)
    shown = text(rollups, stream.name, "--window", "5m", "--hop", "1m", "--group-by", "event_type")
    rows = [line for line in shown.splitlines() if "2026-01-01 10:57" in line]
    assert len(rows) == 2
    assert "provisional" in rows[0]
    store(stream, 4, 0, "[bold]", ["ann"], [1])
    assert "[bold]" in text(rollups, stream.name, "--group-by", "event_type"), "a value from an event is no markup"
    only = text(rollups, stream.name, "--from", "2026-01-01T11:00", "--to", "2026-01-01T11:01")
    assert "2026-01-01 11:00" in only
    assert "2026-01-01 10:57" not in only


def test_rollups_of_what_is_not_there(stream: OwnStream) -> None:
    assert "no rollups in that time" in text(rollups, stream.name)
    for arguments, what in (
        (["nothing"], "no stream"),
        ([stream.name, "--window", "2m"], "no window"),
        ([stream.name, "--group-by", "user_id"], "no dimension"),
        ([stream.name, "--from", "yesterday"], "no time"),
        ([stream.name, "--from", "2026-01-02", "--to", "2026-01-01"], "no window"),
    ):
        error = run(rollups, *arguments).exception
        assert isinstance(error, UserError)
        assert what in error.what


def test_a_hundred_readers_get_one_answer_and_its_error(stream: OwnStream, tmp_path: Path) -> None:
    """More values than a sketch holds, so that its quantiles are estimates."""
    drawn = Random(1)
    for minute in range(3, 33):
        for partition in range(2):
            store(stream, minute, partition, "A", ["ann"], [drawn.random() for _ in range(400)])
    span = {"from": "2026-01-01T11:00:00Z", "to": "2026-01-01T12:00:00Z"}
    command = [stream.name, "--window", "1h", "--json", "--from", span["from"], "--to", span["to"]]
    wanted = {"window": "1h", "measures": "commits_p50,commits_p95,commits_p99,users_distinct", **span}
    with in_process(tmp_path) as client:
        answers = [client.get(f"/v1/streams/{stream.name}/rollups", params=wanted).json() for _ in range(100)]
    read = [json.loads(text(rollups, *command)) for _ in range(100)]
    names = ("commits_p50", "commits_p95", "commits_p99", "users_distinct")
    found = {tuple(answer["rows"][0][n] for n in names) for answer in (*answers, *read)}
    assert len(found) == 1
    assert found.pop()[:3] == pytest.approx((0.5, 0.95, 0.99), abs=0.03)
    for answer in (answers[0], read[0]):
        assert {n: e["of"] for n, e in answer["errors"].items()} == dict.fromkeys(names[:3], "rank") | {
            names[3]: "value"
        }
        assert answer["errors"]["commits_p95"] == {"of": "rank", "error": 0.013295, "confidence": 0.99}
    assert "1.3 % of rank" in text(rollups, *[a for a in command if a != "--json"])


def top_json(stream: OwnStream, *arguments: str) -> list[Any]:
    return json.loads(text(top, stream.name, "--once", "--json", "--personal", *arguments))


def test_top_is_merged_from_postgres_while_redis_is_cold(stream: OwnStream) -> None:
    assert top_json(stream) == []
    fill(stream)
    pseudonyms = pseudonyms_of(stream.settings("batch"), stream.contract)
    ann, bob, cid = map(pseudonyms.of, ("ann", "bob", "cid"))
    users, organisations = top_json(stream)
    assert [(i["key"], i["count"]) for i in users["items"]] == [(ann, 3), *((key, 1) for key in sorted((bob, cid)))]
    with connect(stream.settings("batch")) as connection:
        keep_values(connection, stream.name, pseudonyms, ["ann", "bob"])
    users, organisations = top_json(stream)
    assert {i["key"]: i["count"] for i in users["items"]} == {"ann": 3, "bob": 1, cid: 1}
    assert (users["source"], users["exact"], users["status"]) == ("postgres", True, "provisional")
    assert (users["start"], users["end"]) == ("2026-01-01T10:01:00+00:00", "2026-01-01T11:01:00+00:00")
    assert organisations["items"] == []
    (narrow, _) = top_json(stream, "--window", "1m", "--limit", "1")
    assert [(i["key"], i["count"]) for i in narrow["items"]] == [("ann" if ann < cid else cid, 1)]
    shown = text(top, stream.name, "--once")
    assert "from postgres" in shown and ann in shown
    assert "ann" not in shown and "ann" not in text(top, stream.name, "--once", "--json")


def test_top_comes_from_redis_where_it_has_all_of_it(stream: OwnStream) -> None:
    fill(stream)
    redis = redis_client(stream.settings("admin"))
    held = {
        "version": 1,
        "as_of": "2026-01-01T11:00:30Z",
        "watermark": None,
        "window": "1h",
        "from": "2026-01-01T10:01:00Z",
        "to": "2026-01-01T11:01:00Z",
        "items": [{"key": "dan", "count": 7, "lower": 5, "upper": 7}],
        "exact": False,
        "error": 2,
        "status": "provisional",
    }
    keys = [stream.contract.redis_top_key(t.name, "1h") for t in stream.contract.rollup.top]
    try:
        redis.set(keys[0], json.dumps(held))
        assert {a["source"] for a in top_json(stream)} == {"postgres"}, "half of it is not enough"
        redis.set(keys[1], json.dumps(held))
        answers = top_json(stream)
        assert {a["source"] for a in answers} == {"redis"}
        assert answers[0]["items"] == held["items"]
        assert (answers[0]["exact"], answers[0]["error"]) == (False, 2)
        assert "at most 2 too high" in text(top, stream.name, "--once")
    finally:
        redis.delete(*keys)


def test_top_does_without_redis(stream: OwnStream, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(stream)
    monkeypatch.setenv("STREAMGAUGE_REDIS_URL", "redis://127.0.0.1:9/0")
    users, _ = top_json(stream)
    assert users["source"] == "postgres"
    assert len(users["items"]) == 3


def test_streams_shows_the_books(stream: OwnStream) -> None:
    sender = producer(stream.settings("producer"))
    for _ in range(7):
        sender.produce(stream.contract.topic, b"v", partition=0)
    assert sender.flush(20) == 0
    fill(stream)
    (books,) = json.loads(text(streams, "--json"))
    assert (books["acknowledged"], books["counted"], books["lag"], books["adds_up"]) == (7, 5, 2, True)
    assert books["watermark"] == "2026-01-01T11:02:01+00:00"
    assert books["freshness_seconds"] > 0
    with connect(stream.settings("worker")) as connection:
        connection.execute("UPDATE stream_offsets SET counted = 4 WHERE topic = %s", (stream.contract.topic,))
    wrong = run(streams)
    assert wrong.exit_code == 1
    assert "not those accounted for" in wrong.output


def test_a_reference_table_is_loaded_and_only_changes_are_written(stream: OwnStream, tmp_path: Path) -> None:
    file = tmp_path / "actors.csv"
    table = sql.Identifier(f"reference_{stream.name}")

    def load(*lines: str) -> str:
        file.write_text("\n".join(["organisation,user_id,ignored,kind", *lines]) + "\n")
        result = CliRunner().invoke(reference_app, ["load", stream.name, str(file)])
        if result.exception is not None:
            raise result.exception
        return result.output

    def rows() -> list[Any]:
        with connect(stream.settings("admin")) as connection:
            return connection.execute(
                sql.SQL("SELECT user_id, kind, organisation, updated_at FROM {} ORDER BY 1").format(table)
            ).fetchall()

    assert "2 new, 0 changed, of 2" in load("acme,ann,x,human", '"a ""b"", c",bob,x,bot')
    first = rows()
    assert [r[:3] for r in first] == [("ann", "human", "acme"), ("bob", "bot", 'a "b", c')]
    assert "0 new, 0 changed, of 2" in load("acme,ann,x,human", '"a ""b"", c",bob,x,bot')
    assert rows() == first
    assert "1 new, 1 changed, of 2" in load("acme,ann,x,bot", "acme,cid,x,human")
    second = rows()
    assert [r[0] for r in second] == ["ann", "bob", "cid"], "what isn't in the file stays"
    assert second[0][3] > first[0][3]
    assert second[1] == first[1]
    assert "1 new" in load(f"{'é' * 200},eve,x,bot")
    second = rows()
    refusals = {
        ("a,dan,x,bot", "b,dan,x,bot"): "stands twice",
        ("a,dan,x,bot", "b,,x,bot"): "line 3",
        ("a,dan,x,bot", f"{'é' * 201},fay,x,bot"): "line 3: a value is longer than 200 characters",
    }
    for lines, what in refusals.items():
        with pytest.raises(UserError, match=what):
            load(*lines)
    assert rows() == second
    file.write_text("user_id,kind\nann,bot\n")
    with pytest.raises(UserError, match="no column organisation"):
        raise CliRunner().invoke(reference_app, ["load", stream.name, str(file)]).exception or AssertionError


def make_final(stream: OwnStream, hour: datetime, *, checked: bool) -> None:
    """With one event more in the batch layer than the worker counted, as if it had been late."""
    names = ["event_type", "actor_kind", "count", "duplicates", "users_hll"]
    names += [f"commits_{p}" for p in ("n", "sum", "min", "max", "last", "last_ms", "kll")]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    minutes = sql.Identifier(f"{stream.name}_batch_minutes")
    with connect(stream.settings("admin")) as connection:
        begins = {"batch_minutes": sql.SQL("minute"), "batch_hours": sql.SQL("date_trunc('hour', minute, 'UTC')")}
        for table, start in begins.items():
            connection.execute(
                sql.SQL("INSERT INTO {} (window_start, {}) SELECT {}, {} FROM {} WHERE minute < %s").format(
                    sql.Identifier(f"{stream.name}_{table}"), columns, start, columns,
                    sql.Identifier(stream.contract.minutes_table),
                ), (hour + HOUR,),
            )  # fmt: skip
            connection.execute(
                sql.SQL("UPDATE {} SET count = count + 1").format(sql.Identifier(f"{stream.name}_{table}"))
            )
        assert connection.execute(sql.SQL("SELECT count(*) FROM {}").format(minutes)).fetchone() == (2,)
        connection.execute(
            "INSERT INTO hour_revisions (stream, hour, revision, run_id, facts, reason, checked)"
            " VALUES (%s, %s, 1, 'by hand', 0, 'test', %s)",
            (stream.name, hour, checked),
        )


@pytest.mark.parametrize(("window", "hop"), [("1m", None), ("5m", None), ("1h", None), ("5m", "1m")])
@pytest.mark.parametrize("checked", [True, False])
def test_command_api_and_views_say_the_same_of_final_hours(
    stream: OwnStream, tmp_path: Path, window: str, hop: str | None, checked: bool
) -> None:
    fill(stream)
    store(stream, 70, 0, "A", ["ann"], [2])
    hour = START.replace(minute=0)
    make_final(stream, hour, checked=checked)
    span = {"from": (hour - HOUR).isoformat(), "to": (hour + 4 * HOUR).isoformat()}
    measures = [f"commits_{p}" for p in ("n", "sum", "min", "max", "last")]
    columns = ("count", "late", "duplicates", *measures, "status", "unchecked")
    more = ("--hop", hop) if hop else ()
    command = json.loads(
        text(rollups, stream.name, "--window", window, *more, "--json", "--from", span["from"], "--to", span["to"],
             "--group-by", "event_type")
    )["rows"]  # fmt: skip
    query = {"window": window, "group_by": "event_type", **span, **({"hop": hop} if hop else {})}
    with in_process(tmp_path) as client:
        served = client.get(f"/v1/streams/{stream.name}/rollups", params=query).json()["rows"]
    with connect(stream.settings("reader")) as connection:
        view = f"{stream.name}_{window}" + (f"_hop_{hop}" if hop else "")
        chosen = sql.SQL(", ").join(map(sql.Identifier, ("window_start", "event_type", *columns)))
        viewed = connection.execute(sql.SQL("SELECT {} FROM {}").format(chosen, sql.Identifier(view))).fetchall()

    def keyed(rows: list[dict[str, Any]]) -> dict[Any, tuple[Any, ...]]:
        return {
            (datetime.fromisoformat(r["window_start"]), r["event_type"]): tuple(r[c] for c in columns) for r in rows
        }

    assert keyed(command) == keyed(served) == {(start, kind): tuple(rest) for start, kind, *rest in viewed}
    of_hour = [r for r in command if datetime.fromisoformat(r["window_start"]) == hour + timedelta(minutes=57)]
    if window == "1m":
        assert [(r["count"], r["status"], r["unchecked"]) for r in of_hour] == [
            (3, "final", not checked),
            (2, "final", not checked),
        ]
    lasts = {(r["window_start"][11:16], r["event_type"]): r["commits_last"] for r in command}
    assert lasts["10:57" if window == "1m" else "10:55" if window == "5m" else "10:00", "A"] == 5
    assert {r["status"] for r in command} == {"final", "provisional"}
