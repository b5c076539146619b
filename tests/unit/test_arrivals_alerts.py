"""What is told of late events, clocks that are ahead and records out of place."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sensors.arrivals import Ahead, Arrivals, alerts
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.settings import CHECKOUT
from streamgauge.state.arrivals import AHEAD, ALL, LATE, MISPLACED, Arrived

CONTRACT = find_contract(load_contracts(CHECKOUT / "platform" / "contracts"), "user_events")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SLOT = NOW - timedelta(minutes=5)


def arrived(kind: str, records: int, partition: int = 3, *producers: str) -> Arrived:
    return Arrived(partition, kind, records, 100, 100 + records, producers, SLOT)


def reported(found: Sequence[Arrived], ahead: Mapping[str, Sequence[Ahead]] | None = None) -> dict[str, str]:
    arrivals = Arrivals({CONTRACT.stream: found}, ahead or {})
    return {p.name: p.description for p in alerts([CONTRACT], arrivals, NOW)}


def test_a_share_of_late_events_names_partition_offsets_and_producers() -> None:
    assert reported([arrived(ALL, 2_290), arrived(LATE, 2_290, 3, "host:1", "host:2")]) == {
        "StreamgaugeManyLate": "Partition 3: 2,290 of 2,290, offsets 100 to 2390, sent by host:1, host:2."
    }


def test_few_late_events_are_nothing_to_tell() -> None:
    assert reported([arrived(ALL, 100), arrived(LATE, 99)]) == {}
    assert reported([arrived(ALL, 10_000), arrived(LATE, 1_000)]) == {}


def test_one_partition_of_many_is_enough() -> None:
    found = [arrived(ALL, 10_000, p) for p in range(4)] + [arrived(LATE, 5_000, 2, "slow:7")]
    assert reported(found)["StreamgaugeManyLate"].startswith("Partition 2: 5,000 of 10,000")


def test_one_record_ahead_or_out_of_place_is_reported() -> None:
    found = [arrived(ALL, 500), arrived(AHEAD, 1, 3, "fast:1"), arrived(MISPLACED, 2, 3, "crc:1")]
    assert reported(found) == {
        "StreamgaugeProducerAhead": "Partition 3: 1 of 500, offsets 100 to 101, sent by fast:1.",
        "StreamgaugeRecordsMisplaced": "Partition 3: 2 of 500, offsets 100 to 102, sent by crc:1.",
    }


def test_a_watermark_in_the_future_is_reported() -> None:
    ahead = {CONTRACT.stream: [Ahead(4, 17, NOW + timedelta(seconds=265))]}
    assert reported([], ahead) == {
        "StreamgaugeClocksDisagree": "Partition 4: 265 s ahead of this machine's clock, at offset 17."
    }


def test_many_partitions_are_not_all_named() -> None:
    found = [a for p in range(12) for a in (arrived(ALL, 1, p), arrived(MISPLACED, 1, p))]
    assert reported(found)["StreamgaugeRecordsMisplaced"].endswith("And 2 more partitions.")
