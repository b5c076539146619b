"""What a request for rollups asks, checked against the contract and the limits."""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import orjson

from serving.problems import INVALID, TOO_LONG, Problem
from serving.rollups.measures import cheap, measures_of, merged_by_sql, sketches_of
from streamgauge.contract.measures import StoredColumn
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR
from streamgauge.rollup import windows as rollups
from streamgauge.rollup.measure_kinds import Figure
from streamgauge.rollup.windows import MINUTE, Window

WINDOWS = {
    **rollups.WINDOWS,
    "15m": timedelta(minutes=15),
    "3h": timedelta(hours=3),
    "1d": timedelta(days=1),
}
RANGE = "range"
"""The window that is the whole range."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHOWN = 60
"""How many windows, where no time is given."""
LONGEST_RANGE = timedelta(days=400)
"""Of a window that is the whole range: each of its hours is looked at."""
MAX_WINDOWS = 20_000
MAX_STARTS = 60
"""Of how many windows a moment may be part: each is one more copy of it to be summed."""
MAX_ROWS = 100_000
MAX_VALUES = 100
"""To filter by."""

Fill = Literal["none", "zero"]


@dataclass(frozen=True)
class Asked:
    contract: Contract
    window: Window
    window_name: str
    hop_name: str
    start: datetime
    end: datetime
    group_by: tuple[str, ...]
    where: Mapping[str, tuple[str, ...]]
    measures: tuple[Figure, ...]
    fill: Fill
    limit: int | None
    after: tuple[Any, ...] | None
    """The window start and group of the last row of the page before."""

    @property
    def origin(self) -> datetime:
        """Windows start at multiples of their hop since then."""
        return self.start if self.window_name == RANGE else EPOCH

    @property
    def first(self) -> datetime:
        """The first start of a window."""
        return aligned(self.start, self.window.hop, self.origin)

    @property
    def stop(self) -> datetime:
        """Where the last window's reach ends."""
        last = aligned(self.end, self.window.hop, self.origin) - self.window.hop
        return max(self.first, last + self.window.size)

    @property
    def hourly(self) -> bool:
        """Windows are made of whole hours."""
        return self.window.hop % HOUR == timedelta(0) == (self.origin - EPOCH) % HOUR

    @property
    def stored(self) -> tuple[StoredColumn, ...]:
        """The columns that SQL merges."""
        return merged_by_sql(self.measures)

    @property
    def sketches(self) -> tuple[str, ...]:
        """The columns of sketches that the measures need."""
        return sketches_of(self.measures)

    @property
    def fingerprint(self) -> str:
        """Of all but the page: a cursor belongs to one question."""
        text = repr(
            (
                self.contract.stream,
                self.window,
                self.start,
                self.end,
                self.group_by,
                sorted(self.where.items()),
                [m.name for m in self.measures],
                self.fill,
            )
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def cursor(self, last: Sequence[Any]) -> str:
        start: datetime = last[0]
        place = [round(start.timestamp()), *last[1:]]
        return base64.urlsafe_b64encode(orjson.dumps([self.fingerprint, place])).decode().rstrip("=")

    def after_cursor(self, cursor: str) -> "Asked":
        return replace(self, after=self._place(cursor))

    def _place(self, cursor: str) -> tuple[Any, ...]:
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            read: Any = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            fingerprint, place = read
            start = datetime.fromtimestamp(int(place[0]), UTC)
            groups = tuple(cast(list[Any], place[1:]))
        except (ValueError, TypeError, KeyError, IndexError, OverflowError, OSError, binascii.Error) as e:
            raise _invalid("cursor", "The cursor is damaged.", "Use `next` of the page before as it is.") from e
        fits = len(groups) == len(self.group_by) and all(isinstance(g, str) and "\0" not in g for g in groups)
        if fingerprint != self.fingerprint or not fits:
            raise _invalid(
                "cursor", "The cursor belongs to another question.", "Change nothing but `limit` between two pages."
            )
        return (start, *groups)


def window_of(size: str, hop: str | None) -> Window:
    window = Window(WINDOWS[size], WINDOWS[hop or size])
    if window.hop > window.size or window.size % window.hop:
        raise _invalid("hop", f"A window of {size} can't hop by {hop}.", "Give a hop that divides the window.")
    if window.size // window.hop > MAX_STARTS:
        raise _invalid(
            "hop",
            f"Windows of {size} that hop by {hop} overlap {window.size // window.hop} times.",
            "Use a longer hop.",
        )
    return window


def whole_range(start: datetime | None, end: datetime | None, hop: str | None) -> Window:
    """The range as one window, of minutes, which are the shortest rows."""
    if hop is not None:
        raise _invalid("hop", "One window of the whole range can't hop.", "Leave `hop` out.")
    if start is None or end is None:
        missing = "from" if start is None else "to"
        raise _invalid(missing, f"The range has no `{missing}`.", "Give both `from` and `to`.")
    for name, time in (("from", start), ("to", end)):
        if time.second or time.microsecond:
            raise _invalid(name, f"{time.isoformat()} is within a minute.", "Give whole minutes.")
    if end - start > LONGEST_RANGE:
        raise Problem(TOO_LONG, f"The range is longer than {LONGEST_RANGE.days} days.", parameter="from")
    return Window(end - start, end - start)


def check_range(window: Window, start: datetime, end: datetime) -> None:
    if end <= start:
        raise _invalid("to", f"The range ends at {end.isoformat()}, before it begins.", "Give a `to` after `from`.")
    windows = (end - start) // window.hop
    if windows > MAX_WINDOWS:
        raise Problem(
            TOO_LONG,
            f"The range has {windows} windows, and {MAX_WINDOWS} are allowed.",
            f"Ask for at most {MAX_WINDOWS * window.hop}, or for a longer window or hop.",
            parameter="from",
        )


def parse_time(name: str, text: str | None) -> datetime | None:
    """ISO 8601; UTC where it says no zone. A `+` that a client left bare in the URL arrives as a space."""
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text.strip().replace(" ", "+") if text.count(":") > 1 and "T" in text else text)
        read = (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise _invalid(name, f"{text!r} is no time.", "Write it in ISO 8601, such as 2026-01-31T13:45:00Z.") from e
    if not EPOCH <= read < _LATEST:
        raise _invalid(name, f"{text!r} is out of range.", "Use a time between 1970 and 2100.")
    return read


_LATEST = datetime(2100, 1, 1, tzinfo=UTC)


def names(values: Sequence[str] | None) -> tuple[str, ...]:
    """Repeated or separated by commas."""
    parts = [part.strip() for value in values or () for part in value.split(",")]
    return tuple(dict.fromkeys(p for p in parts if p))


def groups_of(contract: Contract, asked: Sequence[str] | None) -> tuple[str, ...]:
    groups = names(asked)
    for name in groups:
        _known_dimension(contract, "group_by", name)
    return groups


def filters_of(contract: Contract, asked: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for text in asked or ():
        name, colon, value = text.partition(":")
        if not colon:
            raise _invalid("where", f"{text!r} names no value.", "Write it as dimension:value.")
        if "\0" in value:
            raise _invalid("where", f"{text!r} has a NUL character, which no dimension has.", "Leave it out.")
        _known_dimension(contract, "where", name)
        found[name] = (*found.get(name, ()), value)
    if sum(map(len, found.values())) > MAX_VALUES:
        raise _invalid("where", f"More than {MAX_VALUES} values to filter by.", "Ask several times, or group instead.")
    return found


def _known_dimension(contract: Contract, parameter: str, name: str) -> None:
    if name not in contract.dimension_names:
        raise _invalid(
            parameter,
            f"{contract.stream} has no dimension {name!r}.",
            f"Its dimensions are {', '.join(contract.dimension_names)}.",
        )


def wanted_measures(contract: Contract, asked: Sequence[str] | None) -> tuple[Figure, ...]:
    known = measures_of(contract)
    wanted = names(asked)
    if not wanted:
        return cheap(known.values())
    for name in wanted:
        if name not in known:
            raise _invalid(
                "measures", f"{contract.stream} has no measure {name!r}.", f"Its measures are {', '.join(known)}."
            )
    return tuple(known[name] for name in wanted)


def aligned(time: datetime, step: timedelta, origin: datetime = EPOCH) -> datetime:
    """The first multiple of `step` since `origin` that is not before `time`."""
    return origin + -((origin - time) // step) * step


def default_range(window: Window, newest: datetime) -> tuple[datetime, datetime]:
    """The windows up to the newest minute."""
    end = newest + MINUTE
    return end - window.size - (SHOWN - 1) * window.hop, end


def _invalid(parameter: str, detail: str, hint: str) -> Problem:
    return Problem(INVALID, detail, hint, parameter=parameter)
