"""Memory that a batch has freed is kept for the next one."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As glibc's malloc.h numbers them (https://man7.org/linux/man-pages/man3/mallopt.3.html)."""
_KEPT_BYTES = 512 << 20
"""More than all columns of the batches under way: what is freed beyond it goes back to the system."""
_MAPPED_BYTES = 32 << 20
"""Larger pieces are mapped from the system one by one; glibc takes no higher bound."""


def keep_freed_memory() -> None:
    """Without it the columns of each batch go back to the system at its end, which clears their pages anew for the
    next: that is a twelfth of the worker's CPU time. Nothing on a system whose C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
