"""Where sentences end, in Chinese and English: one rule for cutting passages, quoting them and writing examples.

A sentence ends after a Chinese stop with the quotation marks that close behind it, after a Latin stop that white space
follows (so not in "3.5" nor after "e.g."), and at a line end. It looks at punctuation only: "Mr. X" is known by a short
list of abbreviations, others cut a sentence too early.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_SENTENCE = re.compile(
    r".+?(?:[。！？；]+…*[”’』」）》]*|[.!?]+[\"'”’)]*(?=\s|$)|\n|$)",
    re.DOTALL,
)
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|No|Mr|Mrs|Ms|Dr|vs|approx|St|Inc|Ltd)\.$")
_LONGEST_ABBREVIATION = 10


def sentence_ends(text: str) -> Iterator[int]:
    """Offsets in `text` behind each sentence; the last one is the end of `text`."""
    for match in _SENTENCE.finditer(text):
        end = match.end()
        goes_on = end < len(text) and text[end] != "\n"
        if goes_on and _ABBREVIATION.search(text, max(0, end - _LONGEST_ABBREVIATION), end):
            continue
        yield end


def split_sentences(text: str) -> list[str]:
    """The sentences of `text`, each stripped; empty ones left out."""
    found: list[str] = []
    start = 0
    for end in sentence_ends(text):
        if sentence := text[start:end].strip():
            found.append(sentence)
        start = end
    return found
