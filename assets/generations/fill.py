"""Fills a generation of rollups, and then has everybody read it in the place of the one before.

All that a fill makes is in tables that nobody reads yet, and each hour is one transaction, so it can be killed and
begun again. At the end it takes the partitions' rows in `stream_offsets`, as a rebuild does, so that the workers' next
commits wait; makes the minutes that got records since they were made, up to the committed offsets; and makes the
generation the present one, in the same transaction. So no record is missing in it, and none is counted twice: what the
workers commit next is fenced off by a new epoch, and their next session begins with the new tables.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from assets.compare_hours import compare_hours
from assets.generations.minutes import Maker, Span, first_possible, maker
from assets.generations.progress import Progress
from assets.generations.rollups import roll_days, roll_hours, without_facts
from assets.partitions import HOURS_A_RUN
from assets.rebuild.rebuild import only_one
from assets.resources import BatchResource
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, contiguous, hour_start
from streamgauge.errors import UserError
from streamgauge.state.applied import APPLY_LOCK, read_applied_contracts
from streamgauge.state.generations import Superseded, lock_generation, read_generations
from streamgauge.stores.postgres import Connection

log = logging.getLogger(__name__)

_TRIES = 20
"""Each makes what came since the one before, so the last has little to do while the workers wait. More are needed only
where facts are built faster than their rollups are made.
"""
_LOCK_SECONDS = 10
"""For whoever asks a view in SQL for long: the switch must not keep the workers waiting for that. It is tried again."""


@dataclass(frozen=True)
class Filled:
    """A generation that was taken up: its hours, and those whose numbers could not be made again."""

    contract: Contract
    before: int
    """The generation that it takes the place of."""
    hours: Sequence[datetime]
    lost: Sequence[datetime]


_EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Before the first hour: where nothing is missing from its records, all can be made."""


class _NotYet(Exception):
    """Something came between the last look and the locks."""


def fill(
    batch: BatchResource, stream: str, run_id: str, done: Callable[[str, Sequence[datetime]], None]
) -> Filled | None:
    """Of the stream's generation that waits for it; None where there is none. `done` hears of hours that are made, and
    of what. Raises UserError where the records can't be read.
    """
    with batch.connect(autocommit=True) as connection:
        found = _waiting(connection, stream)
        if found is None:
            return None
        present, following = found
        with only_one(connection, following):
            filling = GenerationFill(batch, connection, present, following, done)
            filling.fill()
            filled = filling.take_up(run_id)
        for some in contiguous(filled.hours, HOURS_A_RUN):
            compare_hours(batch, filled.contract, some.hours, run_id)
        return filled


def _waiting(connection: Connection, stream: str) -> tuple[Contract, Contract] | None:
    pending = [g for g in read_generations(connection).get(stream, ()) if g.pending]
    present = read_applied_contracts(connection).get(stream)
    if not pending or present is None:
        return None
    if present.contract is None:
        raise UserError(f"{stream}: what was applied is not known", "run `streamgauge apply`")
    return present.contract, pending[0].as_contract()


