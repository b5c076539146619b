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
_BACKLOG = 10_000
_LOOKED_AT_OF_BACKLOG = 200
"""Of a batch as large as a backlog's: with 1,000 it would spend 3 % of its time on them."""
_SAMPLED_SENDERS = 16
"""How many records with the flag a batch is linked to at most: each link is made in Python."""


def senders(records: Records) -> Iterator[Headers]:
    """The headers of the first record of each partition, and of some whose sender wants the trace to be kept."""
    count = len(records.positions)
    looked_at = _LOOKED_AT if count < _BACKLOG else _LOOKED_AT_OF_BACKLOG
    rows = np.arange(0, count, -(-count // looked_at) or 1)
    wanted: Int64s = rows[records.sampled(rows)]
    firsts = first_rows(records.positions.partitions).values()
    for row in dict.fromkeys([*firsts, *wanted[:: -(-len(wanted) // _SAMPLED_SENDERS) or 1].tolist()]):
        yield records.headers(row)
