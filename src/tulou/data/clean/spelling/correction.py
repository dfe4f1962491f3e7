"""One correction: where, from what to what, in which language, and how sure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Correction:
    start: int  # characters
    end: int
    before: str
    after: str
    language: Literal["en", "zh"]
    score: float  # nats by which it is ahead of the next best


def apply(text: str, corrections: list[Correction]) -> str:
    """`text` with `corrections` made; they come in order and do not overlap."""
    parts = []
    done = 0
    for correction in corrections:
        parts += [text[done : correction.start], correction.after]
        done = correction.end
    return "".join([*parts, text[done:]])


def compose(first: list[Correction], second: list[Correction]) -> list[Correction] | None:
    """One list that does what `first` and then `second` do, or None if `second` changes what `first` had changed."""
    moved: list[Correction] = []
    done = shift = 0  # corrections of `first` before the one of `second`, and how far they moved what follows
    for correction in second:
        while done < len(first) and first[done].start + shift + len(first[done].after) <= correction.start:
            shift += len(first[done].after) - len(first[done].before)
            done += 1
        if done < len(first) and first[done].start + shift < correction.end:
            return None
        moved.append(replace(correction, start=correction.start - shift, end=correction.end - shift))
    return sorted([*first, *moved], key=lambda correction: correction.start)
