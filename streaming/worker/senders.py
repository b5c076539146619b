"""Whose traces a batch is linked to."""

from collections.abc import Iterator

import numpy as np

from streamgauge.records.runs import first_rows
from streamgauge.telemetry.tracing import Headers
from streamgauge.types import Int64s
from streaming.worker.records import Records

_LOOKED_AT = 1_000
"""Records of a batch whose sampled flag is looked at, evenly spread: those of a full one would cost as much as counting
them.
"""
_SAMPLED_SENDERS = 16
"""How many records with the flag a batch is linked to at most: each link is made in Python."""


def senders(records: Records) -> Iterator[Headers]:
    """The headers of the first record of each partition, and of some whose sender wants the trace to be kept."""
    count = len(records.positions)
    rows = np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(np.int64))
    wanted: Int64s = rows[records.sampled(rows)]
    firsts = first_rows(records.positions.partitions).values()
    for row in dict.fromkeys([*firsts, *wanted[:: -(-len(wanted) // _SAMPLED_SENDERS) or 1].tolist()]):
        yield records.headers(row)
