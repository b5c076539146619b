"""From a request's body to events, and what is said of those that can't be taken."""

import json
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from serving.ingest.batcher import part_of
from serving.ingest.body import MAX_EVENTS, Form, events_of, form_of
from serving.ingest.check import check
from serving.ingest.unreadable import Unreadable
from serving.problems import Problem
from streamgauge.contract.load import load_contracts
from streamgauge.settings import CONTRACTS

USER_EVENTS = next(c for c in load_contracts(CONTRACTS) if c.stream == "user_events")
AT = 1_764_400_000_000


def event(**other: Any) -> dict[str, Any]:
    return {
        "event_id": "e1",
        "user_id": "ann",
        "event_type": "PushEvent",
        "timestamp": AT,
        "properties": {"size": "2"},
        "metadata": {},
        **other,
    }


def without(name: str) -> dict[str, Any]:
    return {k: v for k, v in event().items() if k != name}


def read(form: Form, body: bytes, headers: Mapping[str, str] | None = None) -> list[Any]:
    return events_of(USER_EVENTS, form, headers or {}, body)


# Kinds of bodies


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ({"content-type": "application/json"}, "json"),
        ({"content-type": 'Application/JSON; charset="UTF-8"'}, "json"),
        ({"content-type": "application/x-ndjson"}, "ndjson"),
        ({"content-type": "application/cloudevents+json; charset=utf-8"}, "cloudevent"),
        ({"content-type": "application/cloudevents-batch+json"}, "cloudevents"),
        ({"content-type": "application/json", "ce-specversion": "1.0"}, "binary"),
    ],
)
def test_a_body_is_what_its_type_says(headers: dict[str, str], form: Form) -> None:
    assert form_of(headers) == form


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": ""},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": "application/x-ndjson", "ce-specversion": "1.0"},
    ],
)
def test_what_a_web_page_may_send_unasked_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as raised:
        form_of(headers)
    assert raised.value.status == 415


def test_one_event_or_many() -> None:
    one, two = event(), event(event_id="e2")
    assert read("json", orjson.dumps(one)) == [one]
    assert read("json", orjson.dumps([one, two])) == [one, two]
    lines = b"\n\n".join(map(orjson.dumps, (one, two))) + b"\r\n"
    assert read("ndjson", lines) == [one, two]


def test_a_line_that_is_no_event_leaves_the_others() -> None:
    found = read("ndjson", orjson.dumps(event()) + b'\n{"a":\n7\n' + orjson.dumps(event()))
    assert [isinstance(e, Unreadable) for e in found] == [False, True, True, False]


@pytest.mark.parametrize(
    ("form", "body", "status"),
    [
        ("json", b"", 400),
        ("json", b'{"event_id": "secret', 400),
        ("json", b"[]", 400),
        ("ndjson", b"\n \n", 400),
        ("cloudevents", b"{}", 400),
        ("json", b"[" + b",".join([b"{}"] * (MAX_EVENTS + 1)) + b"]", 413),
    ],
)
def test_a_body_without_a_number_of_events_is_refused(form: Form, body: bytes, status: int) -> None:
    with pytest.raises(Problem) as raised:
        read(form, body)
    assert raised.value.status == status and "secret" not in raised.value.detail


def cloud(**other: Any) -> dict[str, Any]:
    time = "2026-03-01T10:00:00Z"
    return {"specversion": "1.0", "id": "c1", "source": "/shop", "type": "x", "time": time, "data": event(), **other}


def test_a_cloudevent_gives_its_id_and_time_where_the_data_has_none() -> None:
    data = {k: v for k, v in event().items() if k not in ("event_id", "timestamp")}
    (found,) = read("cloudevent", orjson.dumps(cloud(data=data)))
    assert (found["event_id"], found["timestamp"]) == ("c1", "2026-03-01T10:00:00Z")
    batch = read("cloudevents", orjson.dumps([cloud(), cloud(data=data)]))
    assert [e["event_id"] for e in batch] == ["e1", "c1"]
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "c%20",
        "ce-source": "/",
        "ce-type": "x",
        "ce-time": "2026-03-01T10:00Z",
    }
    (found,) = read("binary", orjson.dumps(data), headers)
    assert (found["event_id"], found["timestamp"]) == ("c ", "2026-03-01T10:00Z")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"source": 7}, "source"),
        ({"data": "text"}, "data"),
        ({"data_base64": "e30="}, "data_base64"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
    ],
)
def test_a_cloudevent_that_is_none(changed: dict[str, Any], field: str) -> None:
    (found,) = read("cloudevents", orjson.dumps([cloud(**changed)]))
    assert isinstance(found, Unreadable) and found.field == field


