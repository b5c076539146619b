"""Complete minutes in Postgres are judged, and what is odd is told: by sensor, command, API and alert."""

import json
from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from psycopg import sql
from typer.testing import CliRunner, Result

from sensors.alerting.anomalies import anomalies_under_way
from sensors.anomalies import sensor, watch
from streamgauge.apply.execute import apply
from streamgauge.cli.anomalies import app
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.settings import PREFIX, Settings
from streamgauge.stores.postgres import Connection, connect
from tests.integration.own_stream import OwnStream, block
from tests.integration.serving_client import in_process

MINUTE = timedelta(minutes=1)
END = datetime.now(UTC).replace(second=0, microsecond=0)
START = END - timedelta(days=3)
DROP = END - timedelta(minutes=30)
LEVEL, OTHER = 300.0, 5.0
TYPE, RARE = ("PushEvent", "bot"), ("ForkEvent", "person")


def admin() -> Connection:
    return connect(Settings.for_role("admin"), autocommit=True)


@pytest.fixture
def own(stack: Any, tmp_path: Path) -> Generator[OwnStream]:
    """A stream of which no minute is complete yet."""
    built = OwnStream(tmp_path)
    document = built.document()
    block(document, "time")["allowedLatenessSeconds"] = 60
    built.write(document)
    apply(built.settings(), (built.contract,))
    yield built


