"""Reading a topic whole, as a worker may."""

import time

from confluent_kafka import Consumer, Message, TopicPartition

from streamgauge.contract.model import Contract
from streamgauge.settings import Settings
from streamgauge.stores.kafka import consumer_config


def read_log(settings: Settings, contract: Contract) -> list[Message]:
    """Every record of the stream's topic, by partition and offset. `settings` are the worker's."""
    # the worker's rights are for this group alone; nothing is committed, so no worker notices
    consumer = Consumer(consumer_config(settings, contract.group))
    try:
        ends = {
            p: consumer.get_watermark_offsets(TopicPartition(contract.topic, p), timeout=10)
            for p in range(contract.topic_spec.partitions)
        }
        consumer.assign([TopicPartition(contract.topic, p, low) for p, (low, _) in ends.items()])
        expected = sum(high - low for low, high in ends.values())
        messages: list[Message] = []
        deadline = time.monotonic() + 30
        while len(messages) < expected:
            assert time.monotonic() < deadline, f"{expected - len(messages)} records of {contract.topic} don't arrive"
            for message in consumer.consume(min(10_000, expected - len(messages)), timeout=1):
                assert message.error() is None, message.error()
                messages.append(message)
    finally:
        consumer.close()
    return sorted(messages, key=lambda m: (m.partition() or 0, m.offset() or 0))
