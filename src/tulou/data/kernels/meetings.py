"""Which pairs of very many texts are worth comparing: those that meet in a band of their MinHash signatures.

Pairs are found one band at a time by sorting, never all at once. A key that very many texts share is compared with a
window only, so that boilerplate costs no square; what it joins still hangs together through the run's first text.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
_WINDOW = 8  # texts of a crowded band that each one is compared with, besides the first
_BLOCK_BYTES = 2 << 20  # of texts compared at once, on each core; their shingles take up to eight times as much


def meetings(keys: NDArray[np.uint32]) -> tuple[Rows, Rows]:
    """Pairs of places with equal keys: each with the next `_WINDOW` in a run, and with the run's first."""
    # Key and place in one number: sorting those is vector code, and equal keys stay in order.
    sorted_both = np.sort(keys.astype(np.uint64) << _HALF | np.arange(len(keys), dtype=np.uint64))
    order = (sorted_both & _LOW).astype(np.int64)
    ranked = (sorted_both >> _HALF).astype(np.uint32)
    left: list[Rows] = []
    right: list[Rows] = []
    for lag in range(1, _WINDOW + 1):
        at = np.flatnonzero(ranked[lag:] == ranked[:-lag])
        if len(at) == 0:
            break
        left.append(order[at])
        right.append(order[at + lag])
    else:
        starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        start_of = starts[np.searchsorted(starts, np.arange(len(ranked)), side="right") - 1]
        far = np.flatnonzero(np.arange(len(ranked)) - start_of > _WINDOW)
        left.append(order[start_of[far]])
        right.append(order[far])
    if not left:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    return np.concatenate(left), np.concatenate(right)


def blocks(left: Rows, right: Rows, lengths: NDArray[np.int32]) -> Iterator[slice]:
    """Stretches of the pairs whose texts, `lengths` bytes long, fit into memory together."""
    if len(left) == 0:
        return
    total = np.cumsum(lengths[left].astype(np.int64) + lengths[right])
    start = 0
    while start < len(left):
        limit = (total[start - 1] if start else 0) + _BLOCK_BYTES
        end = max(start + 1, int(np.searchsorted(total, limit, side="right")))
        yield slice(start, end)
        start = end
