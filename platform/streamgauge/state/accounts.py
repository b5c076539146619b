"""What became of a stream's records: `acknowledged = counted + late + duplicates + dead letters`."""

# confluent_kafka.admin documents these names as its own, and doesn't list them in __all__.
# pyright: reportPrivateImportUsage=false

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from streamgauge.contract.model import Contract
from streamgauge.state.topics import expected_first_positions
from streamgauge.stores.kafka import kafka_error, topic_partitions
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import Progress, pauses_of, read_progress, watermark_of

_TIMEOUT = 10.0


@dataclass(frozen=True)
class Account:
    """A stream's books. `acknowledged` is by the log's offsets, the rest by what the worker committed."""

    stream: str
    acknowledged: int
    counted: int
    late: int
    duplicates: int
    dead_letters: int
    lost: int
    lag: int
    """Records in the log that the worker has not committed yet."""
    watermark: datetime | None
    freshness_seconds: float | None
    """Now minus the watermark."""
    pauses: tuple[str, ...] = ()

    @property
    def adds_up(self) -> bool:
        known = self.counted + self.late + self.duplicates + self.dead_letters + self.lost
        return self.acknowledged == known + self.lag

    def as_json(self) -> dict[str, Any]:
        row = asdict(self)
        row["watermark"] = None if self.watermark is None else self.watermark.isoformat()
        return {**row, "adds_up": self.adds_up}


def account(
    stream: str,
    progress: Iterable[Progress],
    log: dict[int, tuple[int, int]],
    now: datetime,
) -> Account:
    """`log` is each partition's first and end offset. A partition that no worker has claimed is all lag."""
    known = {p.partition: p for p in progress}
    acknowledged = lag = 0
    for partition, (first, end) in log.items():
        at = known.get(partition)
        start = first if at is None else at.start
        skipped = 0 if at is None else at.skipped
        acknowledged += end - start - skipped
        lag += end - (start if at is None else at.next)
    watermark = watermark_of(known.values())
    return Account(
        stream=stream,
        acknowledged=acknowledged,
        counted=sum(p.counted for p in known.values()),
        late=sum(p.late for p in known.values()),
        duplicates=sum(p.duplicates for p in known.values()),
        dead_letters=sum(p.dead_letters for p in known.values()),
        lost=sum(p.lost for p in known.values()),
        lag=lag,
        watermark=watermark,
        freshness_seconds=None if watermark is None else (now - watermark).total_seconds(),
        pauses=pauses_of(known.values()),
    )


def read_accounts(connection: Connection, admin: AdminClient, contracts: Iterable[Contract]) -> list[Account]:
    found: list[Account] = []
    for contract in contracts:
        progress = read_progress(connection, [contract.topic])[contract.topic]
        # After Postgres: the log only grows, so a lag is never negative.
        log = log_positions(connection, admin, contract)
        found.append(account(contract.stream, progress, log, datetime.now(UTC)))
    return found


def log_positions(connection: Connection, admin: AdminClient, contract: Contract) -> dict[int, tuple[int, int]]:
    """Each partition's first and end position (streamgauge.state.topics). Raises UserError where Kafka won't answer."""
    offsets = log_offsets(admin, contract)
    first = expected_first_positions(connection, admin, contract)
    return {p: (first.get(p, 0) + low, first.get(p, 0) + end) for p, (low, end) in offsets.items()}


def log_offsets(admin: AdminClient, contract: Contract) -> dict[int, tuple[int, int]]:
    """Each partition's first and end offset, of the stream's topic."""
    untyped: Any = admin
    partitions = topic_partitions(contract, lambda: admin)
    ends: list[dict[int, int]] = []
    for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):
        wanted = {TopicPartition(contract.topic, p): spec for p in partitions}
        answers = untyped.list_offsets(wanted, request_timeout=_TIMEOUT)
        try:
            ends.append({at.partition: future.result().offset for at, future in answers.items()})
        except KafkaException as e:
            raise kafka_error(e) from e
    first, end = ends
    return {p: (first[p], end[p]) for p in first}
