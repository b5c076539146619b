"""A topic as it is: its settings, its subject, and some of its latest records."""

# confluent_kafka.admin documents these names as its own, and doesn't list them in __all__.
# pyright: reportPrivateImportUsage=false

import json
import time
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import ConfigResource, ResourceType

from streamgauge.errors import UserError
from streamgauge.records.avro import parse, read_record, unframed
from streamgauge.records.registry import Registry, SubjectVersion
from streamgauge.settings import Settings
from streamgauge.stores.kafka import TIMESTAMP_TYPE, admin_client, consumer_config, kafka_error

_ANSWER_SECONDS = 15.0
_SAMPLE_SECONDS = 10.0
"""A partition whose last offsets hold no records, as a transaction leaves them, would be waited for without an end."""


@dataclass(frozen=True)
class Sampled:
    """A record that could be read, and its key as text, if it is one."""

    key: str | None
    record: dict[str, Any]


@dataclass(frozen=True)
class Topic:
    name: str
    partitions: int
    timestamp_type: str
    retention_ms: int
    """Negative where nothing is ever deleted."""
    format: Literal["avro", "json"]
    schema: dict[str, Any] | None
    """The newest of the subject, for Avro."""
    sampled: list[Sampled]
    unreadable: int
    """Records of the sample that are not of the format."""


def read_topic(settings: Settings, registry: Registry, name: str, records: int) -> Topic:
    """Samples at most `records` of the latest. Raises UserError where there is no such topic, or nothing in it."""
    admin: Any = admin_client(settings)
    try:
        present = admin.list_topics(timeout=_ANSWER_SECONDS).topics
        if name not in present:
            raise UserError(f"Kafka has no topic {name}", "see that the name is right")
        partitions = len(present[name].partitions)
        resource = ConfigResource(ResourceType.TOPIC, name)
        config = admin.describe_configs([resource], request_timeout=_ANSWER_SECONDS)[resource].result()
        raw = _latest(settings, name, partitions, records)
    except KafkaException as e:
        raise kafka_error(e) from e
    if not raw:
        raise UserError(
            f"{name} holds no records", "adopt it when something has been sent, or write a contract by hand"
        )
    subject = _subject(registry, name)
    framed = sum(value is not None and value[:1] == b"\0" for _, value in raw)
    avro = subject is not None and 2 * framed > len(raw)
    sampled, unreadable = _read_avro(registry, raw) if avro else _read_json(raw)
    if not sampled:
        raise UserError(
            f"none of {len(raw)} records of {name} can be read as {'Avro' if avro else 'JSON objects'}",
            "topics of Avro with a schema registry, and of plain JSON objects, can be adopted",
        )
    return Topic(
        name,
        partitions,
        config[TIMESTAMP_TYPE].value,
        int(config["retention.ms"].value),
        "avro" if avro else "json",
        subject.schema if avro and subject is not None else None,
        sampled,
        unreadable,
    )


def _subject(registry: Registry, topic: str) -> SubjectVersion | None:
    try:
        return registry.latest(f"{topic}-value")
    except ValueError:
        # of another kind of schema, which is no JSON
        return None


def _latest(settings: Settings, topic: str, partitions: int, records: int) -> list[tuple[bytes | None, bytes | None]]:
    consumer = Consumer({**consumer_config(settings, "streamgauge-adopt"), "enable.partition.eof": True})
    found: list[tuple[bytes | None, bytes | None]] = []
    try:
        each = max(1, records // partitions)
        left: dict[int, int] = {}
        starts: list[TopicPartition] = []
        for p in range(partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=_ANSWER_SECONDS)
            if high > low:
                left[p] = high
                starts.append(TopicPartition(topic, p, max(low, high - each)))
        consumer.assign(starts)
        deadline = time.monotonic() + _SAMPLE_SECONDS
        while left and time.monotonic() < deadline:
            for message in consumer.consume(1000, timeout=0.5):
                error, partition, offset = message.error(), message.partition() or 0, message.offset() or 0
                if error is not None and error.code() != KafkaError._PARTITION_EOF:  # pyright: ignore[reportPrivateUsage]
                    raise KafkaException(error)
                if error is None and partition in left:
                    found.append((_bytes(message.key()), _bytes(message.value())))
                if partition in left and (error is not None or offset >= left[partition] - 1):
                    del left[partition]
    finally:
        consumer.close()
    return found


def _bytes(data: str | bytes | None) -> bytes | None:
    return data.encode() if isinstance(data, str) else data


def _text(key: bytes | None) -> str | None:
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        return None


def _read_json(raw: list[tuple[bytes | None, bytes | None]]) -> tuple[list[Sampled], int]:
    found: list[Sampled] = []
    for key, value in raw:
        try:
            read: Any = json.loads(value or b"")
        except ValueError:
            continue
        if isinstance(read, dict):
            found.append(Sampled(_text(key), cast(dict[str, Any], read)))
    return found, len(raw) - len(found)


def _read_avro(registry: Registry, raw: list[tuple[bytes | None, bytes | None]]) -> tuple[list[Sampled], int]:
    found: list[Sampled] = []
    parsed: dict[int, Any] = {}
    for key, value in raw:
        framed = None if value is None else unframed(value)
        if framed is None:
            continue
        schema_id, record = framed
        try:
            if schema_id not in parsed:
                parsed[schema_id] = parse(registry.find_schema(schema_id))
            found.append(Sampled(_text(key), read_record(BytesIO(record), parsed[schema_id])))
        except UserError:
            raise
        except Exception:
            # fastavro raises many types, and their texts may quote the record
            continue
    return found, len(raw) - len(found)
