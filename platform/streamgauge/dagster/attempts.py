"""When what failed is asked for again: a little later each time, so that what can't succeed costs little."""

from datetime import timedelta

FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)
MEMORY = timedelta(hours=4)
"""Runs older than this are forgotten: by then the waits have long been the longest."""


def wait(attempts: int) -> timedelta:
    """After so many failed attempts in a row, at least one."""
    return min(FIRST_WAIT * 2 ** (min(attempts, 16) - 1), LONGEST_WAIT)
