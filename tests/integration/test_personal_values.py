"""Personal values, planted wherever an event can have one, are in the raw layers and nowhere else, byte by byte."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from psycopg import sql

from quality.reconciliation.reconcile import compare
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_key, hour_start
from streamgauge.rollup.pseudonyms import MARK, pseudonyms_of
from streamgauge.settings import PREFIX, Settings
from streamgauge.state import api_keys
from streamgauge.state.api_keys import PERSONAL
from streamgauge.stores.fact_tables import duplicates_table, facts_table, quarantine_table
from streamgauge.stores.lake import LakeTable, lake_table
from streamgauge.stores.postgres import SCHEMA, connect
from streamgauge.stores.redis import redis_client
from streamgauge.stores.rollup_tables import hourly_table
from tests.integration.batch_layer import fill_batch, fill_lake
from tests.integration.free_port import free_port
from tests.integration.log import read_log
from tests.integration.own_stream import Document, block
from tests.integration.running import Running, encoded, events, now_ms, one, read_topic, same_tops, schema_of
from tests.integration.running import streamgauge as command
from tests.integration.serving_client import LOOPBACK, served
from tests.integration.workers import wait_for, wait_until_read

pytestmark = pytest.mark.timeout(300)

EVENTS = 60
CANARY = f"canary{os.urandom(6).hex()}"
"""Part of every planted value."""


def planted(how: str) -> str:
    return f"{CANARY}-{how}"


def holds(data: bytes) -> bool:
    """As it is, in capitals, and as Postgres writes bytes."""
    low = data.lower()
    return CANARY.encode() in low or CANARY.encode().hex().encode() in low


def personal(document: Document) -> None:
    document["customProperties"].append({"property": "derived", "value": {"shouted": "upper(user_id)"}})
    rollup = block(document, "rollup")
    rollup["dimensions"] += [{"name": "person", "source": "user_id"}, {"name": "loud", "source": "shouted"}]
    rollup["top"].append({"name": "shouts", "source": "shouted", "exactKeys": 100})


def plant(running: Running) -> None:
    """Counted, late, a duplicate under another's name, broken, and no Avro at all; in the value and in the key."""
    contract = running.contract
    running.send(events(contract, EVENTS, user_id=planted("counted")))
    wait_until_read(contract)
    running.send(events(contract, 12, start=1000, at=now_ms() - 600_000, user_id=planted("late")))
    running.send(events(contract, 1, at=now_ms(), user_id=planted("again")))
    ((number, schema),) = schema_of(contract).items()
    key = planted("key").encode()
    wrong = one(contract, user_id=planted("broken"), event_type="lower")
    running.send_raw((key, encoded(schema, number, wrong)), (key, planted("no Avro").encode()))


def in_postgres() -> set[str]:
    """The tables that hold a planted value."""
    found: set[str] = set()
    with connect(Settings.for_role("admin")) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (SCHEMA,)).fetchall()
        for (table,) in tables:
            query = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(sql.Identifier(SCHEMA, table))
            with connection.cursor().copy(query) as copy:
                if holds(b"".join(copy)):
                    found.add(table)
    return found


def in_redis() -> list[str]:
    redis: Any = redis_client(Settings.for_role("admin"))
    keys: list[Any] = list(redis.scan_iter())
    assert keys
    return [str(key) for key in keys if holds(f"{key!r} {redis.get(key)!r}".encode())]


def in_lake(table: LakeTable) -> bool:
    frame: pl.DataFrame = table.read()
    assert not frame.is_empty(), table.url
    return holds(frame.write_ipc(None).getvalue())


def answers(contract: Contract, client: httpx.Client) -> dict[str, bytes]:
    stream, now = f"/v1/streams/{contract.stream}", datetime.now(UTC)
    span = f"from={hour_start(now) - HOUR:%Y-%m-%dT%H:%MZ}&to={hour_start(now) + HOUR:%Y-%m-%dT%H:%MZ}"
    paths = [
        "/metrics",
        "/v1/streams",
        stream,
        *(f"{stream}/top?window={window}" for window in ("1m", "5m", "1h")),
        f"{stream}/top?{span}",
        *(
            f"{stream}/rollups?window=1h&{span}&group_by=person,loud&measures=count,users_distinct&format={form}"
            for form in ("json", "csv", "arrow")
        ),
        f"{stream}/provenance?window=1h&start={hour_start(now):%Y-%m-%dT%H:%MZ}",
        f"{stream}/reports",
        "/v1/lineage/e0",
        "/v1/lineage/e1000",
        "/v1/quality",
        "/v1/reconciliation",
        "/v1/operations",
        "/v1/alerts",
    ]
    found = {path: client.get(path) for path in paths}
    assert {path: a.status_code for path, a in found.items() if a.status_code != 200} == {}
    with client.stream("GET", f"{stream}/live") as live:
        snapshot = next(chunk for chunk in live.iter_bytes() if b"tops" in chunk)
    return {path: a.content for path, a in found.items()} | {"live": snapshot}


