"""What a recogniser says: from here to there stands a value of this kind, and this sure.

A recogniser is a function from a text to its findings; the table row beside it says which traits a text must have for
it to find anything, so that others are never scanned. Where findings overlap, the longest wins, then the best checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

ALWAYS = "ALWAYS"

# Known by dictionary; by a word beside it; by its form; by its check digit; by that and its region, date or length.
GUESS, CUED, SHAPED, CHECKED, PROVEN = range(5)


class Finding(NamedTuple):
    start: int
    end: int
    kind: str
    strength: int = SHAPED


Find = Callable[[str], Iterable[Finding]]


@dataclass(frozen=True)
class Recogniser:
    find: Find  # sees text whose digits, letters, dashes and spaces are narrow
    kinds: tuple[str, ...]
    needs: frozenset[str]  # names of traits: without one of them in a text there is nothing to find


def settle(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that stand, in order, none overlapping: longest first, then best checked, then leftmost."""
    ordered = sorted(set(findings))
    if all(first.end <= second.start for first, second in pairwise(ordered)):
        return ordered
    ranked = sorted(ordered, key=lambda found: (found.start - found.end, -found.strength, found.start, found.kind))
    standing: list[Finding] = []
    taken: dict[int, bool] = {}
    for found in ranked:
        # Those that stand already are no shorter: one that overlaps covers this one's first or last character.
        if found.start in taken or found.end - 1 in taken:
            continue
        standing.append(found)
        taken.update(dict.fromkeys(range(found.start, found.end), True))
    return sorted(standing)