def fill(contract: Contract, first: datetime, last: datetime, level: float, seed: int = 1) -> None:
    """Rows as a worker writes them, in two partitions; the mean of `commits` is 4."""
    minutes = [first + i * MINUTE for i in range((last - first) // MINUTE)]
    rng = np.random.default_rng(seed)
    columns = ("minute", "partition", "event_type", "actor_kind", "count", "commits_n", "commits_sum", "upto")
    rows: list[tuple[Any, ...]] = []
    for (kind, actor), mean in ((TYPE, level), (RARE, OTHER)):
        for minute, count in zip(minutes, rng.poisson(mean, len(minutes)).tolist(), strict=True):
            rows += [
                (minute, p, kind, actor, n, n, 4.0 * n, 0) for p, n in ((0, count // 2), (1, count - count // 2)) if n
            ]
    copy = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier(contract.minutes_table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with admin() as connection, connection.cursor() as cursor, cursor.copy(copy) as stream:
        for row in rows:
            stream.write_row(row)


def complete(contract: Contract, until: datetime) -> None:
    """As if workers had read all up to then, in all partitions; the first is behind by two minutes."""
    with admin() as connection:
        for partition in range(3):
            ahead = 2 * MINUTE if partition else timedelta()
            watermark = until + timedelta(milliseconds=contract.lateness_ms) + ahead
            connection.execute(
                "insert into stream_offsets (topic, partition, start_offset, next_offset, epoch, watermark_ms)"
                " values (%s, %s, 0, 0, 1, %s) on conflict (topic, partition)"
                " do update set watermark_ms = excluded.watermark_ms",
                (contract.topic, partition, round(watermark.timestamp() * 1000)),
            )


def judge(contract: Contract) -> int:
    """Returns how many minutes were judged."""
    with connect(Settings.for_role("batch"), autocommit=True) as connection:
        judged, more = 0, True
        while more:
            found = watch.advance(connection, contract)
            judged, more = judged + found.judged, found.more
    return judged


def anomalies(contract: Contract) -> list[dict[str, Any]]:
    with connect(Settings.for_role("reader")) as connection, connection.cursor() as cursor:
        cursor.execute("select * from anomalies where stream = %s order by began, id", (contract.stream,))
        names = [c.name for c in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def member(anomaly: dict[str, Any]) -> tuple[str, ...]:
    """Its dimensions, in the contract's order, which jsonb does not keep."""
    return tuple(anomaly["dimensions"][d] for d in ("event_type", "actor_kind") if d in anomaly["dimensions"])


def with_a_drop(contract: Contract, until: datetime = END) -> None:
    """Three days, of which in the last half hour a third of one type's events is missing."""
    fill(contract, START, DROP, LEVEL)
    fill(contract, DROP, until, LEVEL * 0.65, seed=2)
    complete(contract, until)


def test_a_drop_is_found_once_with_its_series_and_its_band(own: OwnStream) -> None:
    contract = own.contract
    with_a_drop(contract)
    assert judge(contract) == (END - START) // MINUTE
    found = anomalies(contract)
    assert {(a["figure"], member(a)) for a in found if a["ended"] is None} == {
        ("count", ()),
        ("count", TYPE),
    }
    for a in found[-2:]:
        assert DROP <= a["began"] <= DROP + 10 * MINUTE
        assert a["direction"] == "down" and a["kind"] == "peak" and a["score"] >= 1
        assert a["observed"] < a["low"] < a["expected"] < a["high"]
        assert a["expected"] == pytest.approx(LEVEL + (0 if a["dimensions"] else OTHER), rel=0.1)
        assert a["observed"] == pytest.approx(LEVEL * 0.65 + (0 if a["dimensions"] else OTHER), rel=0.15)
    assert judge(contract) == 0
    assert anomalies(contract) == found


def test_judged_in_any_pieces_it_is_the_same(own: OwnStream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed and started anew after any minute: none is judged twice, and none left out."""
    contract = own.contract
    with_a_drop(contract)
    judge(contract)
    whole, known = anomalies(contract), models(contract)
    with admin() as connection:
        for table in ("anomalies", "anomaly_bands", "anomaly_progress", "anomaly_models", "anomaly_slots"):
            connection.execute(
                sql.SQL("delete from {} where stream = %s").format(sql.Identifier(table)), (contract.stream,)
            )
    pieces = iter([1, 7, 1000, 333, 60, 2, 59, 1200, *[97] * 100])
    judged = 0
    with connect(Settings.for_role("batch"), autocommit=True) as connection:
        while True:
            monkeypatch.setattr(watch, "_AT_ONCE", next(pieces))
            with pytest.raises(InterruptedError), monkeypatch.context() as broken:
                broken.setattr(watch.store, "forget", _interrupted)
                watch.advance(connection, contract)
                raise InterruptedError
            found = watch.advance(connection, contract)
            judged += found.judged
            if not found.more:
                break
    assert judged == (END - START) // MINUTE
    kept = [{k: v for k, v in a.items() if k != "found_at"} for a in anomalies(contract)]
    assert kept == [{k: v for k, v in a.items() if k != "found_at"} for a in whole]
    assert models(contract) == known


def _interrupted(*_: Any) -> None:
    raise InterruptedError


def models(contract: Contract) -> list[tuple[Any, ...]]:
    with connect(Settings.for_role("batch")) as connection:
        return connection.execute(
            "select kind, slot, known from anomaly_slots where stream = %s order by kind, slot", (contract.stream,)
        ).fetchall()


def test_what_is_not_complete_is_not_judged(own: OwnStream) -> None:
    """A minute that lacks a partition looks like a drop, and late events come into minutes that were judged."""
    contract = own.contract
    fill(contract, START, END - 5 * MINUTE, LEVEL)
    complete(contract, END - 5 * MINUTE)
    judge(contract)
    before = anomalies(contract)
    fill(contract, END - 5 * MINUTE, END - 4 * MINUTE, LEVEL / 3)
    assert judge(contract) == 0
    with admin() as connection:
        connection.execute(
            sql.SQL("update {} set count = count * 3, late = 99 where minute = %s").format(
                sql.Identifier(contract.minutes_table)
            ),
            (END - 20 * MINUTE,),
        )
    assert judge(contract) == 0
    assert anomalies(contract) == before


def test_a_stream_that_falls_silent_is_a_gap_and_years_of_silence_cost_nothing(own: OwnStream) -> None:
    contract = own.contract
    long_ago = START - timedelta(days=20)
    fill(contract, long_ago, long_ago + timedelta(days=2), LEVEL)
    complete(contract, long_ago + timedelta(days=2, minutes=9))
    judge(contract)
    silent = [a for a in anomalies(contract) if a["kind"] == "gap" and not a["dimensions"]]
    assert len(silent) == 1 and silent[0]["ended"] is None and silent[0]["observed"] == 0
    fill(contract, END - 9 * MINUTE, END, LEVEL)
    complete(contract, END)
    assert judge(contract) < 3 * 1440
    with connect(Settings.for_role("reader")) as connection:
        row = connection.execute(
            "select until, latest from anomaly_progress where stream = %s", (contract.stream,)
        ).fetchone()
    assert row == (END, END - MINUTE)
    (silent,) = (a for a in anomalies(contract) if a["kind"] == "gap" and not a["dimensions"])
    assert silent["ended"] is not None and silent["shifted"]


def test_the_contract_says_what_is_looked_at(own: OwnStream) -> None:
    document = own.document()
    document["customProperties"].append({"property": "anomalies", "value": {"direction": "up"}})
    contract = own.write(document)
    with_a_drop(contract)
    judge(contract)
    assert not [a for a in anomalies(contract) if a["direction"] == "down"]


def run(*arguments: str, folder: Path, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(arguments), env={f"{PREFIX}CONTRACTS_DIR": str(folder)})
    assert done.exit_code == code, (done.output, done.exception)
    return done


def listed(own: OwnStream, *arguments: str, code: int) -> list[dict[str, Any]]:
    return json.loads(run("list", "--stream", own.name, "--json", *arguments, folder=own.folder, code=code).stdout)


def under_way(own: OwnStream) -> Sequence[Any]:
    with connect(Settings.for_role("batch"), autocommit=True) as connection:
        return anomalies_under_way(connection, [own.contract], END)


def test_it_is_told_once_a_stream_until_a_person_has_seen_it(own: OwnStream) -> None:
    contract = own.contract
    with_a_drop(contract)
    judge(contract)
    open_ = listed(own, code=1)
    assert {a["state"] for a in open_} == {"open"}
    assert len(open_) == 2
    with connect(Settings.for_role("batch"), autocommit=True) as connection:
        later = anomalies_under_way(connection, [own.contract], END + timedelta(hours=2))
    assert not later, "what is found while old minutes are learned is no news"
    (alert,) = under_way(own)
    assert (alert.stream, alert.owner, alert.severity) == (contract.stream, contract.owner, "warning")
    assert "2 series are not as expected" in alert.summary
    assert TYPE[0] not in alert.description + alert.summary
    run("ack", open_[0]["id"], "--reason", "a supplier is down", "--by", "jo", folder=own.folder)
    assert len(under_way(own)) == 1
    assert [a["id"] for a in listed(own, "--limit", "1", code=1)] == [open_[1]["id"]], "the latest is not open any more"
    run("ack", open_[1]["id"], "--reason", "the same", "--by", "jo", folder=own.folder)
    assert not under_way(own)
    assert not listed(own, code=0)
    assert len(listed(own, "--all", "--days", "0.01", code=0)) == 2, "the two that go on"
    (seen, _) = (a for a in listed(own, "--all", code=0) if a["ended"] is None)
    assert (seen["state"], seen["verdict_by"]) == ("acknowledged", "jo")
    missing = CliRunner().invoke(app, ["ack", "nothing", "--reason", "x"])
    assert "there is no anomaly nothing" in str(missing.exception)


def test_what_a_person_expects_is_learned(own: OwnStream) -> None:
    contract = own.contract
    with_a_drop(contract)
    judge(contract)
    ids = [a["id"] for a in listed(own, code=1)]
    run("expect", *ids, "--reason", "a campaign is over", folder=own.folder)
    later = END + 20 * MINUTE
    fill(contract, END, later, LEVEL * 0.65, seed=3)
    complete(contract, later)
    assert judge(contract) == 20
    assert all(a["learned"] and a["ended"] == END for a in anomalies(contract) if a["id"] in ids)
    assert not listed(own, code=0)


def test_dagster_is_told_and_the_sensor_is_well_without_a_worker(own: OwnStream) -> None:
    contract = own.contract
    with_a_drop(contract)
    connection = partial(connect, Settings.for_role("batch"), autocommit=True)
    built = sensor.definitions([contract], connection).resolve_sensor_def("anomalies")
    with dg.instance_for_test() as instance, dg.build_sensor_context(instance) as context:
        for _ in range(20):
            if "0 minutes" in str(built.evaluate_tick(context).skip_message):
                break
        key = dg.AssetKey(asset_keys.minutes(contract))
        events = instance.fetch_observations(key, limit=100).records
        assert events
        observation = events[0].asset_observation
        assert observation is not None
        assert observation.metadata["anomalies_under_way"].value == 2
        assert not [name for name in observation.metadata if TYPE[0] in str(observation.metadata[name].value)]


def test_the_api_has_them_and_the_band_behind_the_counts(own: OwnStream) -> None:
    contract = own.contract
    with_a_drop(contract)
    judge(contract)
    with in_process(own.folder) as client:
        path = f"/v1/streams/{contract.stream}/anomalies"
        answer = client.get(path, params={"from": (END - timedelta(hours=1)).isoformat()}).json()
        assert answer["looked"] and answer["left_out"] == 0
        assert datetime.fromisoformat(answer["until"]) == END
        assert {a["figure"] for a in answer["anomalies"]} == {"count"}
        assert {tuple(a["dimensions"].values()) for a in answer["anomalies"] if a["ended"] is None} == {(), TYPE}
        assert len(answer["band"]) == 60
        for b in answer["band"]:
            assert b["low"] < b["expected"] < b["high"]
        later = client.get(path, params={"from": END.isoformat(), "to": (END + MINUTE).isoformat()}).json()
        assert len([a for a in later["anomalies"] if a["ended"] is None]) == 2
        assert client.get(path, params={"from": END.isoformat(), "to": START.isoformat()}).status_code == 422
        assert client.get(path, params={"from": "2020-01-01"}).status_code == 422
        assert client.get("/v1/streams/nothing/anomalies").status_code == 404
