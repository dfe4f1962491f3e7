"""What spelling learns from a corpus: counts of words and characters, gathered in one pass and in bounded memory.

Counts of shards add up (`merge`), so that worker processes count in parallel; what `save` writes is the model itself:
plain arrays and a JSON file, mapped from disk by every process that reads it. Counting costs about 0.2 ms a document,
saving forgets what was seen once in a large corpus.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tulou.core.errors import DataError
from tulou.data.clean.spelling.grams import FIRST_HAN, SYMBOLS, CharacterCounts, Grams
from tulou.data.clean.spelling.words import WordCounts

_FORMAT = 1
_BATCH_CHARS = 1_000_000
_SMALL_CORPUS = 300_000  # Chinese characters or English words; below, even what was seen once tells something
_SAVED_TRIPLES = 4_000_000
_SAVED_PAIRS = 2_000_000
_SAVED_WORDS = 300_000
_SAVED_WORD_PAIRS = 500_000


@dataclass
class Counts:
    documents: int = 0
    english: WordCounts = field(default_factory=WordCounts)
    chinese: CharacterCounts = field(default_factory=CharacterCounts)

    def merge(self, other: Counts) -> None:
        self.documents += other.documents
        self.english.merge(other.english)
        self.chinese.merge(other.chinese)

    def save(self, folder: Path) -> dict[str, int]:
        """Write a folder that `load` and `Speller.load` read, all or nothing; returns what it holds."""
        self.chinese.settle()
        arriving = folder.with_name(f"{folder.name}.{os.getpid()}.arriving")
        shutil.rmtree(arriving, ignore_errors=True)
        arriving.mkdir(parents=True)
        summary = self._write(arriving)
        shutil.rmtree(folder, ignore_errors=True)
        arriving.rename(folder)
        return summary

    def _write(self, folder: Path) -> dict[str, int]:
        chinese, english = self.chinese, self.english
        han = int(chinese.singles[FIRST_HAN:].sum())
        least = 1 if han < _SMALL_CORPUS else 2
        pairs, triples = (Grams(grams.keys, grams.counts) for grams in (chinese.pairs, chinese.triples))
        pairs.keep(_SAVED_PAIRS)
        triples.keep(_SAVED_TRIPLES, least)
        for name, array in (
            ("singles", chinese.singles),
            ("pairs", pairs.keys),
            ("pairs.counts", pairs.counts),
            ("triples", triples.keys),
            ("triples.counts", triples.counts),
        ):
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        running = english.words.total()
        least = 1 if running < _SMALL_CORPUS else 2
        words = {
            "words": _commonest(english.words, _SAVED_WORDS, least),
            "pairs": _commonest(english.pairs, _SAVED_WORD_PAIRS, least),
            "names": _commonest(english.names, _SAVED_WORDS, 1 if least == 1 else 2),
        }
        (folder / "english.json").write_text(json.dumps(words, sort_keys=True), "utf-8")
        summary = {
            "documents": self.documents,
            "chinese_characters": han,
            "english_words": running,
            "lexicon": len(words["words"]),
            "triples": len(triples.keys),
        }
        (folder / "spelling.json").write_text(json.dumps({"format": _FORMAT, **summary}), "utf-8")
        return summary

    @classmethod
    def load(cls, folder: Path) -> Counts:
        """What `save` wrote, its arrays mapped rather than read."""
        try:
            about = json.loads((folder / "spelling.json").read_text("utf-8"))
            words = json.loads((folder / "english.json").read_text("utf-8"))
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
            return cls._of(about, words, arrays)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            raise DataError(f"{folder} holds no spelling model: {err}; learn it again with `tulou run`") from err

    @classmethod
    def _of(cls, about: Mapping[str, Any], words: Mapping[str, Any], arrays: Mapping[str, Any]) -> Counts:
        if about["format"] != _FORMAT:
            raise ValueError(f"format {about['format']}, not {_FORMAT}")
        if len(arrays["singles"]) != SYMBOLS or any(
            len(arrays[name]) != len(arrays[f"{name}.counts"]) for name in ("pairs", "triples")
        ):
            raise ValueError("its arrays do not fit each other")
        english = WordCounts(*(Counter(words[name]) for name in ("words", "pairs", "names")))
        pairs, triples = (Grams(arrays[name], arrays[f"{name}.counts"]) for name in ("pairs", "triples"))
        return cls(int(about["documents"]), english, CharacterCounts(arrays["singles"], pairs, triples))


_ARRAYS = ("singles", "pairs", "pairs.counts", "triples", "triples.counts")


def count(texts: Iterable[str], titles: Iterable[str] = ()) -> Counts:
    """Count a stream of texts; words of `titles` count as names, which are never changed."""
    counts = Counts()
    batch: list[str] = []
    chars = 0
    for text in texts:
        batch.append(text)
        chars += len(text)
        counts.documents += 1
        if chars > _BATCH_CHARS:
            _add(counts, batch)
            batch, chars = [], 0
    _add(counts, batch)
    for title in titles:
        counts.english.add_title(title)
    counts.english.trim()
    counts.chinese.settle()
    return counts


def merge(parts: Iterable[Counts]) -> Counts:
    """The counts of all shards together."""
    whole = Counts()
    for part in parts:
        whole.merge(part)
    return whole


def _add(counts: Counts, texts: list[str]) -> None:
    counts.english.add(texts)
    counts.chinese.add(text for text in texts if not text.isascii())


def _commonest(counter: Counter[str], limit: int, at_least: int) -> dict[str, int]:
    """Ties are broken by spelling, so that the same counts give the same file."""
    kept = [(word, count) for word, count in counter.items() if count >= at_least]
    if len(kept) > limit:
        kept = sorted(kept, key=lambda item: (-item[1], item[0]))[:limit]
    return dict(kept)
