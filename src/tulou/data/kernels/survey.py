"""One pass over every text of a batch: which traits it has, and how much of what.

Cleaning rules are asked only about texts with the traits they wait for, so most texts cost this pass and nothing else.
A text is decoded once; then each trait has a small loop of its own over characters and their kinds, most of which the
compiler makes vector code of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from tulou.data.kernels import characters as c
from tulou.data.kernels.buffers import text_buffers
from tulou.data.kernels.repeats import longest_repeat, repeats
from tulou.data.kernels.shapes import Shape, find_shapes, places_of, shapes_of
from tulou.data.kernels.utf8 import decode

TIMES, WORD_TIMES = 12, 24


class Trait(IntFlag):
    NON_ASCII = 1
    MISREAD = 2  # what text read in a wrong encoding has: two characters that bytes show as, or a control character
    RARE_HAN = 4  # two characters or more that Chinese in a wrong encoding is full of
    HAN_BEYOND = 8  # a Han character outside GB2312 level 1
    INVISIBLE = 16
    FOLDABLE = 32
    ANGLE = 64  # "<"
    AMPERSAND = 128
    AT = 256  # full-width, too
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
    return Survey(traits, counts)


# --- the reference ----------------------------------------------------------------------------------------------


_kind = lru_cache(maxsize=8192)(c.kind_of)
_MISREAD_SIGNS = re.compile("[\0\x80-\x9f]|[\x80-\xff”][0-9@-~\x80-\xff€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]")


def survey_one(text: str) -> tuple[int, list[int]]:
    """What the compiled pass computes, in plain Python."""
    kinds = [_kind(char) for char in text]
    has = 0
    for kind in kinds:
        has |= kind
    digits = sum(bool(kind & c.DIGIT) for kind in kinds)
    traits = {
        Trait.NON_ASCII: not text.isascii(),
        Trait.MISREAD: _MISREAD_SIGNS.search(text) is not None,
        Trait.RARE_HAN: sum(bool(kind & c.SUSPECT) for kind in kinds) >= 2,
        Trait.HAN_BEYOND: bool(has & c.HAN_BEYOND),
        Trait.INVISIBLE: bool(has & c.INVISIBLE),
        Trait.FOLDABLE: bool(has & c.FOLDABLE),
        Trait.ANGLE: "<" in text,
        Trait.AMPERSAND: "&" in text,
        Trait.AT: "@" in text or "＠" in text,
        Trait.DIGITS: digits >= 3,
        Trait.SPACING: _has_spacing(text, kinds),
        Trait.REPEATED: any(longest_repeat(text, unit) >= TIMES * unit for unit in (1, 2, 3, 4)),
        Trait.LINES: text.count("\n") >= 6,
        Trait.REPEATED_WORDS: _repeats_words(text, kinds),
    }
    counts = [
        len(text),
        sum(bool(kind & c.ALNUM) for kind in kinds),
        digits,
        sum(bool(kind & (c.SPACE | c.BLANK)) for kind in kinds),
        text.count("|"),
    ]
    found = sum(trait for trait, is_so in traits.items() if is_so)
    return found | (shapes_of(text) if digits >= 3 else 0), counts


def _has_spacing(text: str, kinds: list[int]) -> bool:
    if not text:
        return False
    if text[0] in " \n" or text[-1] in " \n" or "\n\n\n" in text or " \n" in text or "  " in text:
        return True
    if any(kind & c.ODD_SPACE or (kind & c.BLANK and char != "\n") for kind, char in zip(kinds, text, strict=True)):
        return True
    beside = c.CHINESE_MARK
    return any(
        char == " " and (kinds[i - 1] & beside or kinds[i + 1] & beside)
        for i, char in enumerate(text)
        if 0 < i < len(text) - 1
    )


def _repeats_words(text: str, kinds: list[int]) -> bool:
    shown = zip(kinds, text, strict=True)
    words = "".join(" " if kind & (c.SPACE | c.BLANK) else char for kind, char in shown).split(" ")
    words = [word for word in words if word]
    return any(longest_repeat(words, unit) >= WORD_TIMES * unit for unit in (1, 2, 3))


# --- the same, compiled -----------------------------------------------------------------------------------------


_WORD_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MISREAD, _RARE_HAN, _SPACING, _LINES = map(int, (Trait.MISREAD, Trait.RARE_HAN, Trait.SPACING, Trait.LINES))
_REPEATED, _REPEATED_WORDS, _DIGITS = map(int, (Trait.REPEATED, Trait.REPEATED_WORDS, Trait.DIGITS))
_NON_ASCII, _ANGLE, _AMPERSAND, _AT = map(int, (Trait.NON_ASCII, Trait.ANGLE, Trait.AMPERSAND, Trait.AT))
_HAN_BEYOND, _INVISIBLE, _FOLDABLE = map(int, (Trait.HAN_BEYOND, Trait.INVISIBLE, Trait.FOLDABLE))
_SPACE_OR_BLANK = c.SPACE | c.BLANK


@njit(cache=True, nogil=True)
def _survey(data, offsets, kinds, traits, counts):  # type: ignore[no-untyped-def]
    longest = 1
    for row in range(offsets.shape[0] - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    codes = np.empty(longest, dtype=np.uint32)
    found = np.empty(longest, dtype=np.uint16)
    places = np.empty(longest + 1, dtype=np.int32)
    lengths = np.empty(longest + 1, dtype=np.int32)
    for row in range(offsets.shape[0] - 1):
        count = decode(data, offsets[row], offsets[row + 1], kinds, codes, found)
        has, alnum, digits, blanks, spaces, suspects = _tally(found, count)
        code_bits, lines, angles, ampersands, ats, pipes = _signs(codes, count)
        traits[row] = (
            (_NON_ASCII if code_bits >= 0x80 else 0)
            | (_MISREAD if has & c.HIGH and _is_misread(codes, found, count) else 0)
            | (_RARE_HAN if suspects >= 2 else 0)
            | (_HAN_BEYOND if has & c.HAN_BEYOND else 0)
            | (_INVISIBLE if has & c.INVISIBLE else 0)
            | (_FOLDABLE if has & c.FOLDABLE else 0)
            | (_ANGLE if angles else 0)
            | (_AMPERSAND if ampersands else 0)
            | (_AT if ats else 0)
            | (_SPACING if has & c.ODD_SPACE or blanks > lines or _is_spaced(found, count, lines) else 0)
            | (_REPEATED if repeats(codes, count, 4, TIMES) else 0)
            | (_LINES if lines >= 6 else 0)
            | (
                _REPEATED_WORDS
                if spaces >= WORD_TIMES - 1 and _repeats_words_of(codes, found, count, places, lengths)
                else 0
            )
            | (_DIGITS if digits >= 3 else 0)
        )
        counts[row, 0] = count
        counts[row, 1] = alnum
        counts[row, 2] = digits
        counts[row, 3] = spaces
        counts[row, 4] = pipes
        if digits >= 3:  # last, because it takes out of `codes` what cannot be seen
            traits[row] |= find_shapes(codes, found, count, has, places)


@njit(cache=True, nogil=True)
def _tally(found, count):  # type: ignore[no-untyped-def]
    """All bits of the kinds, and how many have some of them; `spaces` count blanks, too."""
    has = alnum = digits = blanks = spaces = suspects = np.int32(0)
    for i in range(count):
        kind = np.int32(found[i])
        has |= kind
        alnum += kind & 1
        digits += (kind >> 8) & 1
        blanks += (kind >> 7) & 1
        spaces += (kind >> 6 | kind >> 7) & 1
        suspects += (kind >> 3) & 1
    return has, alnum, digits, blanks, spaces, suspects


@njit(cache=True, nogil=True)
def _signs(codes, count):  # type: ignore[no-untyped-def]
    """All bits of the codes, and how many line ends and signs of interest there are."""
    bits = np.uint32(0)
    lines = angles = ampersands = ats = pipes = np.int32(0)
    for i in range(count):
        code = codes[i]
        bits |= code
        lines += code == 10
        angles += code == 60
        ampersands += code == 38
        ats += (code == 64) | (code == 0xFF20)
        pipes += code == 124
    return bits, lines, angles, ampersands, ats, pipes


@njit(cache=True, nogil=True)
def _is_misread(codes, found, count):  # type: ignore[no-untyped-def]
    for i in range(count):
        if found[i] & c.HIGH:
            if codes[i] < 0xA0:
                return True
            if i + 1 < count:
                after = codes[i + 1]
                if found[i + 1] & (c.HIGH | c.WINDOWS) or 48 <= after <= 57 or 64 <= after <= 126:
                    return True
    return False


@njit(cache=True, nogil=True)
def _is_spaced(found, count, lines):  # type: ignore[no-untyped-def]
    """Spaces and line ends where they mean nothing; every space is U+0020 here, and all that is blank a line end.

    Bit 6 of a kind: a space; bit 7: a line end; bit 10: Chinese punctuation.
    """
    if count == 0:
        return False
    if (found[0] | found[count - 1]) & _SPACE_OR_BLANK:
        return True
    is_so = np.int32(0)
    for i in range(1, count):
        before, kind = np.int32(found[i - 1]), np.int32(found[i])
        is_so |= (before >> 6) & (kind >> 6 | kind >> 7 | kind >> 10) | (before >> 10) & (kind >> 6)
    is_so &= 1
    for i in range(2, count if lines >= 3 else 0):
        is_so |= (np.int32(found[i]) & np.int32(found[i - 1]) & np.int32(found[i - 2])) >> 7 & 1
    return is_so != 0


@njit(cache=True, nogil=True)
def _repeats_words_of(codes, found, count, ends, lengths):  # type: ignore[no-untyped-def]
    """Words of the same lengths come again wherever words do, and are found sooner."""
    gaps = places_of(found, count, _SPACE_OR_BLANK, ends)
    ends[gaps] = count
    words = start = 0
    for gap in range(gaps + 1):
        lengths[words] = ends[gap] - start
        words += ends[gap] > start
        start = ends[gap] + 1
    if not repeats(lengths, words, 3, WORD_TIMES):
        return False
    hashes = np.zeros(words, dtype=np.uint64)
    word = 0
    for i in range(count):
        if not found[i] & _SPACE_OR_BLANK:
            hashes[word] = (hashes[word] ^ np.uint64(codes[i] + 1)) * _WORD_FACTOR
            if i + 1 < count and found[i + 1] & _SPACE_OR_BLANK:
                word += 1
    return repeats(hashes, words, 3, WORD_TIMES)
