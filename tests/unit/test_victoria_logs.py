"""What is asked of the store of logs, and the address of its answer."""

from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs

from streamgauge.stores.victoria_logs import LogStore, quoted


def test_an_address_has_the_question_with_its_time_in_utc_and_no_login() -> None:
    at = datetime(2026, 1, 31, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    store = LogStore("http://logs:secret@127.0.0.1:19028")
    page = store.page(f"trace_id:={quoted('ab')}", at, at + timedelta(minutes=2))
    place, _, asked = page.partition("#/?")
    assert place == "http://127.0.0.1:19028/select/vmui/"
    assert parse_qs(asked)["query"] == ['_time:[2026-01-31T10:00:00Z, 2026-01-31T10:02:00Z] trace_id:="ab"']


def test_a_value_ends_no_question() -> None:
    assert quoted('a" or *') == r'"a\" or *"'
