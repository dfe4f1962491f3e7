"""The shapes that digits make with what is around them, by which identifying numbers are told from the rest.

Seen are classes of characters, invisible ones left out: digits, Latin letters, Han, other letters, dots, colons, other
signs; full-width forms count as what they stand for. Only texts with three digits are looked at.
"""

from __future__ import annotations

import re
from enum import IntFlag
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tulou.data.kernels import characters as c
from tulou.data.kernels.utf8 import next_character


class Shape(IntFlag):
    LONG_NUMBER = 1 << 16  # seven digits or more, at most three signs between two
    DOTTED = 1 << 17  # three dots with a digit on either side
    COLONS = 1 << 18  # two colons in a row, or seven in all
    LETTERS_DIGITS = 1 << 19  # two letters and two digits in a row
    PLATE = 1 << 20  # a Han character, a letter, and four letters or digits in a row


def mark_shapes(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int32],
    kinds: NDArray[np.uint16],
    traits: NDArray[np.uint32],
    asked: int,
) -> None:
    """Add the shapes of each text to its `traits` where they have one of the bits `asked`."""
    _mark_shapes(data, offsets, kinds, traits, asked)


# --- the reference ----------------------------------------------------------------------------------------------


_PATTERNS = {
    Shape.LONG_NUMBER: re.compile(r"d(?:[^dlha]{0,3}d){6}"),
    Shape.DOTTED: re.compile(r"(?:(?<=d)\.(?=d).*?){3}", re.DOTALL),
    Shape.COLONS: re.compile(r"::|(?:[^:]*:){7}"),
    Shape.LETTERS_DIGITS: re.compile(r"lldd"),
    Shape.PLATE: re.compile(r"hl[^dlha]{0,3}[dl]{4}"),
}


def shapes_of(text: str) -> int:
    """What the compiled pass adds to the traits of a text."""
    classes = "".join(_class_of(char) for char in text)
    return sum(shape for shape, pattern in _PATTERNS.items() if pattern.search(classes))


@lru_cache(maxsize=8192)
def _class_of(char: str) -> str:
    kind, code = c.kind_of(char), ord(char)
    if kind & c.INVISIBLE or 0xFE00 <= code <= 0xFE0F:
        return ""
    if kind & c.DIGIT:
        return "d"
    if (char.isascii() and char.isalpha()) or 0xFF21 <= code <= 0xFF3A or 0xFF41 <= code <= 0xFF5A:
        return "l"
    if kind & c.HAN:
        return "h"
    if kind & c.ALNUM:
        return "a"
    return {"．": ".", "：": ":"}.get(char, char if char in ".:" else "-")


# --- the same, compiled -----------------------------------------------------------------------------------------


_DIGIT, _LETTER, _HAN, _OTHER, _DOT, _COLON, _SIGN, _NOTHING = range(8)


@njit(cache=True, nogil=True, inline="always")
def _class(code, kind):  # type: ignore[no-untyped-def]
    if kind & 256:
        return _DIGIT
    if code < 0x80:
        if kind & 1:
            return _LETTER
        if code == 46:
            return _DOT
        if code == 58:
            return _COLON
        return _NOTHING if kind & 16 else _SIGN
    if kind & 16 or 0xFE00 <= code <= 0xFE0F:
        return _NOTHING
    if 0xFF21 <= code <= 0xFF3A or 0xFF41 <= code <= 0xFF5A:
        return _LETTER
    if kind & 2:
        return _HAN
    if kind & 1:
        return _OTHER
    if code == 0xFF0E:
        return _DOT
    return _COLON if code == 0xFF1A else _SIGN


@njit(cache=True, nogil=True)
def _mark_shapes(data, offsets, kinds, traits, asked):  # type: ignore[no-untyped-def]
    table_size = kinds.shape[0]
    for row in range(offsets.shape[0] - 1):
        if traits[row] & asked == 0:
            continue
        found = 0
        run = gap = 0  # digits so far, and signs since the last one
        dots = 0
        colons = 0
        letters = 0  # in a row, two at most
        is_code = False  # after two letters and a digit
        plate = 0  # 1 after a Han character, 2 after the letter, then how far the four are
        plate_gap = 0
        before = _SIGN
        before2 = _SIGN
        place = offsets[row]
        end = offsets[row + 1]
        while place < end:
            code, place = next_character(data, place)
            kind = np.int64(kinds[code]) if code < table_size else (3 if code < 0x40000 else 0)
            shape = _class(code, kind)
            if shape == _NOTHING:
                continue
            if shape == _DIGIT:
                run = run + 1 if run > 0 and gap <= 3 else 1
                gap = 0
                if run >= 7:
                    found |= 65536
                if before == _DOT and before2 == _DIGIT:
                    dots += 1
                if is_code:
                    found |= 524288
                is_code = letters >= 2
                letters = 0
            else:
                is_code = False
                letters = min(letters + 1, 2) if shape == _LETTER else 0
                if shape <= _OTHER:
                    run = 0
                else:
                    gap += 1
            if shape == _COLON:
                colons += 1
                if before == _COLON or colons >= 7:
                    found |= 262144
            if shape == _HAN:
                plate = 1
            elif plate == 1:
                plate = 2 if shape == _LETTER else 0
                plate_gap = 0
            elif plate >= 2:
                if shape <= _LETTER:
                    plate += 1
                    if plate == 6:
                        found |= 1048576
                elif plate == 2 and shape > _OTHER and plate_gap < 3:
                    plate_gap += 1
                else:
                    plate = 0
            before2 = before
            before = shape
        if dots >= 3:
            found |= 131072
        traits[row] |= found
