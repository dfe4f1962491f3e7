"""Spelling for both languages: learn from a corpus once, then correct texts with what was learned.

A text is corrected until nothing more changes, so that doing it twice is doing it once; a text that does not come to
rest in a few rounds is left as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tulou.data.clean.spelling.chinese import Chinese
from tulou.data.clean.spelling.correction import Correction, apply, compose
from tulou.data.clean.spelling.counts import Counts, count
from tulou.data.clean.spelling.english import English
from tulou.data.clean.spelling.guards import guarded

_HAN_PAIR = re.compile(r"[\u4e00-\u9fff]{2}")
_ROUNDS = 4


def learn(texts: Iterable[str], out: Path, titles: Iterable[str] = ()) -> dict[str, int]:
    """Learn the corpus's words in one pass, write the folder `out`, and say how much was seen."""
    return count(texts, titles).save(out)


class Speller:
    def __init__(self, counts: Counts) -> None:
        self._english = English(counts.english)
        self._chinese = Chinese(counts.chinese)

    @classmethod
    def load(cls, folder: Path) -> Speller:
        return cls(Counts.load(folder))

    def rewrite(self, text: str) -> tuple[str, list[str]]:
        """The corrected text, and the languages in which something was corrected."""
        corrections = self.corrections(text)
        return apply(text, corrections), sorted({correction.language for correction in corrections})

    def corrections(self, text: str) -> list[Correction]:
        """What `rewrite` changes, in order."""
        made: list[Correction] = []
        for _ in range(_ROUNDS):
            more = self._round(apply(text, made))
            if not more:
                return made
            together = compose(made, more)
            if together is None:
                return []
            made = together
        return []

    def _round(self, text: str) -> list[Correction]:
        is_chinese = not text.isascii() and _HAN_PAIR.search(text) is not None
        is_english = self._english.has_typo(text)
        if not is_chinese and not is_english:
            return []
        places = guarded(text, is_chinese)
        found = self._chinese.corrections(text, places) if is_chinese else []
        found += self._english.corrections(text, places) if is_english else []
        return sorted(found, key=lambda correction: correction.start)
