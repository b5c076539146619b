"""What can be known before events are sent of what will become of them, and what became of them after.

An event is sent whatever is said here: the batch layer takes late ones up too. But nobody should learn from the numbers
that his events are not in them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import Settings, batch_start
from streamgauge.state.accounts import Account, read_accounts
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import connect_or_explain
from streamgauge.text import moment, number, plural

_POLL_SECONDS = 0.2
"""Each look asks Postgres and Kafka; a command ends so much later than the worker is done."""
_CATCH_UP_SECONDS, _STILL_SECONDS = 15.0, 3.0
"""How long the worker is waited for after the last event, and while it reads nothing: without an end, a command
would hang on a stopped worker. For a long backlog there is `streamgauge streams`."""


@dataclass(frozen=True)
class Forecast:
    """Of `events` to be sent to a stream: how many are late already, and how many too old for the batch layer."""

    stream: str
    events: int
    late: int | None
    """At least so many: partitions may be ahead of the stream. None where its watermark is not known."""
    never_final: int
    limit: datetime | None
    """Events before it are late."""

    def lines(self) -> list[str]:
        lines: list[str] = []
        if self.late is None:
            lines.append("whether events will be late is not known: its watermark can't be read")
        elif self.late:
            lines.append(
                f"{number(self.late)} of {plural(self.events, 'event')} will be late: its watermark stands"
                f" past them, and events before {moment(self.limit)} are not counted in its minutes. The batch layer"
                " counts them, in the hour in which they happened"
            )
        if self.never_final:
            lines.append(
                f"{number(self.never_final)} of {plural(self.events, 'event')} can never be final: the batch layer"
                f" begins at {batch_start()} (STREAMGAUGE_BATCH_START), and quarantines what happened before"
            )
        return [f"{self.stream}: {text}." for text in lines]


def forecast(
    contract: Contract, events: int, before: Callable[[int], int], watermarks: Mapping[str, datetime | None] | None
) -> Forecast:
    """`before`: how many of the events happen before a moment, in epoch ms. `watermarks`: of the streams (None: no
    event yet); None where they can't be read."""
    first_day = datetime.combine(batch_start(), datetime.min.time(), UTC)
    never_final = before(_ms(first_day))
    if watermarks is None:
        return Forecast(contract.stream, events, None, never_final, None)
    watermark = watermarks.get(contract.stream)
    if watermark is None:
        return Forecast(contract.stream, events, 0, never_final, None)
    limit = late_before(contract, watermark)
    return Forecast(contract.stream, events, before(limit), never_final, datetime.fromtimestamp(limit / 1000, UTC))


def late_before(contract: Contract, watermark: datetime) -> int:
    """Events before this moment, in epoch ms, are late."""
    return _ms(watermark) - contract.lateness_ms


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def accounts_of(contracts: Sequence[Contract]) -> dict[str, Account] | None:
    """What became of the streams' records so far; None where Postgres or Kafka can't be asked."""
    settings = Settings.for_role("reader")
    try:
        with closing(connect_or_explain(settings, autocommit=True, application="streamgauge replay")) as connection:
            return {a.stream: a for a in read_accounts(connection, admin_client(settings), contracts)}
    except (UserError, psycopg.Error):
        return None


@dataclass(frozen=True)
class Outcome:
    """What became of a stream's records between two readings of its books, whoever sent them."""

    stream: str
    counted: int
    late: int
    duplicates: int
    dead_letters: int
    lag: int


def outcomes(contracts: Sequence[Contract], before: Mapping[str, Account] | None) -> list[Outcome]:
    """Once the worker has read all, or has not in time. Nothing where the books can't be read."""
    began = moved = time.monotonic()
    lag: int | None = None
    while before is not None and (now := accounts_of(contracts)) is not None:
        left, at = sum(a.lag for a in now.values()), time.monotonic()
        if lag is None or left < lag:
            lag, moved = left, at
        if not left or at - began > _CATCH_UP_SECONDS or at - moved > _STILL_SECONDS:
            return [_between(before[s], a) for s, a in now.items()]
        time.sleep(_POLL_SECONDS)
    return []


def _between(before: Account, now: Account) -> Outcome:
    return Outcome(
        now.stream,
        now.counted - before.counted,
        now.late - before.late,
        now.duplicates - before.duplicates,
        now.dead_letters - before.dead_letters,
        now.lag,
    )
