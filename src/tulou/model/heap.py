"""Memory that one training step frees and the next one needs stays with the process in between.

glibc gives large blocks back to the system as soon as they are free, and their pages are cleared anew when the next
step asks for them, at less than a gigabyte a second: a seventh of a small model's step. The price is that the process
holds the most it ever held until training ends. Another C library than glibc is left as it is.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # glibc's numbers of them, mallopt(3)
_NEVER_TRIM, _NO_MMAP = -1, 0
# glibc raises its thresholds by itself until someone sets one. These are where it would have got to.
_TRIM_BYTES, _MMAP_BYTES, _MMAPS = 64 << 20, 32 << 20, 65_536


@contextmanager
def kept_heap() -> Iterator[None]:
    glibc = ctypes.CDLL(None)
    if not hasattr(glibc, "mallopt"):
        yield
        return
    glibc.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM)
    glibc.mallopt(_MMAP_MAX, _NO_MMAP)
    try:
        yield
    finally:
        glibc.mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)
        glibc.mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)
        glibc.mallopt(_MMAP_MAX, _MMAPS)
        glibc.malloc_trim(0)
