"""Minutes that a watermark completes."""

from streaming.worker.completion import windows_completed

MINUTE = 60_000


def test_the_ends_that_are_passed_and_no_other() -> None:
    assert windows_completed(10 * MINUTE + 1, 10 * MINUTE + 2).tolist() == []
    assert windows_completed(10 * MINUTE - 1, 10 * MINUTE).tolist() == [10 * MINUTE]
    assert windows_completed(10 * MINUTE, 10 * MINUTE + 1).tolist() == []
    assert windows_completed(10 * MINUTE, 12 * MINUTE + 5).tolist() == [11 * MINUTE, 12 * MINUTE]


def test_the_first_watermark_completes_nothing_and_a_long_way_its_latest() -> None:
    assert windows_completed(None, 10 * MINUTE).tolist() == []
    assert windows_completed(10 * MINUTE, None).tolist() == []
    assert windows_completed(0, 1000 * MINUTE).tolist() == [n * MINUTE for n in range(941, 1001)]
