"""Which records stand in the partitions of their keys."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.records.partitioner import misplaced
from streamgauge.records.payloads import Payloads
from tests.oracle import java_partition

# of Kafka's own UtilsTest: key and murmur2
KAFKAS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def test_keys_go_where_kafka_says() -> None:
    partitions = np.array([(h & 0x7FFFFFFF) % 1000 for h in KAFKAS.values()], np.int64)
    assert not misplaced(Payloads.of(list(KAFKAS)), partitions, 1000).any()
    assert misplaced(Payloads.of(list(KAFKAS)), partitions + 1, 1000).all()


@given(st.lists(st.tuples(st.one_of(st.none(), st.binary(max_size=40)), st.integers(0, 4))), st.integers(1, 5))
def test_like_a_plain_look_at_each(records: list[tuple[bytes | None, int]], count: int) -> None:
    found = misplaced(Payloads.of([k for k, _ in records]), np.array([p for _, p in records], np.int64), count)
    assert found.tolist() == [key is None or java_partition(key, count) != p for key, p in records]
