"""One fenced transaction a batch."""

from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection
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
            self.claims.advance(connection, delta)
            self.minutes.write_minutes(connection, delta)
            self.minutes.write_tops(connection, delta)
            write_dead_letters(connection, self._contract, delta.dead_letters)
            write_delay(connection, self._contract, self._owner, delta)
            write_arrivals(connection, self._contract, delta.arrivals)
            for p in delta.partitions:
                if p.pause:
                    self.claims.pause(connection, p.after.partition, p.pause)
