"""The partitions a worker has been given, from a rebalance to the next."""

import threading
from dataclasses import dataclass, field
from typing import Any

from streaming.worker.pipeline import Pipeline


@dataclass
class Assignment:
    """`revoked` says that what is still under way for these partitions is no longer wanted."""

    pipeline: Pipeline
    reference_version: Any = None
    """Of the reference table that the pipeline enriches by."""
    revoked: threading.Event = field(default_factory=threading.Event)
