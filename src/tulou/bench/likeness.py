"""The reference for "nearly the same text": plain sets and their Jaccard similarity, written for clarity.

Words by three in English; characters by two in Chinese, where a number or a Latin word counts as one character. Case,
punctuation and white space do not count. It shares no code with what it measures.
"""

from __future__ import annotations

import re

_UNIT = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")


def shingles(text: str, language: str) -> set[tuple[str, ...]]:
    units = _UNIT.findall(text.casefold())
    size = min(len(units), 2 if language == "zh" else 3)
    return {tuple(units[at : at + size]) for at in range(len(units) - size + 1)}


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0
