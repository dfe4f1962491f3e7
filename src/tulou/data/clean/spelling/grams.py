"""Counts of character pairs and triples as sorted arrays of integers: compact, mergeable, mapped from disk.

Chinese characters (U+4E00 to U+9FFF) are numbered by code point; letters and digits are one symbol, all else another.
A key packs 15 bits a symbol. Adding text costs a sort of each million characters; memory is bounded by forgetting the
rarest keys (lossy counting, Manku and Motwani 2002), so counts of rare triples are lower bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

BREAK, LATIN, FIRST_HAN = 0, 1, 2
SYMBOLS = 1 << 15
_BITS = np.uint64(15)
_MAX_KEYS = 6_000_000
_PENDING_KEYS = 3_000_000

Symbols = npt.NDArray[np.uint16]
Keys = npt.NDArray[np.uint64]
Tally = npt.NDArray[np.uint32]


def _symbol_table() -> Symbols:
    table = np.zeros(1 << 16, np.uint16)
    for first, last in ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A), (0xFF10, 0xFF19), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A)):
        table[first : last + 1] = LATIN
    table[0x4E00:0xA000] = np.arange(0xA000 - 0x4E00) + FIRST_HAN
    return table


_SYMBOL = _symbol_table()


def symbols(text: str) -> Symbols:
    """One number for each character of `text`."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return _SYMBOL[np.minimum(codes, 0xFFFF)]


def symbol(char: str) -> int:
    code = ord(char)
    return (
        code - 0x4E00 + FIRST_HAN if 0x4E00 <= code < 0xA000 else LATIN if char.isascii() and char.isalnum() else BREAK
    )


def character(number: int) -> str:
    return chr(number - FIRST_HAN + 0x4E00)


def pair_key(a: int, b: int) -> int:
    return a << 15 | b


def triple_key(a: int, b: int, c: int) -> int:
    return (a << 15 | b) << 15 | c


@dataclass
class Grams:
    """How often each key was seen."""

    keys: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))
    counts: Tally = field(default_factory=lambda: np.zeros(0, np.uint32))
    _pending: list[tuple[Keys, Tally]] = field(default_factory=list)
    _pending_keys: int = 0

    def add(self, keys: Keys, counts: Tally) -> None:
        self._pending.append((keys, counts))
        self._pending_keys += len(keys)
        if self._pending_keys > _PENDING_KEYS:
            self.settle()

    def settle(self) -> None:
        """Bring what was added into order, and forget the rarest beyond the limit."""
        if not self._pending:
            return
        keys = np.concatenate([self.keys, *(keys for keys, _ in self._pending)])
        counts = np.concatenate([self.counts, *(counts for _, counts in self._pending)])
        self._pending, self._pending_keys = [], 0
        if len(keys) == 0:
            return
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        self.keys = keys[starts]
        self.counts = np.minimum(np.add.reduceat(counts, starts, dtype=np.uint64), 0xFFFFFFFF).astype(np.uint32)
        self.keep(_MAX_KEYS)

    def keep(self, limit: int, at_least: int = 1) -> None:
        """Keep at most `limit` keys: those seen most, and none seen less than `at_least` times."""
        least = at_least
        while np.count_nonzero(self.counts >= least) > limit:
            least += 1
        if least > 1:
            kept = self.counts >= least
            self.keys, self.counts = self.keys[kept], self.counts[kept]

    def __getitem__(self, key: int) -> int:
        place = int(np.searchsorted(self.keys, np.uint64(key)))
        return int(self.counts[place]) if place < len(self.keys) and int(self.keys[place]) == key else 0


@dataclass
class CharacterCounts:
    """Characters, pairs and triples of Chinese text. A triple is counted by its middle, so that it says something."""

    singles: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(SYMBOLS, np.uint64))
    pairs: Grams = field(default_factory=Grams)
    triples: Grams = field(default_factory=Grams)

    def add(self, texts: Iterable[str]) -> None:
        row = symbols("\n".join(["", *texts, ""]))
        is_han = row >= FIRST_HAN
        if not is_han.any():
            return
        self.singles += np.bincount(row, minlength=SYMBOLS).astype(np.uint64)
        wide = row.astype(np.uint64)
        pairs = (wide[:-1] << _BITS) | wide[1:]
        self.pairs.add(*_tally(pairs[is_han[:-1] | is_han[1:]]))
        triples = (pairs[:-1] << _BITS) | wide[2:]
        self.triples.add(*_tally(triples[is_han[1:-1]]))

    def merge(self, other: CharacterCounts) -> None:
        self.singles = self.singles + other.singles
        for mine, theirs in ((self.pairs, other.pairs), (self.triples, other.triples)):
            theirs.settle()
            mine.add(theirs.keys, theirs.counts)
            mine.settle()

    def settle(self) -> None:
        self.pairs.settle()
        self.triples.settle()


def _tally(keys: Keys) -> tuple[Keys, Tally]:
    found, counts = np.unique(keys, return_counts=True)
    return found, counts.astype(np.uint32)
