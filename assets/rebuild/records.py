"""The records of some hours of event time: from the lake what it has, the rest from Kafka."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import polars as pl
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from quality.reconciliation.coverage import Span
from streamgauge.contracts import Contract
from streamgauge.decode import ROW, Decoder
from streamgauge.errors import UserError
from streamgauge.kafka import consumer_config
from streamgauge.lake import ERROR, INGEST_TIME, MILLISECONDS, OFFSET, PARTITION, contract_columns, lake_table
from streamgauge.registry import Registry, SchemaNotFound
from streamgauge.settings import Settings

_BATCH = 20_000
_ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Times:
    """Event times that matter: the hours to rebuild, and around them as far as event ids are remembered."""

    start: datetime
    end: datetime
    horizon: timedelta

    @staticmethod
    def of(contract: Contract, start: datetime, end: datetime) -> "Times":
        return Times(start, end, timedelta(seconds=contract.time.duplicateHorizonSeconds))

    def around(self, contract: Contract) -> pl.Expr:
        at = pl.col(contract.event_time)
        return (at >= self.start - self.horizon) & (at < self.end + self.horizon)


def schema(contract: Contract) -> pl.Schema:
    columns: dict[str, Any] = {**contract_columns(contract), PARTITION: pl.Int32(), OFFSET: pl.Int64()}
    return pl.Schema({**columns, INGEST_TIME: MILLISECONDS})


def in_lake(settings: Settings, contract: Contract, ingest_hours: Sequence[str], times: Times) -> pl.DataFrame:
    """Decoded records only: what the lake couldn't decode, the worker couldn't."""
    rows = lake_table(settings.lake, contract).scan(ingest_hours)
    return rows.filter(pl.col(ERROR).is_null(), times.around(contract)).select(list(schema(contract))).collect()


class Log:
    """Reads spans of the stream's topic. Joins no group and commits nothing, so no worker notices."""

    def __init__(self, settings: Settings, contract: Contract, registry: Registry) -> None:
        self._contract = contract
        self._registry = registry
        self._decoder = Decoder(contract, self._schema_of)
        # the group is the one whose coordinator this login may ask for
        config = {**consumer_config(settings, contract.group), "enable.partition.eof": True}
        self._consumer = Consumer(config)

    def close(self) -> None:
        self._consumer.close()

    def read(self, spans: Mapping[int, Sequence[Span]], times: Times) -> pl.DataFrame:
        """The decodable records of the spans, by partition, with event times that matter."""
        frames = [
            self._decode(partition, messages, times)
            for partition, parts in spans.items()
            for span in parts
            for messages in self._messages(partition, span)
        ]
        return pl.concat(frames) if frames else schema(self._contract).to_frame()

    def _messages(self, partition: int, span: Span) -> Iterator[list[Message]]:
        at, end = span
        topic = self._contract.topic
        low, _ = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_ANSWER_SECONDS)
        if low > at:
            gone = f"{at} to {min(low, end) - 1}"
            raise UserError(
                f"{topic}, partition {partition}: neither the lake nor Kafka has the offsets {gone}",
                "minutes can only be made again from all of their records; nothing was changed",
            )
        self._consumer.assign([TopicPartition(topic, partition, at)])
        heard = time.monotonic()
        try:
            while at < end:
                # no more than is wanted, or it would wait for more while the partition's row is held
                messages = self._consumer.consume(min(_BATCH, end - at), 0.2)
                at, wanted = _taken(messages, at, end)
                if messages:
                    heard = time.monotonic()
                if wanted:
                    yield wanted
                if time.monotonic() - heard > _ANSWER_SECONDS:
                    raise UserError(
                        f"Kafka gives no records of {topic} from offset {at}", "see streamgauge stack status"
                    )
        finally:
            self._consumer.unassign()

    def _decode(self, partition: int, messages: list[Message], times: Times) -> pl.DataFrame:
        frame = self._decoder.decode([m.value() for m in messages]).frame
        positions = pl.DataFrame(
            {
                ROW: pl.Series(range(len(messages)), dtype=pl.UInt32),
                OFFSET: pl.Series([m.offset() for m in messages], dtype=pl.Int64),
                INGEST_TIME: pl.Series([m.timestamp()[1] for m in messages], dtype=pl.Int64).cast(MILLISECONDS),
            }
        )
        placed = frame.filter(times.around(self._contract)).join(positions, on=ROW, how="left")
        return placed.with_columns(pl.lit(partition, pl.Int32).alias(PARTITION)).select(list(schema(self._contract)))

    def _schema_of(self, schema_id: int) -> dict[str, Any] | None:
        try:
            return self._registry.schema(schema_id)
        except SchemaNotFound:
            return None


def _taken(messages: Iterable[Message], at: int, end: int) -> tuple[int, list[Message]]:
    """How far the messages lead, and those before `end`. The end of a partition is a message too: the last offsets
    may hold markers of transactions, which are never delivered.
    """
    wanted: list[Message] = []
    for message in messages:
        error, offset = message.error(), cast(int, message.offset())
        if error is None:
            at = offset + 1
            if offset < end:
                wanted.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:  # pyright: ignore[reportPrivateUsage]
            at = max(at, offset)
        elif not error.retriable():
            raise KafkaException(error)
    return at, wanted
