"""How alike two texts are: the Jaccard similarity of their sets of shingles, counted in one small hash table.

Of each pair the left text's shingles are put into the table, then the right one's are looked for. A mark says which
pair a place belongs to, so nothing is cleared between pairs; the table of two usual texts stays in the first cache.
That takes a third of the time that sorting the sets takes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from tulou.data.kernels import characters as c
from tulou.data.kernels.buffers import text_buffers
from tulou.data.kernels.fingerprint import Unit, shingle_hashes, shingles_of

_HALF = np.uint64(32)


def similarities(
    texts: pa.StringArray, left: NDArray[np.int64], right: NDArray[np.int64], unit: Unit
) -> NDArray[np.float64]:
    """The Jaccard similarity of the shingle sets of each pair of texts; 0 where one has no shingles."""
    data, offsets = text_buffers(texts)
    alike: NDArray[np.float64] = _similarities(data, offsets, left, right, c.kinds(), c.folded(), int(unit))
    return alike


def similarity(left: str, right: str, unit: Unit) -> float:
    """The reference."""
    a, b = set(shingle_hashes(left, unit)), set(shingle_hashes(right, unit))
    return len(a & b) / len(a | b) if a and b else 0.0


@njit(cache=True, nogil=True)
def _similarities(data, offsets, left, right, kinds, folded, unit):  # type: ignore[no-untyped-def]
    items, places = _all_shingles(data, offsets, kinds, folded, unit)
    sizes = places[1:] - places[:-1]
    room = 2
    for pair in range(left.shape[0]):
        room = max(room, _room(sizes[left[pair]] + sizes[right[pair]]))
    keys = np.empty(room, dtype=np.uint64)
    marks = np.zeros(room, dtype=np.int64)
    alike = np.zeros(left.shape[0], dtype=np.float64)
    for pair in range(left.shape[0]):
        a = items[places[left[pair]] : places[left[pair] + 1]]
        b = items[places[right[pair]] : places[right[pair] + 1]]
        if a.shape[0] and b.shape[0]:
            last = _room(a.shape[0] + b.shape[0]) - 1
            alike[pair] = _jaccard(a, b, keys, marks, np.uint64(last), 2 * pair + 1)
    return alike


@njit(cache=True, nogil=True)
def _room(count):  # type: ignore[no-untyped-def]
    """The power of two that leaves at least half of the places free."""
    room = 2
    while room < 2 * count:
        room *= 2
    return room


@njit(cache=True, nogil=True)
def _jaccard(left, right, keys, marks, last, mark):  # type: ignore[no-untyped-def]
    """A place marked `mark` holds a shingle of the left text, `mark` + 1 one that the right text was seen to have."""
    union = shared = 0
    for key in left:
        place = (key ^ (key >> _HALF)) & last
        while marks[place] == mark and keys[place] != key:
            place = (place + np.uint64(1)) & last
        union += marks[place] != mark
        keys[place] = key
        marks[place] = mark
    for key in right:
        place = (key ^ (key >> _HALF)) & last
        while marks[place] >= mark and keys[place] != key:
            place = (place + np.uint64(1)) & last
        union += marks[place] < mark
        shared += marks[place] == mark
        keys[place] = key
        marks[place] = mark + 1
    return shared / union


@njit(cache=True, nogil=True)
def _all_shingles(data, offsets, kinds, folded, unit):  # type: ignore[no-untyped-def]
    """All texts' shingles one after the other, and the n + 1 places between which each text's lie."""
    texts = offsets.shape[0] - 1
    places = np.zeros(texts + 1, dtype=np.int64)
    items = np.empty(offsets[texts] - offsets[0], dtype=np.uint64)  # a text has no more shingles than bytes
    for row in range(texts):
        made = shingles_of(data, offsets, row, kinds, folded, unit)
        places[row + 1] = places[row] + made.shape[0]
        items[places[row] : places[row + 1]] = made
    return items, places
