"""Union-find over document numbers: which documents hang together by pairs, in almost constant time a pair.

Tarjan, "Efficiency of a good but not linear set union algorithm" (1975), with path halving; the smaller number is the
root, so the result does not depend on the order of the pairs.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def unite(parents: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
    """Join the two sides of each pair, in place."""
    _unite(parents, left, right)


def roots(parents: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smallest number of each one's cluster."""
    found: NDArray[np.int64] = _roots(parents)
    return found


def clusters_of(size: int, pairs: list[tuple[int, int]]) -> list[int]:
    """The reference: the smallest number that each of `size` numbers hangs together with."""
    smallest = list(range(size))
    for a, b in pairs:
        low, high = sorted((smallest[a], smallest[b]))
        smallest = [low if each == high else each for each in smallest]
    return smallest


@njit(cache=True, nogil=True)
def _find(parents, item):  # type: ignore[no-untyped-def]
    while parents[item] != item:
        parents[item] = parents[parents[item]]
        item = parents[item]
    return item


@njit(cache=True, nogil=True)
def _unite(parents, left, right):  # type: ignore[no-untyped-def]
    for pair in range(left.shape[0]):
        a = _find(parents, left[pair])
        b = _find(parents, right[pair])
        if a < b:
            parents[b] = a
        elif b < a:
            parents[a] = b


@njit(cache=True, nogil=True)
def _roots(parents):  # type: ignore[no-untyped-def]
    found = np.empty_like(parents)
    for item in range(parents.shape[0]):
        found[item] = _find(parents, item)
    return found
