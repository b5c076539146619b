"""How the speed layer does, from what the worker keeps in Postgres: nobody asks the worker or Kafka."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import Progress, pauses_of, read_progress, watermark_of
from streamgauge.telemetry.delays import percentile_ms

LATE_SHARE = 0.05
DEAD_LETTER_SHARE = 0.01
RECENT = timedelta(minutes=10)
"""The delays looked at."""

CheckName = Literal["lag", "late_share", "dead_letter_share"]
CHECKS: Mapping[CheckName, str] = {
    "lag": "Events are in the minute rollups within the contract's freshness, and the worker is at work.",
    "late_share": f"At most {LATE_SHARE:.0%} of the records are late: the batch layer has to bring them in.",
    "dead_letter_share": f"At most {DEAD_LETTER_SHARE:.0%} of the records are dead letters.",
}


@dataclass(frozen=True)
class Totals:
    """Of all records since the stream began."""

    records: int
    late: int
    duplicates: int
    dead_letters: int

    def since(self, earlier: "Totals") -> "Totals":
        return Totals(
            self.records - earlier.records,
            self.late - earlier.late,
            self.duplicates - earlier.duplicates,
            self.dead_letters - earlier.dead_letters,
        )


NOTHING = Totals(0, 0, 0, 0)


@dataclass(frozen=True)
class SpeedState:
    """One stream's worker as of its latest commit."""

    totals: Totals
    lag: int
    watermark: datetime | None
    committed_at: datetime
    paused: str | None
    delays: Mapping[int, int]
    """Recent events by the bound of their delay in ms."""


@dataclass(frozen=True)
class Verdict:
    check: CheckName
    passed: bool
    why: str
    figures: Mapping[str, int | float | str]

    @property
    def severity(self) -> Literal["ERROR", "WARN"]:
        """A speed layer behind its freshness is broken; late and bad records are others' doing."""
        return "ERROR" if self.check == "lag" else "WARN"


def read_speed(connection: Connection, contracts: Iterable[Contract], now: datetime) -> dict[str, SpeedState]:
    """By stream; one that no worker has taken up is left out."""
    topics = {c.topic: c.stream for c in contracts}
    delays: dict[str, dict[int, int]] = {}
    for topic, bound, events in connection.execute(
        "select topic, up_to_ms, sum(events)::bigint from stream_delays"
        " where topic = any(%s) and minute >= %s group by topic, up_to_ms",
        (list(topics), now - RECENT),
    ):
        delays.setdefault(topic, {})[bound] = events
    return {
        topics[topic]: _state(progress, delays.get(topic, {}))
        for topic, progress in read_progress(connection, topics).items()
        if progress
    }


def _state(progress: Sequence[Progress], delays: Mapping[int, int]) -> SpeedState:
    totals = Totals(
        sum(p.records for p in progress),
        sum(p.late for p in progress),
        sum(p.duplicates for p in progress),
        sum(p.dead_letters for p in progress),
    )
    return SpeedState(
        totals=totals,
        lag=sum(p.lag for p in progress),
        watermark=watermark_of(progress),
        committed_at=max(p.committed_at for p in progress),
        paused="; ".join(pauses_of(progress)) or None,
        delays=delays,
    )


def check_speed(contract: Contract, state: SpeedState, recent: Totals, now: datetime) -> list[Verdict]:
    """`recent` are the records whose shares are judged."""
    return [
        _lag(contract, state, now),
        _share("late_share", recent.late, recent.records, LATE_SHARE),
        _share("dead_letter_share", recent.dead_letters, recent.records, DEAD_LETTER_SHARE),
    ]


def _lag(contract: Contract, state: SpeedState, now: datetime) -> Verdict:
    allowed, silent = contract.freshness_ms, (now - state.committed_at).total_seconds()
    waited = percentile_ms(state.delays, 0.99)
    figures: dict[str, int | float | str] = {
        "records_behind": state.lag,
        "seconds_since_commit": round(silent, 1),
        "allowed_ms": allowed,
        **({} if waited is None else {"delay_p99_ms": waited}),
    }
    if state.paused:
        return Verdict("lag", False, f"paused: {state.paused}", figures)
    if silent * 1000 > allowed:
        return Verdict("lag", False, f"the worker has not committed for {silent:.0f} s", figures)
    if waited is not None and waited > allowed:
        why = f"99 of 100 recent events waited up to {waited} ms, {allowed} ms are allowed"
        return Verdict("lag", False, why, figures)
    return Verdict("lag", True, f"{state.lag} records behind", figures)


def _share(check: CheckName, found: int, of: int, allowed: float) -> Verdict:
    share = found / of if of else 0.0
    figures: dict[str, int | float | str] = {"found": found, "of": of, "share": share, "allowed": allowed}
    return Verdict(check, share <= allowed, f"{found} of {of} records ({share:.2%})", figures)
