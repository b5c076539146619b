"""Hours of UTC, named alike everywhere: in Dagster's partitions, in the lake's folders and on the command line."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from streamgauge.errors import UserError

HOUR = timedelta(hours=1)
SETTLED = timedelta(seconds=10)
"""After an hour's end by our clock, it is over by the broker's too."""
HOUR_FORMAT = "%Y-%m-%d-%H"
DAY_FORMAT = "%Y-%m-%d"


class HourRange(NamedTuple):
    """Contiguous hours, both ends included."""

    first: datetime
    last: datetime

    @property
    def keys(self) -> list[str]:
        return [hour_key(h) for h in self.hours]

    @property
    def hours(self) -> list[datetime]:
        return [self.first + i * HOUR for i in range((self.last - self.first) // HOUR + 1)]


def hour_key(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(HOUR_FORMAT)


def hour_of(key: str) -> datetime:
    return datetime.strptime(key, HOUR_FORMAT).replace(tzinfo=UTC)


def hour_start(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def is_closed(hour: datetime, now: datetime) -> bool:
    return now >= hour + HOUR + SETTLED


def parse_hour(text: str) -> datetime:
    """An hour as a person writes it: 2026-11-05-07, a day, or an ISO time on the hour; UTC where none is said.

    Raises UserError for a time within an hour: whether that hour was meant nobody can tell.
    """
    try:
        return hour_of(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as e:
        raise UserError(f"{text!r} is no hour", "write it as 2026-11-05-07, 2026-11-05T07:00 or 2026-11-05") from e
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    hour = hour_start(moment)
    if moment != hour:
        raise UserError(f"{text!r} is within an hour", f"write {hour_key(hour)} or {hour_key(hour + HOUR)}")
    return hour


def parse_hours(begin: str, end: str) -> HourRange:
    """The hours from `begin` up to `end`, which is not one of them. Raises UserError where there are none."""
    first, after = parse_hour(begin), parse_hour(end)
    if after <= first:
        raise UserError(
            f"from {hour_key(first)} to {hour_key(after)} there is no hour",
            f"--to is not included: for the one hour write --from {hour_key(first)} --to {hour_key(first + HOUR)}",
        )
    return HourRange(first, after - HOUR)


def contiguous(hours: Iterable[datetime], longest: int) -> list[HourRange]:
    """The fewest ranges of at most `longest` hours that cover exactly these hours."""
    ranges: list[HourRange] = []
    for hour in sorted(set(hours)):
        if ranges and hour - ranges[-1].last == HOUR and (hour - ranges[-1].first) // HOUR < longest:
            ranges[-1] = HourRange(ranges[-1].first, hour)
        else:
            ranges.append(HourRange(hour, hour))
    return ranges