class GenerationFill:
    def __init__(
        self,
        batch: BatchResource,
        connection: Connection,
        present: Contract,
        following: Contract,
        done: Callable[[str, Sequence[datetime]], None],
    ) -> None:
        self._batch = batch
        self._connection = connection
        self._present = present
        self._following = following
        self._done = done
        self._progress = Progress(present, following)
        self._first = _EVER
        """Minutes before it can't be made."""
        self._lost: list[datetime] = []
        """Hours whose rollups can't be made."""

    def fill(self) -> None:
        self._progress.begin(self._connection)
        hours = {*self._progress.hours(self._connection), hour_start(datetime.now(UTC))}
        self._first = first_possible(self._batch.settings, self._connection, self._following, [_EVER, *sorted(hours)])
        self._make_minutes()
        self._roll()
        roll_days(self._batch, self._connection, self._following, self.rolled())

    def rolled(self) -> list[datetime]:
        return self._progress.rolled_hours(self._connection)

    def _make_minutes(self) -> None:
        hours = self._progress.hours_without_minutes(self._connection)
        possible = [h for h in hours if h >= self._first]
        if len(possible) < len(hours):
            log.warning(
                "%s: of %d hours neither lake nor Kafka has the records",
                self._following.stream,
                len(hours) - len(possible),
            )
            self._progress.note_minutes(self._connection, set(hours).difference(possible))
        if not possible:
            return
        with maker(self._batch.settings, self._connection, self._following, possible[0]) as minutes:
            ends = minutes.ends()
            for hour in possible:
                with self._connection.transaction():
                    self._check_wanted()
                    minutes.make(hour, hour + HOUR, ends)
                    self._progress.note_minutes(self._connection, [hour])
                self._done("minutes", [hour])

    def _roll(self) -> list[datetime]:
        """Returns the hours that it made."""
        self._lost = without_facts(self._batch, self._connection, self._following)
        self._progress.note_rolled(self._connection, dict.fromkeys(self._lost))
        stale = self._stale()
        for hours in contiguous(stale, HOURS_A_RUN):
            self._check_wanted()
            roll_hours(
                self._batch,
                self._connection,
                self._following,
                self._progress,
                hours.hours,
                lambda made: self._done("rollups", made),
            )
        return stale

    def _stale(self) -> list[datetime]:
        lost = set(self._lost)
        return [h for h in self._progress.stale_hours(self._connection) if h not in lost]

    def take_up(self, run_id: str) -> Filled:
        for _ in range(_TRIES):
            roll_days(self._batch, self._connection, self._following, self._roll())
            since = self._progress.positions(self._connection)
            with maker(self._batch.settings, self._connection, self._following, self._first) as minutes:
                upto = minutes.ends()
                self._catch_up(minutes, since, upto)
                self._progress.note_positions(self._connection, upto)
                with suppress(_NotYet, psycopg.errors.LockNotAvailable), self._connection.transaction():
                    return self._switch(minutes, upto, run_id)
        raise UserError(
            f"{self._following.stream}: its facts change faster than rollups are made of them, or a query keeps a view",
            "it is tried again by itself",
        )

    def _catch_up(self, minutes: Maker, since: Mapping[int, int], upto: Mapping[int, int]) -> None:
        for start, end in self._touched(minutes, since, upto):
            with self._connection.transaction():
                self._check_wanted()
                minutes.make(start, end, upto)

    def _touched(self, minutes: Maker, since: Mapping[int, int], upto: Mapping[int, int]) -> list[Span]:
        return [s for s in minutes.touched(since, upto) if s[0] >= self._first]

    def _switch(self, minutes: Maker, since: Mapping[int, int], run_id: str) -> Filled:
        connection, stream, topic = self._connection, self._following.stream, self._following.topic
        connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'".encode())
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPLY_LOCK,))
        lock_generation(connection, stream)
        self._check_wanted()
        # all of them, in the order in which the workers take them
        partitions = connection.execute(
            "SELECT partition, watermark_ms FROM stream_offsets WHERE topic = %s ORDER BY partition FOR UPDATE",
            (topic,),
        ).fetchall()
        known = {p.partition for p in minutes.sources}
        if self._stale() or any(p not in known for p, watermark in partitions if watermark is not None):
            raise _NotYet
        ends = minutes.ends()
        for start, end in self._touched(minutes, since, ends):
            minutes.make(start, end, ends)
        connection.execute(
            "UPDATE stream_offsets SET epoch = epoch + 1, rebuilt = rebuilt + 1 WHERE topic = %s", (topic,)
        )
        rolled = self.rolled()
        self._revise(rolled, run_id)
        self._begin_anomalies_anew()
        self._progress.forget(connection)
        before = connection.execute(
            "SELECT take_up_generation(%s, %s)", (stream, self._following.generation)
        ).fetchone()
        assert before is not None
        return Filled(self._following, before[0], rolled, self._lost)

    def _revise(self, hours: Sequence[datetime], run_id: str) -> None:
        """Final numbers are unchecked until they are compared with the workers' once more. What of them was made of
        newer facts than the numbers before, and what could not be made, says so by a revision.
        """
        of = {"stream": self._following.stream, "hours": hours, "run": run_id, "lost": self._lost}
        self._connection.execute(
            "INSERT INTO hour_revisions (stream, hour, revision, run_id, facts, reason)"
            " SELECT stream, hour, revision + 1, %(run)s, 0, 'not made again: its facts are kept no longer'"
            " FROM final_hours WHERE stream = %(stream)s AND hour = ANY(%(lost)s)",
            of,
        )
        self._connection.execute(
            "INSERT INTO hour_revisions (stream, hour, revision, run_id, facts, reason)"
            " SELECT stream, hour, f.revision + 1, %(run)s, e.facts, 'made again for another generation of rollups'"
            " FROM event_hours e JOIN final_hours f USING (stream, hour)"
            " WHERE stream = %(stream)s AND hour = ANY(%(hours)s) AND e.rolled < e.built",
            of,
        )
        self._connection.execute(
            "UPDATE hour_revisions r SET checked = false FROM final_hours f WHERE r.stream = %(stream)s"
            " AND r.hour = ANY(%(hours)s) AND (f.stream, f.hour, f.revision) = (r.stream, r.hour, r.revision)",
            of,
        )
        # Long ago: if not by this run they are compared by the sensor late_data.
        self._connection.execute(
            "UPDATE event_hours SET compared_at = to_timestamp(0) WHERE stream = %(stream)s AND hour = ANY(%(hours)s)"
            " AND compared_at IS NOT NULL",
            of,
        )

    def _begin_anomalies_anew(self) -> None:
        """They are of series that there may be no more; the others are learned again of the minutes that were made."""
        of = (self._following.stream,)
        for table in ("anomaly_models", "anomaly_slots", "anomaly_progress"):
            self._connection.execute(f"DELETE FROM {table} WHERE stream = %s".encode(), of)
        self._connection.execute("UPDATE anomalies SET ended = now() WHERE stream = %s AND ended IS NULL", of)

    def _check_wanted(self) -> None:
        if _waiting(self._connection, self._following.stream) != (self._present, self._following):
            raise Superseded(
                f"{self._following.stream}: generation {self._following.generation} is not wanted any more as it was",
                "what was applied since is filled by itself",
            )
