"""A stream's books."""

from datetime import UTC, datetime, timedelta

from streamgauge.state.accounts import account
from streamgauge.stores.progress import Progress

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WATERMARK_MS = int(NOW.timestamp() * 1000)


def progress(partition: int, start: int, position: int, **other: int | None) -> Progress:
    counters: dict[str, int | None] = dict.fromkeys(("late", "duplicates", "dead_letters", "lost", "skipped"), 0)
    values = {**counters, "counted": position - start, "watermark_ms": WATERMARK_MS, **other}
    return Progress(partition=partition, start=start, next=position, **values)  # pyright: ignore[reportArgumentType]


def test_every_record_is_in_one_place() -> None:
    books = account(
        "s",
        [
            progress(0, 10, 110, counted=80, late=10, duplicates=6, dead_letters=4),
            progress(1, 0, 50, counted=30, lost=20),
        ],
        {0: (10, 150), 1: (20, 50)},
        NOW,
    )
    assert books.acknowledged == 140 + 50
    assert (books.counted, books.late, books.duplicates, books.dead_letters) == (110, 10, 6, 4)
    assert (books.lost, books.lag) == (20, 40)
    assert books.adds_up


def test_a_record_that_is_nowhere_is_noticed() -> None:
    assert not account("s", [progress(0, 0, 100, counted=99)], {0: (0, 100)}, NOW).adds_up


def test_offsets_that_hold_no_record_were_never_acknowledged() -> None:
    books = account("s", [progress(0, 0, 100, counted=98, skipped=2)], {0: (0, 100)}, NOW)
    assert books.acknowledged == 98
    assert books.adds_up


def test_a_partition_without_a_worker_is_all_lag() -> None:
    books = account("s", [], {0: (5, 25)}, NOW)
    assert (books.acknowledged, books.lag, books.watermark) == (20, 20, None)
    assert books.freshness_seconds is None
    assert books.adds_up


def test_the_slowest_partition_with_events_says_how_far_the_stream_is() -> None:
    books = account(
        "s",
        [
            progress(0, 0, 1),
            progress(1, 0, 1, watermark_ms=WATERMARK_MS - 5000),
            progress(2, 0, 0, watermark_ms=None),
        ],
        {0: (0, 1), 1: (0, 1), 2: (0, 0)},
        NOW,
    )
    assert books.watermark == NOW - timedelta(seconds=5)
    assert books.freshness_seconds == 5
