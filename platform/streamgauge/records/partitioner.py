"""Whether records stand in the partitions of their keys. Ids are remembered by partition: in another one a duplicate
does not meet its original.
"""

import numpy as np

from streamgauge.native.library import native
from streamgauge.records.payloads import Payloads
from streamgauge.types import Bools, Int64s


def misplaced(keys: Payloads, partitions: Int64s, count: int) -> Bools:
    """Which of the records stand in another partition of a topic's `count` than murmur2 of their key says, or have no
    key.
    """
    found = np.empty(len(keys), np.bool_)
    addresses, sizes = np.ascontiguousarray(keys.addresses), np.ascontiguousarray(keys.sizes)
    partitions = np.ascontiguousarray(partitions)
    native.streamgauge_misplaced(
        addresses.ctypes.data, sizes.ctypes.data, partitions.ctypes.data, len(keys), count, found.ctypes.data
    )
    return found
