"""The API's numbers are the oracle's, in both layers and across the border between them."""

import io
from collections import defaultdict
from collections.abc import Generator, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from psycopg.rows import dict_row
from starlette.testclient import TestClient

from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect
from tests.integration.own_stream import OwnStream, block
from tests.integration.running import Running
from tests.integration.serving_client import in_process
from tests.integration.serving_data import MINUTE, Bucket, Data, make_data, make_final, merged, not_final, shown
from tests.integration.workers import Workers

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(180)]

SIZES = {"1m": MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE, "1h": HOUR, "3h": 3 * HOUR, "1d": timedelta(days=1)}
ALL = ",".join(shown(Bucket()))


@pytest.fixture(scope="module")
def data(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Data, Path]]:
    folder = tmp_path_factory.mktemp("serving")
    own = OwnStream(folder)
    with Workers([own.name], folder) as workers:
        running = Running(own, workers)
        running.edit(lambda d: block(d, "time").update(idleAfterSeconds=3600))
        yield make_data(running), folder


@pytest.fixture(scope="module")
def client(data: tuple[Data, Path]) -> Generator[TestClient]:
    with in_process(data[1]) as built:
        yield built


@pytest.fixture(params=[(), (0,), (0, 1), (0, 2), (0, 1, 2, 3)], ids=str)
def final(request: pytest.FixtureRequest, data: tuple[Data, Path]) -> Generator[tuple[Data, dict[datetime, int]]]:
    """The hours that are final, with their revisions: none, the first ones, some with a hole, all."""
    built, _ = data
    chosen: tuple[int, ...] = request.param
    revisions = {built.hours[i]: 1 + i % 2 for i in chosen}
    if revisions:
        make_final(built, revisions)
    yield built, revisions
    not_final(built)


