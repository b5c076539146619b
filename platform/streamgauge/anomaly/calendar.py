"""Where a minute stands in the day and in the week. Minutes are numbered from 1970-01-01T00:00Z; days are UTC's."""

DAY_SLOTS = 96
"""Quarters of an hour, each known by its middle; between two middles a series is taken to go straight."""
WEEK_SLOTS = 168
"""Hours of the week, from Monday's first: what differs between days may change at once, at midnight."""

_DAY = 1440
_THURSDAY = 72
"""1970 began on a Thursday."""


def day_slots(minute: int) -> tuple[int, int, float]:
    """The two quarters of an hour that the minute lies between, and the weight of the second."""
    lower, within = divmod((minute % _DAY + 0.5) * DAY_SLOTS / _DAY - 0.5, 1)
    return int(lower) % DAY_SLOTS, (int(lower) + 1) % DAY_SLOTS, within


def week_slot(minute: int) -> int:
    return (minute // 60 + _THURSDAY) % WEEK_SLOTS
