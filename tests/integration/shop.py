"""An online shop's topic as its own system writes it: plain JSON with a customer's key and the producer's times, some
of the records odd; and what is to be counted of it, by plain Python.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import NewTopic  # pyright: ignore[reportPrivateImportUsage]

from streamgauge.settings import Settings
from streamgauge.stores.kafka import admin_client, producer_config
from tests.oracle import java_partition

PARTITIONS = 3
STATES = ("placed", "paid", "sent")
COUNTRIES = ("AT", "DE", "FR")
FAR_AHEAD = datetime(2200, 1, 1, tzinfo=UTC)

Minutes = Mapping[tuple[datetime, str, str], tuple[int, float]]
"""Orders and their total, by minute, country and state."""


def make_topic(topic: str) -> None:
    """As somebody else would, who lets producers say any time."""
    config = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": str(2**63 - 1)}
    new = NewTopic(topic, PARTITIONS, replication_factor=1, config=config)
    # it must outlive its answer
    admin: Any = admin_client(Settings.for_role("admin"))
    admin.create_topics([new])[topic].result(20)


def order(number: int, at: datetime) -> dict[str, Any]:
    amount = Decimal(number % 400) / 4
    return {
        "order": {"id": f"o-{number}", "state": STATES[number % 3]},
        "placed_at": at.isoformat(timespec="milliseconds") if number % 2 else at.isoformat().replace("+00:00", "Z"),
        "customer": {"id": f"c{number % 90}", "address": {"country": COUNTRIES[number % 7 % 3], "zip": "W-1010"}},
        "total": {"amount": str(amount) if number % 3 else float(amount), "currency": "EUR"},
        "lines": [{"sku": f"s{(number + i) % 20}", "quantity": i + 1} for i in range(number % 4)],
        "gift": number % 5 == 0,
        "note": None,
    }


def odd(kind: str, number: int, at: datetime) -> bytes | None:
    """A record of one of ODD's kinds."""
    good = order(number, at)
    text = json.dumps(good)
    changed: dict[str, Any] = {
        "no id": {"order": {"state": "paid"}},
        "no time": {"placed_at": None},
        "a word for the amount": {"total": {"amount": "a lot"}},
        "an object for the state": {"order": {"id": "o", "state": {"is": "paid"}}},
        "a time without a zone": {"placed_at": "2026-01-01T00:00:00"},
        "an unknown state": {"order": {"id": f"odd-{number}", "state": "lost"}},
        "a time to come": {"placed_at": FAR_AHEAD.isoformat()},
    }
    if kind in changed:
        return json.dumps({**good, **changed[kind]}).encode()
    built: dict[str, bytes | None] = {
        "no value": None,
        "not JSON": b"order no. 7",
        "cut off": text[:40].encode(),
        "two orders": f"{text},{text}".encode(),
        "a comma too much": f"{text[:-1]},}}".encode(),
        "Latin-1": text.replace("W-1010", "Stra\xdfe").encode("latin-1"),
    }
    return built[kind]


ODD: dict[str, tuple[str, str]] = {
    "no value": ("empty", "the record has no value"),
    "not JSON": ("undecodable", "not one JSON object"),
    "cut off": ("undecodable", "not one JSON object"),
    "two orders": ("undecodable", "not one JSON object"),
    "a comma too much": ("undecodable", "not valid JSON"),
    "Latin-1": ("undecodable", "not UTF-8"),
    "no id": ("contract", "order_id: missing"),
    "no time": ("contract", "placed_at: missing"),
    "a word for the amount": ("undecodable", "total_amount: not a finite number"),
    "an object for the state": ("undecodable", "order_state: order.state leads to no value"),
    "a time without a zone": ("undecodable", "placed_at: not a time as rfc3339 has it"),
    "an unknown state": ("contract", "order_state: not an allowed value"),
    "a time to come": ("future", ""),
}
"""The reason and the detail of each kind's dead letters; of the future, only how far ahead it is."""


@dataclass
class Shop:
    """Sends to the topic, and remembers what should be counted."""

    topic: str
    minutes: Counter[tuple[datetime, str, str]] = field(default_factory=Counter[tuple[datetime, str, str]])
    amounts: dict[tuple[datetime, str, str], Decimal] = field(default_factory=dict[tuple[datetime, str, str], Decimal])
    odd: Counter[str] = field(default_factory=Counter[str])
    repeated: int = 0
    elsewhere: list[tuple[tuple[datetime, str, str], Decimal]] = field(
        default_factory=list[tuple[tuple[datetime, str, str], Decimal]]
    )
    """Minute and amount of each order that came again in another partition."""
    sent: int = 0

    def __post_init__(self) -> None:
        self._producer = Producer(producer_config(Settings.for_role("admin")))

    def send_orders(self, numbers: range, first: datetime, last: datetime) -> None:
        """Evenly from the one time to the other; every 97th comes twice, every 199th again in another partition, and
        every 41st is followed by an odd one.
        """
        step = (last - first) / len(numbers)
        for i, number in enumerate(numbers):
            at = (first + i * step).replace(microsecond=(first + i * step).microsecond // 1000 * 1000)
            built = order(number, at)
            self.send(json.dumps(built).encode(), at, f"c{number % 90}")
            self.count(built, at)
            if number % 97 == 0:
                self.send(json.dumps(built).encode(), at, f"c{number % 90}")
                self.repeated += 1
            if number % 199 == 0:
                partition = (java_partition(f"c{number % 90}".encode(), PARTITIONS) + 1) % PARTITIONS
                self.send(json.dumps(built).encode(), at, "", partition)
                self.elsewhere.append((_minute(built, at), Decimal(str(built["total"]["amount"]))))
            if number % 41 == 0:
                kind = list(ODD)[number // 41 % len(ODD)]
                self.send(odd(kind, number, at), FAR_AHEAD if kind == "a time to come" else at, f"c{number % 90}")
                self.odd[kind] += 1
        self.flush()

    def count(self, built: dict[str, Any], at: datetime) -> None:
        key = _minute(built, at)
        self.minutes[key] += 1
        self.amounts[key] = self.amounts.get(key, Decimal(0)) + Decimal(str(built["total"]["amount"]))

    def send(self, value: bytes | None, at: datetime, key: str, partition: int | None = None) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            del message
            assert error is None, error

        where: dict[str, Any] = {} if partition is None else {"partition": partition}
        built = at + timedelta(milliseconds=300)
        self._producer.produce(
            self.topic, value, key, timestamp=int(built.timestamp() * 1000), on_delivery=delivered, **where
        )
        self._producer.poll(0)
        self.sent += 1

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def expected(self, hour: datetime) -> Minutes:
        """Of one hour."""
        return {
            key: (count, float(self.amounts[key]))
            for key, count in self.minutes.items()
            if hour <= key[0] < hour + timedelta(hours=1)
        }

    def expected_of_speed(self, hour: datetime) -> Minutes:
        """The speed layer knows no other partition than an order's own."""
        found = dict(self.expected(hour))
        for key, amount in self.elsewhere:
            if key in found:
                count, total = found[key]
                found[key] = count + 1, total + float(amount)
        return found

    @property
    def dead_letters(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for kind, count in self.odd.items():
            found[ODD[kind]] += count
        return found


def _minute(built: dict[str, Any], at: datetime) -> tuple[datetime, str, str]:
    return at.replace(second=0, microsecond=0), built["customer"]["address"]["country"], built["order"]["state"]
