"""Taking partitions over: from what Postgres and the log hold to an assignment that can be worked on."""

import logging

from streamgauge.contract.model import Contract
from streamgauge.records.registry import Registry
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.stores.postgres import Connection
from streaming.worker.assignment import Assignment, Takeover
from streaming.worker.isolation import Isolation, read_set_aside
from streaming.worker.pipeline import Pipeline
from streaming.worker.reference import refresh_reference
from streaming.worker.store import Store

log = logging.getLogger(__name__)


def take_over(
    connection: Connection,
    store: Store,
    contract: Contract,
    registry: Registry,
    isolation: Isolation,
    pseudonyms: Pseudonyms,
    topic_id: str,
    ends: dict[int, tuple[int, int]],
) -> Takeover:
    """Claims the partitions of `ends`, which has the offsets at the ends of their logs."""
    pipeline = Pipeline(contract, registry.find_schema, pseudonyms)
    assignment = Assignment(pipeline, topic_id)
    read_from: dict[int, int] = {}
    first_positions: dict[int, int] = {}
    refresh_reference(connection, contract, assignment)
    for partition, (low, high) in ends.items():
        claim = store.claims.claim(connection, partition, topic_id, low, high)
        first_minute = pipeline.open_from(claim.progress)
        held = None if first_minute is None else store.minutes.open_sketches(connection, partition, first_minute)
        pipeline.take_over(claim.progress, held, paused=claim.paused is not None)
        first_positions[partition] = claim.first_position
        read_from[partition] = max(claim.progress.read_from, claim.first_position + low)
        if claim.paused is not None:
            assignment.paused.add(partition)
            log.error("%s: partition %d is paused: %s", contract.stream, partition, claim.paused)
    # a new dict: checkers of the assignment before may still go through the old one
    isolation.set_aside = isolation.set_aside | read_set_aside(connection, contract, read_from)
    return Takeover(assignment, read_from, first_positions)