def ask(client: TestClient, data: Data, **query: Any) -> dict[str, Any]:
    span = {"from": data.first.isoformat(), "to": (data.first + 4 * HOUR).isoformat()}
    answer = client.get(f"/v1/streams/{data.contract.stream}/rollups", params={**span, "measures": ALL, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def assert_rows(
    data: Data, revisions: dict[datetime, int], rows: Iterable[dict[str, Any]], size: str, hop: str, grouped: bool
) -> None:
    served = merged(data.minutes(revisions), SIZES[size], SIZES[hop], (lambda k: k) if grouped else (lambda k: ""))
    begin, end = data.first, data.first + 4 * HOUR
    wanted = {k: b for k, b in served.items() if begin <= k[0] < end}
    found = {(datetime.fromisoformat(r["window_start"]), r.get("event_type", "")): r for r in rows}
    assert found.keys() == wanted.keys()
    for (start, kind), row in found.items():
        numbers = {k: v for k, v in row.items() if k in shown(wanted[start, kind])}
        assert numbers == pytest.approx(shown(wanted[start, kind])), (start, kind)
        assert_standing(row, start, SIZES[size], revisions, data)


def assert_standing(
    row: dict[str, Any], start: datetime, size: timedelta, revisions: dict[datetime, int], data: Data
) -> None:
    minutes = [start + i * MINUTE for i in range(size // MINUTE)]
    # before the stream's first event there is nothing that could change
    done = [m for m in minutes if hour_start(m) in revisions or (revisions and m < data.first)]
    assert row["final_share"] == pytest.approx(len(done) / len(minutes), abs=1e-4)
    assert row["status"] == ("final" if len(done) == len(minutes) else "provisional")
    newest = max((revisions.get(hour_start(m), 0) for m in minutes), default=0)
    assert row["revision"] == (newest if row["status"] == "final" else None)


@pytest.mark.parametrize(
    ("window", "hop"),
    [("1m", "1m"), ("5m", "5m"), ("5m", "1m"), ("15m", "15m"), ("1h", "1h"), ("1h", "5m"), ("3h", "1h"), ("1d", "1h")],
)
@pytest.mark.parametrize("grouped", [False, True])
def test_windows(
    client: TestClient, final: tuple[Data, dict[datetime, int]], window: str, hop: str, grouped: bool
) -> None:
    data, revisions = final
    group = {"group_by": "event_type"} if grouped else {}
    answer = ask(client, data, window=window, hop=hop, **group)
    assert_rows(data, revisions, answer["rows"], window, hop, grouped)


def test_a_day_is_made_of_hours(client: TestClient, final: tuple[Data, dict[datetime, int]]) -> None:
    data, revisions = final
    midnight = data.first.replace(hour=0)
    answer = ask(
        client,
        data,
        window="1d",
        measures="count,users_distinct,commits_sum",
        **{"from": midnight.isoformat(), "to": (midnight + timedelta(days=2)).isoformat()},
    )
    days = merged(data.minutes(revisions), SIZES["1d"], SIZES["1d"], lambda k: "")
    assert {r["window_start"][:10]: (r["count"], r["users_distinct"], r["commits_sum"]) for r in answer["rows"]} == {
        f"{start:%Y-%m-%d}": (b.count, len(b.users), sum(b.values)) for (start, _), b in days.items()
    }


def test_filters(client: TestClient, final: tuple[Data, dict[datetime, int]]) -> None:
    data, revisions = final
    where = ["event_type:PushEvent", "event_type:ForkEvent", "actor_kind:unknown"]
    answer = ask(client, data, window="1h", where=where)
    served = {k: b for k, b in data.minutes(revisions).items() if k[1] != "WatchEvent"}
    wanted = merged(served, HOUR, HOUR, lambda k: "")
    assert [r["count"] for r in answer["rows"]] == [b.count for _, b in sorted(wanted.items())]
    assert not ask(client, data, window="1h", where="event_type:NoSuch")["rows"]


def test_gaps_are_filled(client: TestClient, final: tuple[Data, dict[datetime, int]]) -> None:
    data, revisions = final
    begin, end = data.first - HOUR, data.first + 5 * HOUR
    answer = ask(client, data, fill="zero", group_by="event_type", **{"from": begin.isoformat(), "to": end.isoformat()})
    assert len(answer["rows"]) == 6 * 60 * 3
    wanted = data.minutes(revisions)
    for row in answer["rows"]:
        bucket = wanted.get((datetime.fromisoformat(row["window_start"]), row["event_type"]))
        if bucket is None:
            assert (row["count"], row["commits_sum"], row["commits_min"], row["users_distinct"]) == (0, 0, None, 0)
        else:
            assert row["count"] == bucket.count


@pytest.mark.parametrize("minutes", [(0, 240), (60, 180), (7, 131), (30, 31)])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_whole_range_is_one_window(
    client: TestClient, final: tuple[Data, dict[datetime, int]], minutes: tuple[int, int], grouped: bool
) -> None:
    data, revisions = final
    begin, end = (data.first + n * MINUTE for n in minutes)
    group = {"group_by": "event_type"} if grouped else {}
    answer = ask(client, data, window="range", **{"from": begin.isoformat(), "to": end.isoformat()}, **group)
    wanted: dict[str, Bucket] = defaultdict(Bucket)
    for (minute, kind), bucket in data.minutes(revisions).items():
        if begin <= minute < end:
            wanted[kind if grouped else ""].add(bucket)
    found = {r.get("event_type", ""): r for r in answer["rows"]}
    assert found.keys() == wanted.keys()
    for kind, row in found.items():
        assert {k: v for k, v in row.items() if k in ALL.split(",")} == pytest.approx(shown(wanted[kind]))
        assert_standing(row, begin, end - begin, revisions, data)


@pytest.mark.parametrize(
    ("window", "minutes"), [("1m", (0, 90)), ("15m", (0, 240)), ("3h", (0, 240)), ("1d", (0, 240)), ("range", (7, 131))]
)
@pytest.mark.parametrize("grouped", [False, True])
def test_the_question_in_sql_has_the_same_answer(
    client: TestClient, final: tuple[Data, dict[datetime, int]], window: str, minutes: tuple[int, int], grouped: bool
) -> None:
    data, _ = final
    begin, end = (data.first + n * MINUTE for n in minutes)
    query: dict[str, Any] = {"window": window, "from": begin.isoformat(), "to": end.isoformat()}
    query |= {"group_by": "event_type"} if grouped else {"where": ["event_type:PushEvent", "event_type:It's"]}
    rows = ask(client, data, **query)["rows"]
    asked = client.get(f"/v1/streams/{data.contract.stream}/rollups/sql", params={"measures": ALL, **query}).json()
    assert asked["left_out"] == ["users_distinct", "commits_p50", "commits_p95", "commits_p99"]
    with connect(Settings.for_role("reader")) as connection, connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(asked["sql"]).fetchall()
    assert len(found) == len(rows)
    for own, row in zip(found, rows, strict=True):
        assert own.pop("window_start") == datetime.fromisoformat(row["window_start"])
        assert own == pytest.approx({k: row[k] for k in own})


@pytest.mark.parametrize(
    "query", [{"window": "1m", "group_by": "event_type"}, {"window": "5m", "hop": "1m", "fill": "zero"}]
)
def test_pages_are_the_whole(
    client: TestClient, final: tuple[Data, dict[datetime, int]], query: dict[str, str]
) -> None:
    data, _ = final
    whole = ask(client, data, **query)
    page = ask(client, data, **query, limit=97)
    rows = page["rows"]
    while page["next"]:
        assert len(page["rows"]) == 97
        page = client.get(page["next"]).json()
        rows += page["rows"]
    assert rows == whole["rows"]


def test_csv_and_arrow_are_the_same_rows(client: TestClient, final: tuple[Data, dict[datetime, int]]) -> None:
    data, _ = final
    rows = ask(client, data, group_by="event_type", window="1h")["rows"]
    path = f"/v1/streams/{data.contract.stream}/rollups"
    query = {
        "from": data.first.isoformat(),
        "to": (data.first + 4 * HOUR).isoformat(),
        "measures": ALL,
        "group_by": "event_type",
        "window": "1h",
    }
    as_csv = client.get(path, params={**query, "format": "csv"})
    assert as_csv.headers["content-type"].startswith("text/csv")
    read = pl.read_csv(io.BytesIO(as_csv.content), try_parse_dates=True)
    assert read["window_start"].dtype == pl.Datetime("us", "UTC")
    arrow = client.get(path, params=query, headers={"Accept": "application/vnd.apache.arrow.stream"})
    frame = pl.read_ipc_stream(io.BytesIO(arrow.content))
    written = frame.with_columns(pl.col("window_start", "window_end").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert written.to_dicts() == rows
    assert read.drop("revision").to_dicts() == frame.drop("revision").to_dicts()


def test_an_answer_is_sent_again_only_when_it_changed(client: TestClient, data: tuple[Data, Path]) -> None:
    built, _ = data
    path = f"/v1/streams/{built.contract.stream}/rollups"
    query = {"from": built.first.isoformat(), "to": (built.first + HOUR).isoformat()}
    first = client.get(path, params=query)
    tag = first.headers["etag"]
    again = client.get(path, params=query, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    make_final(built, {built.first: 1})
    try:
        changed = client.get(path, params=query, headers={"If-None-Match": tag})
        assert changed.status_code == 200 and changed.json()["status"] == "final"
    finally:
        not_final(built)


@pytest.mark.parametrize("minutes", [(30, 127), (60, 240)])
def test_top_of_a_range(client: TestClient, final: tuple[Data, dict[datetime, int]], minutes: tuple[int, int]) -> None:
    data, revisions = final
    begin, end = (data.first + n * MINUTE for n in minutes)
    answer = client.get(
        f"/v1/streams/{data.contract.stream}/top",
        params={"top": "users", "from": begin.isoformat(), "to": end.isoformat(), "limit": 100},
    ).json()
    (top,) = answer["tops"]
    served = {k: b for k, b in data.minutes(revisions).items() if begin <= k[0] < end}
    wanted = merged(served, timedelta(days=400), timedelta(days=400), lambda k: "")
    (bucket,) = wanted.values()
    assert top["masked"] and top["exact"]
    assert {i["key"]: i["count"] for i in top["items"]} == bucket.keys


def test_provenance_of_a_minute(client: TestClient, final: tuple[Data, dict[datetime, int]]) -> None:
    data, revisions = final
    for hour in data.hours:
        minute = hour + 7 * MINUTE
        answer = client.get(
            f"/v1/streams/{data.contract.stream}/provenance", params={"start": minute.isoformat(), "window": "1m"}
        ).json()
        wanted = merged(data.minutes(revisions), MINUTE, MINUTE, lambda k: "")[minute, ""]
        assert (answer["count"], answer["late"], answer["duplicates"]) == (wanted.count, wanted.late, wanted.duplicates)
        assert answer["status"] == ("final" if hour in revisions else "provisional")
        assert [s["layer"] for s in answer["sources"]] == ["batch" if hour in revisions else "speed"]
        assert [r["revision"] for r in answer["revisions"]] == list(range(revisions.get(hour, 0), 0, -1))
