"""The lake's hour: which offsets it has, when it may not be taken, and what a row of it looks like."""

import io
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from assets.lake.hour import Held, HourSpans, check_complete
from assets.lake.rows import LakeRowsOf
from streamgauge.contract.load import load_contract
from streamgauge.dagster.hours import is_closed
from streamgauge.errors import UserError
from streamgauge.records.avro import avro_schema, frame, parse, write_record
from streamgauge.records.log_spans import LogRecords
from streamgauge.records.payloads import Payloads
from streamgauge.settings import CHECKOUT
from streamgauge.stores.lake import lake_table

HOUR = datetime(2026, 1, 1, 10, tzinfo=UTC)
CONTRACT = load_contract(CHECKOUT / "platform" / "contracts" / "user_events.yaml")


def check(
    span: tuple[int, int],
    log: tuple[int, int],
    held: Held | None = None,
    before: Mapping[int, int] | None = None,
    topic: int = 0,
) -> None:
    known = {} if held is None else {0: held}
    check_complete("app-user-events", HourSpans(HOUR, True, {0: span}), {0: log}, known, before or {}, {0: topic})


def test_an_hour_is_over_a_moment_after_its_end() -> None:
    assert not is_closed(HOUR, HOUR + timedelta(minutes=60))
    assert is_closed(HOUR, HOUR + timedelta(minutes=61))


def test_a_log_that_begins_at_its_beginning_has_all() -> None:
    check((0, 10), (0, 10))
    check((0, 0), (0, 10))


def test_a_log_that_lost_records_before_the_hour_is_no_harm() -> None:
    check((7, 10), (5, 10))
    check((5, 10), (5, 10), before={0: 5})


def test_a_log_that_may_have_lost_some_of_the_hour_is_refused() -> None:
    with pytest.raises(UserError, match="begins at offset 5") as refused:
        check((5, 10), (5, 10))
    assert "2026-01-01-10" in refused.value.what
    with pytest.raises(UserError):
        check((5, 5), (5, 10), before={0: 3})


def test_what_a_topic_that_is_gone_held_is_not_asked_of_the_new_one() -> None:
    check((8, 12), (8, 12), held=Held(3, 8, 5), topic=8)
    check((8, 12), (8, 12), before={0: 3}, topic=8)
    with pytest.raises(UserError, match="begins at offset 9"):
        check((9, 12), (9, 12), topic=8)


def test_less_never_replaces_more() -> None:
    check((0, 10), (0, 10), held=Held(0, 8, 8))
    with pytest.raises(UserError, match="the lake has the offsets 0 to 7, the log only 5 to 9"):
        check((5, 10), (5, 10), held=Held(0, 8, 8))
    with pytest.raises(UserError, match="the log only 0 to 6"):
        check((0, 7), (0, 7), held=Held(0, 8, 8))


def encoded(schema: dict[str, Any], event: dict[str, Any]) -> bytes:
    out = io.BytesIO(frame(1))
    out.seek(0, io.SEEK_END)
    write_record(out, parse(schema), event)
    return out.getvalue()


def test_every_record_is_a_row_whatever_is_wrong_with_it() -> None:
    events: list[dict[str, Any]] = [
        {
            "event_id": f"e{i}",
            "user_id": "u",
            "event_type": "PushEvent",
            "timestamp": int((HOUR - timedelta(hours=i)).timestamp() * 1000),
            "properties": {},
            "metadata": {},
            "schema_version": 1,
        }
        for i in range(3)
    ]
    schema = avro_schema(CONTRACT)
    good = [encoded(schema, e) for e in events]
    values: list[bytes | None] = [good[0], None, good[1][:-3], good[2], b"text"]
    ingest = int(HOUR.timestamp() * 1000) + 5
    offsets = np.arange(len(values), dtype=np.int64)
    records = LogRecords(
        Payloads.of(values), np.zeros(len(values), np.int64), offsets, np.full(len(values), ingest, np.int64)
    )
    rows = LakeRowsOf(CONTRACT, {1: schema}.get, date(2020, 1, 1)).rows(records, "2026-01-01-10")
    assert set(rows.columns) == set(lake_table("/nowhere", CONTRACT).schema)
    assert rows["offset"].to_list() == [0, 1, 2, 3, 4]
    assert rows["event_id"].to_list() == ["e0", None, None, "e2", None]
    assert [e and e.split(":")[0] for e in rows["error"]] == [None, "empty", "undecodable", None, "undecodable"]
    assert rows["record"].to_list() == [None, None, good[1][:-3], None, b"text"]
    # one that can't be read belongs to the hour in which it came
    assert rows["event_hour"].to_list() == [HOUR, HOUR, HOUR, HOUR - timedelta(hours=2), HOUR]
