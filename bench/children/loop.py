"""Reads a topic with `Consumer.consume`; with `deserialize` makes a dict of each record too, as Confluent shows."""
# pyright: basic, reportMissingImports=false

import json
import sys
import time

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.serialization import MessageField, SerializationContext

_BATCH = 25_000
_GIVE_UP_SECONDS = 30.0


def main() -> None:
    job = json.load(sys.stdin)
    topic, wanted = job["topic"], job["records"]
    deserialize = None
    if job["deserialize"]:
        from confluent_kafka.schema_registry import SchemaRegistryClient
        from confluent_kafka.schema_registry.avro import AvroDeserializer

        deserialize = AvroDeserializer(
            SchemaRegistryClient(  # pyright: ignore[reportCallIssue]
                {"url": job["registry_url"]}
            )
        )
    context = SerializationContext(topic, MessageField.VALUE)
    consumer = Consumer(job["consumer"])
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    read = before = 0
    began: float | None = None
    cpu = 0.0
    heard = time.perf_counter()
    while read < wanted:
        messages = consumer.consume(_BATCH, 0.1)
        now = time.perf_counter()
        if not messages:
            if now - heard > _GIVE_UP_SECONDS:
                sys.exit(f"after {read} of {wanted} records nothing comes")
            continue
        heard = now
        if deserialize is not None:
            if began is None:
                began, cpu = now, time.process_time()
            for message in messages:
                deserialize(message.value(), context)
        elif began is None:
            # How long the first batch took to come is the connection's affair, so it isn't counted either.
            began, cpu, before = now, time.process_time(), len(messages)
        read += len(messages)
    seconds = time.perf_counter() - (began or 0.0)
    print(json.dumps({"records": read - before, "seconds": seconds, "cpu": time.process_time() - cpu}))  # noqa: T201
    consumer.close()


if __name__ == "__main__":
    main()
