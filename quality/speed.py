"""How the speed layer does, from what the worker keeps in Postgres: nobody asks the worker or Kafka."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection
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
    rows = connection.execute(
        """select o.topic, sum(o.next_offset - o.start_offset - o.lost - o.skipped)::bigint, sum(o.late)::bigint,
        sum(o.duplicates)::bigint, sum(o.dead_letters)::bigint,
        coalesce(sum(greatest(o.end_offset - o.next_offset, 0)), 0)::bigint,
        to_timestamp(min(o.watermark_ms) / 1000.0), max(o.updated_at),
        string_agg(format('partition %%s: %%s', p.partition, p.reason), '; ' order by p.partition)
        filter (where p.partition is not null)
        from stream_offsets o left join stream_pauses p using (topic, partition)
        where o.topic = any(%s) group by o.topic""",
        (list(topics),),
    )
    return {
        topics[topic]: SpeedState(Totals(*totals), lag, watermark, at, paused, delays.get(topic, {}))
        for topic, *totals, lag, watermark, at, paused in rows
    }


def judge_speed(contract: Contract, state: SpeedState, recent: Totals, now: datetime) -> list[Verdict]:
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
