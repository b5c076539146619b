"""What is committed and not yet published: dead letters to be forwarded, and how far the counts topic is."""

from collections.abc import Iterable

from streamgauge.contract.model import Contract
from streamgauge.records.fetcher import RawRecord
from streamgauge.stores.postgres import Connection


class Outbox:
    """For one stream's publisher. Every method leaves its connection outside a transaction."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract

    def unforwarded(self, connection: Connection, limit: int) -> list[tuple[RawRecord, str]]:
        """Dead letters that have not yet gone to the dead-letter topic, with their reason."""
        rows = connection.execute(
            """select partition, "offset", key, value, header_names, header_values,
            (extract(epoch from ingest_time) * 1000)::bigint, reason
            from dead_letters where topic = %s and not forwarded order by partition, "offset" limit %s""",
            (self._contract.topic, limit),
        )
        return [
            (RawRecord(p, o, key, value, list(zip(names or [], values or [], strict=True)), ingest), reason)
            for p, o, key, value, names, values, ingest, reason in rows
        ]

    def mark_forwarded(self, connection: Connection, positions: Iterable[tuple[int, int]]) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                """update dead_letters set forwarded = true where topic = %s and partition = %s and "offset" = %s""",
                [(self._contract.topic, p, o) for p, o in positions],
            )

    def mark_published(self, connection: Connection, before: dict[int, int], offsets: dict[int, int]) -> None:
        """The counts topic has all that was committed up to these offsets. Where the mark is no longer what it was
        `before`, minutes were rebuilt meanwhile and must be published again.
        """
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                """update stream_offsets set published_offset = %s
                where topic = %s and partition = %s and published_offset = %s""",
                [(o, self._contract.topic, p, before[p]) for p, o in sorted(offsets.items())],
            )

    def publish_again(self, connection: Connection, before: dict[int, int]) -> None:
        """The counts topic may have older counts of what was committed since these offsets."""
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                """update stream_offsets set published_offset = least(published_offset, %s)
                where topic = %s and partition = %s""",
                [(o, self._contract.topic, p) for p, o in sorted(before.items())],
            )
