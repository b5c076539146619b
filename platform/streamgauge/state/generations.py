"""Which generations of a stream's rollups there are, and how far the one is that is being filled."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import psycopg

from streamgauge.contract.fingerprint import AS_JSON
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.stores.postgres import Connection
from streamgauge.text import plural


class Superseded(UserError):
    """What goes by a contract whose generation is not, or no longer, the one to be worked by."""


@dataclass(frozen=True)
class Generation:
    """One that is neither current nor retired is being filled."""

    stream: str
    number: int
    fingerprint: str
    contract: str
    """As JSON."""
    asked_at: datetime
    current_since: datetime | None
    retired_at: datetime | None
    dropped_at: datetime | None

    @property
    def pending(self) -> bool:
        return self.current_since is None and self.retired_at is None

    def as_contract(self) -> Contract:
        return replace(AS_JSON.validate_json(self.contract), generation=self.number)


@dataclass(frozen=True)
class Filling:
    """A generation that is being filled, and how many of its hours are done."""

    generation: int
    asked_at: datetime
    hours: int
    done: int

    def __str__(self) -> str:
        made = f"{self.done} of {plural(self.hours, 'hour')} are made" if self.hours else "not begun"
        return f"generation {self.generation} of its rollups is being filled: {made}"


def read_generations(connection: Connection) -> Mapping[str, list[Generation]]:
    """By stream, in their order; none before the first `apply`."""
    found: dict[str, list[Generation]] = defaultdict(list)
    try:
        with connection.transaction():
            rows = connection.execute(
                "select stream, generation, fingerprint, contract, asked_at, current_since, retired_at, dropped_at"
                " from rollup_generations order by stream, generation"
            ).fetchall()
    except psycopg.errors.UndefinedTable:
        return {}
    for row in rows:
        generation = Generation(*row)
        found[generation.stream].append(generation)
    return found


def read_filling(connection: Connection) -> Mapping[str, Filling]:
    """By stream, of those that have one."""
    try:
        with connection.transaction():
            rows = connection.execute(
                "select g.stream, g.generation, g.asked_at, count(h.hour),"
                " count(*) filter (where h.minutes and h.rolled)"
                " from rollup_generations g left join generation_hours h using (stream, generation)"
                " where g.current_since is null and g.retired_at is null group by g.stream, g.generation, g.asked_at"
            ).fetchall()
    except psycopg.errors.UndefinedTable:
        return {}
    return {stream: Filling(*rest) for stream, *rest in rows}


_GENERATION_LOCK = "hashtext('streamgauge.generation'), hashtext(%s)"


def hold_generation(connection: Connection, contract: Contract) -> None:
    """Keeps the stream's generation as it is until the transaction ends. Raises Superseded where it is not the
    contract's: what is then written would be in tables that nobody reads any more.
    """
    connection.execute(f"select pg_advisory_xact_lock_shared({_GENERATION_LOCK})", (contract.stream,))
    present = present_generation(connection, contract)
    if present != contract.generation:
        raise Superseded(
            f"{contract.stream}: generation {present} of its rollups took the place of {contract.generation}",
            "it is taken up within seconds; what was begun before is to be run again",
        )


def present_generation(connection: Connection, contract: Contract) -> int:
    """The one that is read; the contract's own where it was never applied."""
    query = "select generation from applied_contracts where stream = %s"
    row = connection.execute(query, (contract.stream,)).fetchone()
    return contract.generation if row is None else row[0]


def lock_generation(connection: Connection, stream: str) -> None:
    """Waits for all that hold the stream's generation, and keeps others from it until the transaction ends."""
    connection.execute(f"select pg_advisory_xact_lock({_GENERATION_LOCK})", (stream,))
