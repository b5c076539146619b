"""The partitions a worker has been given, from a rebalance to the next."""

import threading
from dataclasses import dataclass, field
from typing import Any

from streaming.worker.pipeline import Pipeline


@dataclass
class Assignment:
    """`revoked` says that what is still under way for these partitions is no longer wanted."""

    pipeline: Pipeline
    topic_id: str
    """Kafka's id of the topic whose offsets these are."""
    reference_version: Any = None
    """Of the reference table that the pipeline enriches by."""
    paused: set[int] = field(default_factory=set[int])
    committed: dict[int, int] = field(default_factory=dict[int, int])
    """The next position of each partition that this worker has committed."""
    ends: dict[int, int] = field(default_factory=dict[int, int])
    """The position at each log's end, as last heard from the broker."""
    revoked: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Takeover:
    """An assignment, the position to read each of its partitions from, and that of its topic's offset 0."""

    assignment: Assignment
    read_from: dict[int, int]
    first_positions: dict[int, int]
