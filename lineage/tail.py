"""Looking for an event in the log itself, behind the lake's end."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from streamgauge.contracts import Contract
from streamgauge.decode import ROW, Decoder
from streamgauge.errors import UserError
from streamgauge.kafka import consumer_config, kafka_error
from streamgauge.lake import ERROR, INGEST_TIME, MILLISECONDS, OFFSET, PARTITION
from streamgauge.registry import Registry, SchemaNotFound
from streamgauge.settings import Settings

_BATCH = 20_000
_SECONDS = 10.0
MOST = 5_000_000
"""Records that are looked through at most: more are the lake's business."""


def search_log(settings: Settings, contract: Contract, event_id: str, ends: Mapping[int, int]) -> pl.DataFrame:
    """The records with this id from the offsets `ends` on, as rows of the lake, with no hour of the lake's.

    Raises UserError where more than MOST records would have to be read.
    """
    consumer = Consumer(consumer_config(settings, f"{contract.group}-trace"))
    registry = Registry(settings.registry_url)
    decoder = Decoder(contract, lambda schema_id: _schema(registry, schema_id))
    found: list[pl.DataFrame] = []
    try:
        wanted: dict[int, int] = {}
        assigned: list[TopicPartition] = []
        for partition in range(contract.topic_spec.partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(contract.topic, partition), _SECONDS)
            start = max(low, ends.get(partition, low))
            if start < high:
                wanted[partition] = high
                assigned.append(TopicPartition(contract.topic, partition, start))
        behind = sum(wanted[p.partition] - p.offset for p in assigned)
        if behind > MOST:
            raise UserError(
                f"the lake of {contract.stream} is {behind:,} records behind the log, too many to look through",
                "let Dagster take the hour: streamgauge backfill lake",
            )
        consumer.assign(assigned)
        while wanted:
            messages = consumer.consume(_BATCH, _SECONDS)
            if not messages:
                break
            decoded = decoder.decode([m.value() for m in messages]).frame
            same = decoded.filter(pl.col(contract.event_id) == event_id)
            rows: list[int] = same[ROW].to_list()
            found += [_as_in_lake(same.slice(i, 1), messages[row]) for i, row in enumerate(rows)]
            for message in messages:
                partition, offset = message.partition(), message.offset()
                if partition in wanted and offset is not None and offset + 1 >= wanted[partition]:
                    del wanted[partition]
    except KafkaException as e:
        raise kafka_error(e) from e
    finally:
        consumer.close()
    return pl.concat(found) if found else pl.DataFrame(schema={PARTITION: pl.Int32})


def _schema(registry: Registry, schema_id: int) -> dict[str, Any] | None:
    try:
        return registry.schema(schema_id)
    except SchemaNotFound:
        return None


def _as_in_lake(row: pl.DataFrame, message: Message) -> pl.DataFrame:
    return row.drop(ROW).with_columns(
        pl.lit(message.partition(), pl.Int32).alias(PARTITION),
        pl.lit(message.offset(), pl.Int64).alias(OFFSET),
        pl.lit(message.timestamp()[1], pl.Int64).cast(MILLISECONDS).alias(INGEST_TIME),
        pl.lit(None, pl.String).alias(ERROR),
    )