def stores_text(running: Running) -> dict[str, str]:
    """What commands print."""
    name, hour = running.contract.stream, hour_start(datetime.now(UTC))
    commands = (
        ("top", name, "--once", "--json"),
        ("top", name),
        ("rollups", name, "--group-by", "person", "--json"),
        ("trace", "e0", "--stream", name),
        ("sample", name),
        ("dead-letters", "list"),
        ("reconcile", "show", name, "--check", "--explained", "--from", hour_key(hour - HOUR)),
        ("plan",),
    )
    return {" ".join(c): command(running.own.folder, *c) for c in commands}


def test_no_personal_value_leaves_the_raw_layers(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.edit(personal)
    running.apply()
    contract, port = running.contract, free_port()
    monkeypatch.setenv(f"{PREFIX}METRICS_PORT", str(port))
    running.workers.start()
    monkeypatch.delenv(f"{PREFIX}METRICS_PORT")
    plant(running)
    account = wait_until_read(contract)
    assert (account.counted, account.late, account.duplicates, account.dead_letters) == (EVENTS, 12, 1, 2)
    wait_for(lambda: same_tops(contract), "Redis has what Postgres has")
    topic = contract.topic_spec.countsTopic
    assert topic is not None
    wait_for(lambda: bool(read_topic(topic, "counts of a test")), "the counts are in their topic")
    fill_lake(contract)
    now = hour_start(datetime.now(UTC))
    fill_batch(contract, [now - HOUR, now])
    settings = Settings.for_role("batch")
    pseudonyms = pseudonyms_of(settings, contract)
    with connect(settings, autocommit=True) as connection:
        results = compare(connection, contract, pseudonyms, settings.lake, [now - HOUR, now]).results
    assert all(r.passed for r in results) and sum(r.buckets for r in results)

    # what is raw holds them: the search finds what is there
    assert in_postgres() == {"dead_letters"}
    assert all(in_lake(table(settings.lake, contract)) for table in (lake_table, facts_table, duplicates_table))
    assert holds(quarantine_table(settings.lake, contract).read().write_ipc(None).getvalue())
    assert any(holds(m.value() or b"") for m in read_log(Settings.for_role("worker"), contract))

    assert in_redis() == []
    assert not in_lake(hourly_table(settings.lake, contract))
    counts = [(m.key() or b"") + (m.value() or b"") for m in read_topic(topic, "counts of a test")]
    assert counts and not any(map(holds, counts)) and any(MARK.encode() in c for c in counts)
    assert not holds(httpx.get(f"http://{LOOPBACK}:{port}/metrics").raise_for_status().content)
    assert not holds(running.workers.log().encode())
    with served(running.own.folder, tmp_path) as api:
        found = answers(contract, api.client)
        assert [path for path, content in found.items() if holds(content)] == []
        ways = [path for path, content in found.items() if pseudonyms.of(planted("counted")).encode() in content]
        assert len(ways) >= 8
        _assert_seen_by_whoever_may(contract, api.client)
    assert not holds(api.log.read_bytes())
    assert [c for c, text in stores_text(running).items() if holds(text.encode())] == []


def _assert_seen_by_whoever_may(contract: Contract, client: httpx.Client) -> None:
    with connect(Settings.for_role("admin")) as connection:
        key, _ = api_keys.create(connection, "steward", ("read:*", PERSONAL))
    stream, headers = f"/v1/streams/{contract.stream}", {"Authorization": f"Bearer {key}"}
    tops = client.get(f"{stream}/top", headers=headers).raise_for_status().json()["tops"]
    keys = {a["top"]: [i["key"] for i in a["items"]] for a in tops}
    assert keys["users"] == [planted("counted")]
    assert keys["shouts"] == [planted("counted").upper()]
    asked = {"group_by": "person,loud", "measures": "count"}
    for _ in range(2):
        rows = client.get(f"{stream}/rollups", params=asked, headers=headers).raise_for_status().json()["rows"]
        assert {(r["person"], r["loud"]) for r in rows} >= {(planted("counted"), planted("counted").upper())}
        # the same question by who may not see them, with the answer's tag
        answer = client.get(f"{stream}/rollups", params=asked)
        assert answer.status_code == 200 and not holds(answer.content)
