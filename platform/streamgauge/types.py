"""Names for the array types that cross module borders."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Int64s: TypeAlias = NDArray[np.int64]
UInt64s: TypeAlias = NDArray[np.uint64]
Bools: TypeAlias = NDArray[np.bool_]
