"""English words of a text, and how often a corpus uses each, which pairs, and which as names.

A word is a run of ASCII letters that stands free: next to no digit, underscore, slash, hyphen, @ or Chinese character,
for such runs are codes, addresses and product names. Counting keeps the commonest when a limit is passed (lossy
counting), so memory is bounded and rare words may be undercounted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

_BEFORE, _AFTER = r"""\w@#/\\\-&'’:=$%<.*\"""", r"""\w@/\\\-&=(\[*\">"""
WORD = re.compile(rf"(?<![{_BEFORE}])[A-Za-z]++(?:['’][A-Za-z]++)*+(?![{_AFTER}]|['’]\w|\.\w|://)")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]++(?![\w'’-])")
_HEADING = re.compile(r"^#{1,6} (.{1,200})$", re.MULTILINE)
_MAX_WORDS = 1_000_000
_MAX_PAIRS = 1_500_000
_MAX_LETTERS = 40  # longer runs are no words


@dataclass
class WordCounts:
    words: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)  # "first second"
    names: Counter[str] = field(default_factory=Counter)  # capitalised within a sentence, or in a heading

    def add(self, texts: Iterable[str]) -> None:
        for text in texts:
            found = [word.lower() for word in WORD.findall(text) if len(word) <= _MAX_LETTERS]
            self.words.update(found)
            self.pairs.update(f"{first} {second}" for first, second in pairwise(found))
            if names := _NAME.findall(text):
                self.names.update(name.lower() for name in names)
            if "# " in text:
                for heading in _HEADING.findall(text):
                    self.add_title(heading)
        self.trim()

    def add_title(self, title: str) -> None:
        self.names.update(word.lower() for word in WORD.findall(title) if len(word) <= _MAX_LETTERS)

    def merge(self, other: WordCounts) -> None:
        self.words.update(other.words)
        self.pairs.update(other.pairs)
        self.names.update(other.names)
        self.trim()

    def trim(self) -> None:
        _trim(self.words, _MAX_WORDS)
        _trim(self.pairs, _MAX_PAIRS)
        _trim(self.names, _MAX_WORDS)


def _trim(counter: Counter[str], limit: int) -> None:
    """Forget the rarest until half the limit is free."""
    least = 1
    while len(counter) > (limit if least == 1 else limit // 2):
        least += 1
        for word in [word for word, count in counter.items() if count < least]:
            del counter[word]
