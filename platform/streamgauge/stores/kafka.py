"""Kafka clients as every part of Streamgauge configures them.

https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md lists the settings.
"""

import logging
from collections.abc import Callable
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import Settings

DEAD_LETTER_MAX_BYTES = 2 * 1024 * 1024
"""A dead letter is a record as large as its topic allows, and headers that say what was wrong with it."""
TIMESTAMP_TYPE = "message.timestamp.type"
"""The setting of a topic that says whose times its records have: LogAppendTime, or their producers' CreateTime."""

PASSING = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._PARTITION_EOF)  # pyright: ignore[reportPrivateUsage]
"""What librdkafka tells and goes on by itself."""

UNREACHED_SECONDS = 30.0
"""How long a client may reach no broker before it is replaced by a new one. A broker that shuts down as the last one
says that there is none, and librdkafka then forgets them all, sometimes for good: without this end a client would stay
cut off although Kafka is back. https://github.com/confluentinc/librdkafka/issues/5301
"""

_ANSWER_SECONDS = 10.0
"""How long a broker is waited for: one that is away answers never."""

_log = logging.getLogger("streamgauge.stores.kafka")


def client_config(settings: Settings) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        **_security(settings),
        "client.id": "streamgauge",
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2000,
        # Else librdkafka writes its own lines to stderr, in between of ours.
        "logger": _log,
        **settings.kafka_properties,
    }


def _security(settings: Settings) -> dict[str, str]:
    """Only what the protocol and the mechanism use: librdkafka warns of the rest on each client's start."""
    protocol, mechanism = settings.kafka_security_protocol, settings.kafka_sasl_mechanism
    wanted: dict[str, object] = {"security.protocol": protocol}
    if protocol.startswith("SASL"):
        wanted["sasl.mechanism"] = mechanism
        if mechanism not in ("GSSAPI", "OAUTHBEARER"):
            wanted["sasl.username"] = settings.kafka_username
            wanted["sasl.password"] = settings.kafka_password
    if protocol.endswith("SSL"):
        wanted["ssl.ca.location"] = settings.kafka_ca_file
        wanted["ssl.certificate.location"] = settings.kafka_certificate_file
        wanted["ssl.key.location"] = settings.kafka_key_file
        wanted["ssl.key.password"] = settings.kafka_key_password
    return {name: _text(value) for name, value in wanted.items() if value is not None}


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def consumer_config(settings: Settings, group: str) -> dict[str, Any]:
    """Tuned for throughput: the defaults make a fast consumer wait a second each time its queue was full."""
    return {
        **client_config(settings),
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # An offset that the log no longer has is a gap to be recorded, not to be jumped over silently.
        "auto.offset.reset": "error",
        "fetch.queue.backoff.ms": 5,
        "fetch.max.bytes": 50 * 1024 * 1024,
        # What is queued takes several times its size: it is held decompressed, and each record has a struct around it.
        "max.partition.fetch.bytes": 256 * 1024,
        "queued.max.messages.kbytes": 6 * 1024,
    }


def producer_config(settings: Settings) -> dict[str, Any]:
    """Acknowledged means on all in-sync replicas, in order, and once per send."""
    return {
        **client_config(settings),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": 5,
        # As the Java clients hash, so that a key keeps its partition whoever sends it.
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 64 * 1024,
        "retry.backoff.ms": 100,
        "retry.backoff.max.ms": 2000,
        "delivery.timeout.ms": 120_000,
    }


def kafka_error(error: KafkaException) -> UserError:
    return UserError(f"Kafka: {cast(KafkaError, error.args[0]).str()}", "see streamgauge stack status")


def topic_id(admin: AdminClient, topic: str, timeout: float = 10.0) -> str | None:
    """Kafka's own id of a topic, another one each time that it is created; None where there is no such topic.

    Raises KafkaException where the broker doesn't answer within `timeout` seconds.
    """
    untyped: Any = admin
    asked = untyped.describe_topics(TopicCollection(topic_names=[topic]), request_timeout=timeout)
    try:
        return str(asked[topic].result().topic_id)
    except KafkaException as e:
        if cast(KafkaError, e.args[0]).code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise


def topic_partitions(contract: Contract, admin: Callable[[], AdminClient]) -> range:
    """As the contract says, or as Kafka has it where somebody else makes the topic, who may give it more at any time.

    Raises UserError where Kafka doesn't answer or has no such topic.
    """
    if contract.own_topic is not None:
        return range(contract.own_topic.partitions)
    # it must outlive its answers
    client: Any = admin()
    asked = client.describe_topics(TopicCollection(topic_names=[contract.topic]), request_timeout=_ANSWER_SECONDS)
    try:
        return range(len(asked[contract.topic].result().partitions))
    except KafkaException as e:
        raise kafka_error(e) from e


def producer(settings: Settings) -> Producer:
    return Producer(producer_config(settings))


def admin_client(settings: Settings) -> AdminClient:
    return AdminClient(client_config(settings))
