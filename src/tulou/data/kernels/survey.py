"""One pass over every text of a batch: which traits it has, and how much of what.

Cleaning rules are asked only about texts with the traits they wait for, so most texts cost this pass and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from tulou.data.kernels import characters as c
from tulou.data.kernels.buffers import text_buffers
from tulou.data.kernels.shapes import Shape, mark_shapes, shapes_of
from tulou.data.kernels.utf8 import next_character

WORD_TIMES = 24


class Trait(IntFlag):
    NON_ASCII = 1
    LATIN1 = 2  # a character in U+0080..U+00FF
    RARE_HAN = 4  # two characters or more that Chinese in a wrong encoding is full of
    HAN_BEYOND = 8  # a Han character outside GB2312 level 1
    INVISIBLE = 16
    FOLDABLE = 32
    ANGLE = 64  # "<"
    AMPERSAND = 128
    AT = 256
    DIGITS = 512  # three digits or more
    SPACING = 1024  # white space that may mean nothing
    REPEATED = 2048  # one unit of 1 to 4 characters twelve times in a row
    LINES = 4096  # six line ends or more
    REPEATED_WORDS = 8192  # one to three words 24 times in a row
    LONG_NUMBER = Shape.LONG_NUMBER
    DOTTED = Shape.DOTTED
    COLONS = Shape.COLONS
    LETTERS_DIGITS = Shape.LETTERS_DIGITS
    PLATE = Shape.PLATE


ALL_TRAITS = Trait(sum(Trait))


class Count(IntEnum):
    """Columns of `Survey.counts`."""

    CHARS = 0
    ALNUM = 1
    DIGITS = 2
    SPACES = 3  # line ends and control characters that count as space included
    PIPES = 4


@dataclass(frozen=True)
class Survey:
    traits: NDArray[np.uint32]  # (texts,)
    counts: NDArray[np.int32]  # (texts, len(Count))


def survey(texts: pa.StringArray, *, is_compiled: bool = True) -> Survey:
    """The traits and counts of each text; null counts as empty."""
    if not is_compiled:
        rows = [survey_one(text or "") for text in texts.to_pylist()]
        traits = np.fromiter((row[0] for row in rows), np.uint32, len(rows))
        return Survey(traits, np.array([row[1] for row in rows], dtype=np.int32).reshape(len(rows), len(Count)))
    data, offsets = text_buffers(texts)
    traits = np.empty(len(texts), dtype=np.uint32)
    counts = np.zeros((len(texts), len(Count)), dtype=np.int32)
    _survey(data, offsets, c.kinds(), traits, counts)
    mark_shapes(data, offsets, c.kinds(), traits, Trait.DIGITS)
    return Survey(traits, counts)


# --- the reference ----------------------------------------------------------------------------------------------


_kind = lru_cache(maxsize=8192)(c.kind_of)


def survey_one(text: str) -> tuple[int, list[int]]:
    """What the compiled pass computes, in plain Python."""
    kinds = [_kind(char) for char in text]
    has = 0
    for kind in kinds:
        has |= kind
    digits = sum(bool(kind & c.DIGIT) for kind in kinds)
    traits = {
        Trait.NON_ASCII: not text.isascii(),
        Trait.LATIN1: any(0x80 <= ord(char) <= 0xFF for char in text),
        Trait.RARE_HAN: sum(bool(kind & c.SUSPECT) for kind in kinds) >= 2,
        Trait.HAN_BEYOND: bool(has & c.HAN_BEYOND),
        Trait.INVISIBLE: bool(has & c.INVISIBLE),
        Trait.FOLDABLE: bool(has & c.FOLDABLE),
        Trait.ANGLE: "<" in text,
        Trait.AMPERSAND: "&" in text,
        Trait.AT: "@" in text,
        Trait.DIGITS: digits >= 3,
        Trait.SPACING: _has_spacing(text, kinds),
        Trait.REPEATED: any(_longest_repeat(text, unit) >= 12 * unit for unit in (1, 2, 3, 4)),
        Trait.LINES: text.count("\n") >= 6,
        Trait.REPEATED_WORDS: _repeats_words(text, kinds),
    }
    counts = [
        len(text),
        sum(bool(kind & c.ALNUM) for kind in kinds),
        digits,
        sum(bool(kind & c.SPACE) or char in _BLANK for kind, char in zip(kinds, text, strict=True)),
        text.count("|"),
    ]
    found = sum(trait for trait, is_so in traits.items() if is_so)
    return found | (shapes_of(text) if digits >= 3 else 0), counts


_BLANK = "\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029"


def _has_spacing(text: str, kinds: list[int]) -> bool:
    if not text:
        return False
    if text[0] in " \n" or text[-1] in " \n" or "\r" in text or "\n\n\n" in text or " \n" in text or "  " in text:
        return True
    if any(kind & c.ODD_SPACE or char in _BLANK[2:] for kind, char in zip(kinds, text, strict=True)):
        return True
    beside = c.CHINESE_MARK
    return any(
        char == " " and (kinds[i - 1] & beside or kinds[i + 1] & beside)
        for i, char in enumerate(text)
        if 0 < i < len(text) - 1
    )


def _longest_repeat(text: Sequence[str], unit: int) -> int:
    """The most items in a row of which each equals the one `unit` places before, that first unit included."""
    longest = run = 0
    for i in range(unit, len(text)):
        run = run + 1 if text[i] == text[i - unit] else 0
        longest = max(longest, run + unit if run else 0)
    return longest


def _repeats_words(text: str, kinds: list[int]) -> bool:
    blank = (bool(kind & c.SPACE) or char in _BLANK for kind, char in zip(kinds, text, strict=True))
    words = "".join(" " if is_blank else char for is_blank, char in zip(blank, text, strict=True)).split(" ")
    words = [word for word in words if word]
    return any(_longest_repeat(words, unit) >= WORD_TIMES * unit for unit in (1, 2, 3))


# --- the same, compiled -----------------------------------------------------------------------------------------


_WORD_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_NO_WORD = np.uint64(0)
_TIMES_LESS_1 = WORD_TIMES - 1
_RARE_HAN_PLANES = c.kind_of("\U00020000")
_FAR_PLANES = c.kind_of("\U000e0000")


@njit(cache=True, nogil=True, inline="always")
def _kind_above(code):  # type: ignore[no-untyped-def]
    return _RARE_HAN_PLANES if code < 0x40000 else _FAR_PLANES


@njit(cache=True, nogil=True)
def _survey(data, offsets, kinds, traits, counts):  # type: ignore[no-untyped-def]
    """Decodes UTF-8 and keeps a few registers; about 1 GB/s."""
    table_size = kinds.shape[0]
    for row in range(offsets.shape[0] - 1):
        start = offsets[row]
        end = offsets[row + 1]
        has = 0
        found = 0
        chars = alnum = digits = spaces = pipes = suspects = lines = 0
        before1 = before2 = before3 = before4 = -1  # the four characters before this one
        run1 = run2 = run3 = run4 = 0
        kind_before = 0
        word = word1 = word2 = word3 = np.uint64(0)  # hashes of this word and the three before it; 0: none
        words1 = words2 = words3 = 0
        place = start
        while place < end:
            code, place = next_character(data, place)
            kind = np.int64(kinds[code]) if code < table_size else _kind_above(code)
            has |= kind
            chars += 1
            alnum += kind & 1
            digits += (kind >> 8) & 1
            suspects += (kind >> 3) & 1
            is_blank = (
                code == 10
                or code == 13
                or code == 11
                or code == 12
                or (0x1C <= code <= 0x1F)
                or code == 0x85
                or code == 0x2028
                or code == 0x2029
            )
            if (kind & 64) or is_blank:
                spaces += 1
            else:
                word = (word ^ np.uint64(code + 1)) * _WORD_FACTOR
            if word != _NO_WORD and ((kind & 64) or is_blank or place >= end):
                words1 = words1 + 1 if word == word1 else 0
                words2 = words2 + 1 if word == word2 else 0
                words3 = words3 + 1 if word == word3 else 0
                if words1 >= _TIMES_LESS_1 or words2 >= 2 * _TIMES_LESS_1 or words3 >= 3 * _TIMES_LESS_1:
                    found |= 8192
                word3, word2, word1, word = word2, word1, word, _NO_WORD
            if code < 0x80:
                if code == 10:
                    lines += 1
                    if before1 == 32 or (before1 == 10 and before2 == 10):
                        found |= 1024
                elif code == 32:
                    if before1 == 32 or (kind_before & 1024 and place < end):
                        found |= 1024
                elif code == 60:
                    found |= 64
                elif code == 38:
                    found |= 128
                elif code == 64:
                    found |= 256
                elif code == 124:
                    pipes += 1
            else:
                found |= 1
                if code <= 0xFF:
                    found |= 2
                if kind & 1024 and before1 == 32 and chars > 2:
                    found |= 1024
            if is_blank and code != 10:
                found |= 1024
            run1 = run1 + 1 if code == before1 else 0
            run2 = run2 + 1 if code == before2 else 0
            run3 = run3 + 1 if code == before3 else 0
            run4 = run4 + 1 if code == before4 else 0
            if run1 >= 11 or run2 >= 22 or run3 >= 33 or run4 >= 44:
                found |= 2048
            before4 = before3
            before3 = before2
            before2 = before1
            before1 = code
            kind_before = kind
        if chars > 0:
            first = data[start]
            if first == 32 or first == 10 or before1 == 32 or before1 == 10:
                found |= 1024
        if has & 2048:
            found |= 1024
        if suspects >= 2:
            found |= 4
        if has & 4:
            found |= 8
        if has & 16:
            found |= 16
        if has & 32:
            found |= 32
        if digits >= 3:
            found |= 512
        if lines >= 6:
            found |= 4096
        traits[row] = found
        counts[row, 0] = chars
        counts[row, 1] = alnum
        counts[row, 2] = digits
        counts[row, 3] = spaces
        counts[row, 4] = pipes
