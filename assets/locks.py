"""One writer at a time for each partition of an asset, however many runs and backfills ask for it."""

import logging
import zlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime

from assets.resources import BatchResource
from streamgauge.dagster.hours import HOUR
from streamgauge.dagster.keys import AssetPath
from streamgauge.stores.postgres import Connection

log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PartitionLock:
    """Held as long as its own connection lives, so a killed run leaves none behind."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check(self) -> None:
        """Raises if Postgres dropped the connection, and the lock with it. To be asked just before a write is final."""
        self._connection.execute("select 1")


@contextmanager
def partition_lock(batch: BatchResource, path: AssetPath, hours: Iterable[datetime]) -> Generator[PartitionLock]:
    """Waits until no other run writes these hours of this asset. Locks are taken in the hours' order, so two runs that
    each want several can't wait for each other; don't ask for more while holding some of the same asset.
    """
    asset = _signed(zlib.crc32("/".join(path).encode()))
    with batch.connect(autocommit=True) as connection:
        for hour in sorted(set(hours)):
            key = (asset, (hour - _EPOCH) // HOUR)
            row = connection.execute("select pg_try_advisory_lock(%s::int, %s::int)", key).fetchone()
            if row != (True,):
                log.info("%s: another run is writing %s; waiting for it", "/".join(path), hour)
                connection.execute("select pg_advisory_lock(%s::int, %s::int)", key)
        yield PartitionLock(connection)


def _signed(word: int) -> int:
    """As Postgres's 32-bit integer."""
    return word - (1 << 32) if word >= 1 << 31 else word
