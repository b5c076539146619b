"""Fills a topic with good events as fast as one process can, for benchmarks.

A few thousand records are encoded once; after that only the event id and the time in them are replaced. There are no
headers and no report for each record, so use `load` where what became of a record matters.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import repeat

import numpy as np
from confluent_kafka import KafkaError, Message, Producer

from streamgauge.contract.model import Contract
from streamgauge.producer.encode import encode_longs
from streamgauge.producer.producer import EventProducer
from streamgauge.producer.sender import NotDelivered
from streamgauge.settings import Settings
from streamgauge.stores.kafka import producer_config
from streaming.load.generate import Generator, Shape
from streaming.load.load import Plan

_POOL = 8192
"""Records that are encoded once: fewer would repeat values so soon that every sketch stayed exact."""
_QUEUE = 500_000
"""Records in librdkafka's queue: with its own bound of 100,000 this process would wait for room most of the time."""
_FLUSH_SECONDS = 150
"""Longer than librdkafka itself goes on trying: a benchmark must end though the broker is gone."""


def fill(
    settings: Settings,
    contract: Contract,
    plan: Plan,
    shape: Shape | None = None,
    on_progress: Callable[[int], None] | None = None,
    repeat_every: int | None = None,
) -> None:
    """Sends the plan's events, at no rate, and waits until all are acknowledged. Raises NotDelivered if one isn't.

    Every `repeat_every`th record of a batch is a duplicate of an earlier one.
    """
    failed = Counter[str]()

    def reported(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failed[error.str()] += 1

    with EventProducer(settings, contract) as encodes:
        generator = Generator(contract, shape or Shape(), plan.seed, plan.start_ms, encodes)
    config = {"delivery.report.only.error": True, "queue.buffering.max.messages": _QUEUE}
    producer = Producer({**producer_config(settings), **config})
    produce, topic = producer.produce, contract.topic
    sent = 0
    for keys, values in records(generator, contract, plan):
        if repeat_every is not None:
            repeat_some(keys, values, repeat_every)
        for key, value in zip(keys, values, strict=True):
            while True:
                try:
                    produce(topic, value, key, on_delivery=reported)
                    break
                except BufferError:
                    producer.poll(0.01)
        producer.poll(0)
        sent += len(keys)
        if on_progress is not None:
            on_progress(len(keys))
        if failed:
            break
    left = producer.flush(_FLUSH_SECONDS)
    if failed or left:
        why = "; ".join(failed) or "not acknowledged in time"
        raise NotDelivered(f"{topic}: {failed.total() + left} of {sent} records: {why}", "see streamgauge stack status")


def repeat_some(keys: list[bytes], values: list[bytes], every: int) -> int:
    """Puts the record half a stride before it in each such place, from the first on; returns how many."""
    places = range(every, len(keys), every)
    for i in places:
        keys[i], values[i] = keys[i - every // 2 - 1], values[i - every // 2 - 1]
    return len(places)


def records(generator: Generator, contract: Contract, plan: Plan) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Keys and values. Only the parts of a value around its id and its time come from the pool."""
    pool = generator.batch(plan.times(0, _POOL))
    names = [f.name for f in contract.fields]
    id_first = names.index(contract.event_id) < names.index(contract.event_time)
    key_is_id = contract.topic_spec.partitionKey == contract.event_id
    heads: list[bytes] = []
    middles: list[bytes] = []
    tails: list[bytes] = []
    for value, event_id, at in zip(pool.values, pool.event_ids, encode_longs(pool.times), strict=True):
        # the id with its length, which is that of every new one
        identity = bytes([2 * len(event_id)]) + event_id.encode()
        first, second = (identity, at) if id_first else (at, identity)
        head, _, rest = (value or b"").partition(first)
        middle, _, tail = rest.partition(second)
        heads.append(head)
        middles.append(middle)
        tails.append(tail)
    prefix = f"fill.{plan.seed:x}.{plan.start_ms:x}."
    length = bytes([2 * (len(prefix) + 9)])
    for start in range(0, plan.events, _POOL):
        n = min(_POOL, plan.events - start)
        ids = [f"{prefix}{i:09x}".encode() for i in range(start, start + n)]
        times = encode_longs(np.asarray(plan.times(start, n)))
        identities = map(bytes.__add__, repeat(length, n), ids)
        firsts, seconds = (identities, times) if id_first else (times, identities)
        values = list(map(b"".join, zip(heads[:n], firsts, middles[:n], seconds, tails[:n], strict=True)))
        yield ids if key_is_id else [k or b"" for k in pool.keys[:n]], values
