"""The reference for "nearly the same text": plain sets and their Jaccard similarity, written for clarity.

Words by three in English, characters by two in Chinese; case, punctuation and white space do not count. It shares no
code with what it measures.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")


def shingles(text: str, language: str) -> set[str]:
    words = _WORD.findall(text.casefold())
    if language == "zh":
        joined = "".join(words)
        return {joined[at : at + 2] for at in range(max(1, len(joined) - 1))}
    return {" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2))}


def jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0
