"""The oracle against examples worked out by hand."""

from io import BytesIO
from typing import Any

import pytest

from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract
from streamgauge.records.avro import avro_schema, frame, parse, write_record
from streamgauge.settings import CHECKOUT
from tests.oracle import SECRET, Idle, LogRecord, number_of, play, pseudonym

T0 = 1_700_000_040_000
"""The start of a minute."""
SCHEMA_ID = 7


@pytest.fixture(scope="module")
def contract() -> Contract:
    return find_contract(load_contracts(CHECKOUT / "platform" / "contracts"), "user_events")


class Log:
    """One partition's records, each appended a second after the one before, from T0 on."""

    def __init__(self, contract: Contract, partition: int = 0) -> None:
        self.schema: dict[str, Any] = avro_schema(contract)
        self.partition = partition
        self.entries: list[LogRecord | Idle] = []
        self.ingest_ms = T0 + 3_600_000

    def event(self, event_id: str, at: int, **fields: Any) -> "Log":
        event: dict[str, Any] = {
            "event_id": event_id,
            "user_id": "ann",
            "event_type": "PushEvent",
            "timestamp": T0 + at * 1000,
            "properties": {},
            "metadata": {},
            "schema_version": 1,
            **fields,
        }
        stream = BytesIO()
        write_record(stream, parse(self.schema), event)
        return self.raw(frame(SCHEMA_ID) + stream.getvalue())

    def raw(self, value: bytes | None) -> "Log":
        offset = sum(isinstance(e, LogRecord) for e in self.entries)
        self.entries.append(LogRecord(self.partition, offset, value, self.ingest_ms + 1000 * offset))
        return self

    def idle(self, at: int) -> "Log":
        self.entries.append(Idle(self.partition, T0 + at * 1000))
        return self

    @property
    def last(self) -> bytes:
        entry = self.entries[-1]
        assert isinstance(entry, LogRecord) and entry.value
        return entry.value


def test_two_minutes_with_measures_users_and_the_reference(contract: Contract) -> None:
    log = (
        Log(contract)
        .event("a", 0, properties={"size": "3"})
        .event("b", 30, user_id="bot", properties={"size": "1.5"})
        .event("c", 59, properties={"size": "many"})
        .event("d", 60)
    )
    reference = {"bot": {"kind": "bot", "organisation": "acme"}}
    expected = play(contract, log.entries, {SCHEMA_ID: log.schema}, reference)

    def shown(user: str) -> str:
        return pseudonym(SECRET, contract.stream, user)

    minutes = expected.minutes_of_stream()
    assert {k: v.count for k, v in minutes.items()} == {
        (T0, ("PushEvent", "unknown")): 2,
        (T0, ("PushEvent", "bot")): 1,
        (T0 + 60_000, ("PushEvent", "unknown")): 1,
    }
    assert minutes[T0, ("PushEvent", "unknown")].values["commits"] == [3.0]
    assert minutes[T0, ("PushEvent", "bot")].values["commits"] == [1.5]
    assert minutes[T0, ("PushEvent", "unknown")].distinct["users"] == {"ann"}
    assert expected.tops_of_stream()[T0, "users"] == {shown("ann"): 2, shown("bot"): 1}
    assert expected.tops_of_stream()[T0, "organisations"] == {"unknown": 2, "acme": 1}
    assert expected.watermark == T0 + 60_000


def test_late_is_older_than_the_watermark_minus_the_lateness(contract: Contract) -> None:
    log = Log(contract).event("a", 300).event("on the edge", 180).event("b", 179).event("b", 300)
    expected = play(contract, log.entries, {SCHEMA_ID: log.schema})
    assert list(expected.verdicts.values()) == ["counted", "counted", "late", "duplicate"]
    assert expected.minutes[T0 + 120_000, ("PushEvent", "unknown"), 0].late == 1


def test_an_id_is_forgotten_after_four_generations(contract: Contract) -> None:
    # the horizon is an hour, so a generation is 15 minutes; T0 lies 14 minutes into one
    log = Log(contract)
    log.ingest_ms = T0 + 10_000_000
    log.event("a", 0).event("b", 0).event("a", 4 * 900 + 59).event("b", 4 * 900 + 60).event("a", 8 * 900 + 60)
    expected = play(contract, log.entries, {SCHEMA_ID: log.schema})
    assert T0 // 1000 % 900 == 840
    # each is as young as its last record
    assert list(expected.verdicts.values()) == ["counted", "counted", "duplicate", "counted", "counted"]


def test_dead_letters_move_nothing(contract: Contract) -> None:
    log = Log(contract).event("a", 0)
    value = log.last
    log.raw(None).raw(b"").raw(b"\x01" + value[1:]).raw(b"\x00\x00").raw(b"\x00\x00\x00\x00\x08" + value[5:])
    log.raw(value[:-1]).raw(value + b"\x00").raw(value.replace(b"ann", b"\xff\xff\xff"))
    log.event("b", 0, event_type="lower").event("c", 0, event_type="Push\n").event("", 0).event("x" * 65, 0)
    log.event("d", -T0 // 1000).event("e", 10 * 3600)
    log.event("a", 0)
    expected = play(contract, log.entries, {SCHEMA_ID: log.schema})
    assert list(expected.verdicts.values()) == [
        "counted",
        *["empty"] * 2,
        *["undecodable"] * 2,
        "unknown_schema",
        *["undecodable"] * 3,
        *["contract"] * 5,
        "future",
        "duplicate",
    ]
    assert expected.partitions[0].dead_letters == 14
    assert expected.partitions[0].next_offset == 16
    assert expected.watermark == T0


def test_an_idle_partition_makes_old_events_late(contract: Contract) -> None:
    log = Log(contract).idle(900).event("a", 0).idle(500).event("b", 379).event("c", 380)
    expected = play(contract, log.entries, {SCHEMA_ID: log.schema})
    assert list(expected.verdicts.values()) == ["counted", "late", "counted"]
    assert expected.watermark == T0 + 500_000


def test_partitions_stand_alone(contract: Contract) -> None:
    first, second = Log(contract, 0).event("a", 600), Log(contract, 1).event("a", 0)
    expected = play(contract, [*first.entries, *second.entries], {SCHEMA_ID: first.schema})
    assert set(expected.verdicts.values()) == {"counted"}
    assert expected.watermark == T0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1.0),
        ("-2.5e3", -2500.0),
        (".5", 0.5),
        ("1_0", None),
        (" 1", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
    ],
)
def test_numbers_from_text(text: str, number: float | None) -> None:
    assert number_of(text) == number
