"""Positions: where a record stands among all that the topics of a stream's name have ever held, partition by partition.

A position is Kafka's offset for as long as the topic is the first of its name. One that was deleted and created again
starts at offset 0: its records go on from behind the last position known of the one before, so that nothing stored ever
means two records by one position. Kafka's own id of a topic (KIP-516) tells the two apart.
"""

from collections.abc import Mapping

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.stores.kafka import kafka_error, topic_id
from streamgauge.stores.postgres import Connection

FirstPositions = Mapping[int, int]
"""The position of the current topic's offset 0, by partition; 0 for a partition that is not there."""

# No worker has claimed the new topic yet: its first position is the one that a claim would give it.
_EXPECTED = """select o.partition, greatest(o.next_offset, o.end_offset, (select max(l.to_offset) from lake_hours l
where l.stream = %(stream)s and l.partition = o.partition)) from stream_offsets o where o.topic = %(topic)s"""

_LATEST = """select distinct on (partition) partition, topic_id, first_position from stream_topics
where topic = %s order by partition, first_position desc"""


def first_positions(connection: Connection, admin: AdminClient, contract: Contract) -> FirstPositions:
    """As claimed by the workers, for the topic that Kafka has now.

    Raises UserError where a partition was claimed of an earlier topic only: until a worker has claimed the new one, it
    is not known how far the old one was read.
    """
    current, claimed = _current_topic(admin, contract), _claimed(connection, contract)
    if any(known != current for known, _ in claimed.values()):
        raise UserError(
            f"the topic {contract.topic} was created anew, and no worker has claimed it yet",
            "start a worker, or wait until it has noticed: streamgauge stack status",
        )
    return {partition: first for partition, (_, first) in claimed.items()}


def claimed_first_positions(connection: Connection, contract: Contract) -> FirstPositions:
    """As the workers last claimed them, whatever topic Kafka has now."""
    return {partition: first for partition, (_, first) in _claimed(connection, contract).items()}


def expected_first_positions(connection: Connection, admin: AdminClient, contract: Contract) -> FirstPositions:
    """As `first_positions`, and what a claim would give where none was made yet: for those who only look."""
    current, claimed = _current_topic(admin, contract), _claimed(connection, contract)
    found = {partition: first for partition, (known, first) in claimed.items() if known == current}
    if len(found) < len(claimed):
        expected = dict(connection.execute(_EXPECTED, {"topic": contract.topic, "stream": contract.stream}).fetchall())
        found = {partition: expected[partition] for partition in claimed} | found
    return found


def _current_topic(admin: AdminClient, contract: Contract) -> str:
    """Raises UserError where Kafka doesn't answer or has no such topic."""
    try:
        found = topic_id(admin, contract.topic)
    except KafkaException as e:
        raise kafka_error(e) from e
    if found is None:
        raise UserError(f"Kafka has no topic {contract.topic}", "run streamgauge apply")
    return found


def claim_topic(
    connection: Connection, contract: Contract, partition: int, current: str, known_end: int
) -> tuple[int, bool]:
    """The first position of the topic with the id `current` in a partition, and whether it took an earlier one's place
    just now. Recorded when it is first seen: 0 for the first topic of a stream, and for a later one `known_end`, or
    where the lake ends if that is further.

    The caller has raised the partition's epoch in the same transaction: no other worker goes on committing the old
    topic's records.
    """
    latest = _claimed(connection, contract).get(partition)
    if latest is not None and latest[0] == current:
        return latest[1], False
    first = 0
    if latest is not None:
        row = connection.execute(
            "select max(to_offset) from lake_hours where stream = %s and partition = %s", (contract.stream, partition)
        ).fetchone()
        first = max(known_end, row[0] if row is not None and row[0] is not None else 0)
    connection.execute(
        """insert into stream_topics (topic, partition, first_position, topic_id, claimed_at)
        values (%s, %s, %s, %s, now())
        on conflict (topic, partition, first_position) do update
        set topic_id = excluded.topic_id, claimed_at = excluded.claimed_at""",
        (contract.topic, partition, first, current),
    )
    return first, latest is not None


def _claimed(connection: Connection, contract: Contract) -> dict[int, tuple[str, int]]:
    return {p: (known, first) for p, known, first in connection.execute(_LATEST, (contract.topic,))}