# What the contract says


@pytest.mark.parametrize(
    ("given", "field", "reason"),
    [
        (event(user_id=7), "user_id", "must be text"),
        (event(properties={"size": 2}), "properties", "must be an object whose values are text"),
        (event(timestamp="yesterday"), "timestamp", "must be milliseconds since 1970 as a whole number"),
        (event(timestamp="2026-03-01T10:00:00"), "timestamp", "with a time zone"),
        (event(timestamp=2**63), "timestamp", "must be milliseconds"),
        (event(schema_version=True), "schema_version", "must be a whole number of 32 bits"),
        (event(event_type="push event"), "event_type", "doesn't match"),
        (event(timestamp=0), "timestamp", "below"),
        (event(user_id=""), "user_id", "shorter than 1"),
        (without("user_id"), "user_id", "missing"),
        (event(event_id=None), "event_id", "missing"),
        (event(usr_id="ann"), "usr_id", "is no field of the contract"),
        ({}, "event_id", "missing"),
    ],
)
def test_a_refused_event_is_told_its_field_and_why(given: dict[str, Any], field: str, reason: str) -> None:
    found = check(USER_EVENTS, [event(event_id="first"), given, event(event_id="last")])
    (refused,) = found.refused
    assert (refused.index, refused.field) == (1, field) and reason in refused.reason
    assert found.indexes == [0, 2] and found.events["event_id"].to_list() == ["first", "last"]


def test_no_reason_holds_a_value() -> None:
    secret = "secret-4711"
    given = [event(event_type=secret), event(timestamp=secret), event(event_id=[secret]), event(properties=secret)]
    assert secret not in json.dumps([r.reason for r in check(USER_EVENTS, given).refused])


def test_all_wrong_in_one_way_and_another() -> None:
    given = [event(user_id=""), Unreadable(None, "must be a JSON object"), event(user_id=1), event(x=1)]
    found = check(USER_EVENTS, given)
    assert [r.index for r in found.refused] == [0, 1, 2, 3] and not found.indexes and found.events.is_empty()


def test_times_with_a_zone_are_taken_as_they_are_meant() -> None:
    given = [event(timestamp=t) for t in ("2026-03-01T10:00:00Z", "2026-03-01T11:00:00.000+01:00", 1772359200000)]
    found = check(USER_EVENTS, given)
    assert not found.refused and found.events["timestamp"].n_unique() == 1
    assert found.events["timestamp"].to_physical()[0] == 1772359200000


def test_numbers_as_large_as_json_has_them() -> None:
    metric = next(c for c in load_contracts(CONTRACTS) if c.stream == "metric_events")
    doubles = [f.name for f in metric.fields if f.type == "double"]
    assert doubles
    for text in (b"18446744073709551615", b"1e308", b"123456789012345678901234567890"):
        given = read("json", b'{"%s": %s}' % (doubles[0].encode(), text))
        assert [r.field for r in check(metric, given).refused] != [doubles[0]]


def test_requests_that_are_checked_together_have_their_own_verdicts() -> None:
    wrong, right = event(user_id=""), [event(event_id=i) for i in "abc"]
    found = check(USER_EVENTS, [wrong, right[0], right[1], wrong, right[2]])
    keys = [k.encode() for k in found.events["event_id"].to_list()]
    parts = [part_of(found, keys, keys, start, stop) for start, stop in ((0, 2), (2, 3), (3, 4), (4, 5))]
    assert [p.values for p in parts] == [[b"a"], [b"b"], [], [b"c"]]
    assert [p.indexes for p in parts] == [[1], [0], [], [0]]
    assert [[(r.index, r.field) for r in p.refused] for p in parts] == [[(0, "user_id")], [], [(0, "user_id")], []]
    assert [p.events for p in parts] == [2, 1, 1, 1]
