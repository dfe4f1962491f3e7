"""Whether a unit of some items comes many times in a row, found without looking at every item.

A run of so many items that equal the one a unit before covers every place that is a multiple of its length, so only
those are looked at, and from a hit the run is followed both ways (as Boyer and Moore skip through a text).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import njit


def longest_repeat(items: Sequence[Any], unit: int) -> int:
    """The most items in a row of which each equals the one `unit` places before, that first unit included."""
    longest = run = 0
    for i in range(unit, len(items)):
        run = run + 1 if items[i] == items[i - unit] else 0
        longest = max(longest, run + unit if run else 0)
    return longest


@njit(cache=True, nogil=True)
def repeats(items, count, largest_unit, times):  # type: ignore[no-untyped-def]
    """Whether `longest_repeat` of the first `count` items is `times` units or more, for any unit up to the largest."""
    for unit in range(1, largest_unit + 1):  # noqa: SIM110  # Numba knows no generators
        if _repeats(items, count, unit, times):
            return True
    return False


@njit(cache=True, nogil=True)
def _repeats(items, count, unit, times):  # type: ignore[no-untyped-def]
    needed = (times - 1) * unit
    place = unit + needed - 1
    while place < count:
        first = place
        while first >= unit and items[first] == items[first - unit]:
            first -= 1
        if first == place:
            place += needed
            continue
        last = place
        while last < first + needed and last + 1 < count and items[last + 1] == items[last + 1 - unit]:
            last += 1
        if last >= first + needed:
            return True
        place = last + 1 + needed
    return False
