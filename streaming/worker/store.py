"""One fenced transaction a batch."""

import time

from opentelemetry.trace import SpanKind

from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.tracing import past, statement
from streaming.worker.claims import Claims
from streaming.worker.commit_rows import write_arrivals, write_dead_letters, write_delay
from streaming.worker.minute_rows import MinuteRows
from streaming.worker.pipeline import Delta


class Store:
    """What one worker keeps of one stream. Every method uses the connection it is given and leaves it outside a
    transaction.
    """

    def __init__(self, contract: Contract, owner: str) -> None:
        self._contract = contract
        self._owner = owner
        self.claims = Claims(contract, owner)
        self.minutes = MinuteRows(contract)

    def commit(self, connection: Connection, delta: Delta) -> None:
        """Writes a delta. Raises Fenced, and changes nothing, where a partition is not as the delta left it."""
        with connection.transaction():
            with statement("UPDATE", "stream_offsets", len(delta.partitions)):
                self.claims.advance(connection, delta)
            with statement("INSERT", self._contract.minutes_table, delta.minutes.height):
                self.minutes.write_minutes(connection, delta)
            with statement("INSERT", self._contract.top_table, len(delta.tops)):
                self.minutes.write_tops(connection, delta)
            with statement("INSERT", "dead_letters", len(delta.dead_letters)):
                write_dead_letters(connection, self._contract, delta.dead_letters)
            with statement("INSERT", "stream_arrivals", len(delta.arrivals)):
                write_delay(connection, self._contract, self._owner, delta)
                write_arrivals(connection, self._contract, delta.arrivals)
            for p in delta.partitions:
                if p.pause:
                    self.claims.pause(connection, p.after.partition, p.pause)
            written = time.time_ns()
        past("COMMIT", written, {a.DB_SYSTEM.name: "postgresql", a.DB_OPERATION.name: "COMMIT"}, kind=SpanKind.CLIENT)
