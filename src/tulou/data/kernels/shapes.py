"""The shapes that digits make with what is around them, by which identifying numbers are told from the rest.

Seen are classes of characters, invisible ones left out: digits, Latin letters, Han, other letters, dots, colons, other
signs; full-width forms count as what they stand for. Only texts with three digits are looked at.
"""

from __future__ import annotations

import re
from enum import IntFlag
from functools import lru_cache

from numba import njit

from tulou.data.kernels import characters as c


class Shape(IntFlag):
    LONG_NUMBER = 1 << 16  # seven digits or more, at most three signs between two
    DOTTED = 1 << 17  # four groups of up to three digits with dots between; the outer ones may be longer
    COLONS = 1 << 18  # two colons in a row, or seven in all
    LETTERS_DIGITS = 1 << 19  # two letters and two digits in a row
    PLATE = 1 << 20  # a Han character, a letter, and four letters or digits in a row


# --- the reference ----------------------------------------------------------------------------------------------


_PATTERNS = {
    Shape.LONG_NUMBER: re.compile(r"d(?:[^dlha]{0,3}d){6}"),
    Shape.DOTTED: re.compile(r"d(?:\.d{1,3}){2}\.d"),
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


_LONG_NUMBER, _DOTTED, _COLONS, _LETTERS_DIGITS, _PLATE = map(int, Shape)
_UNSEEN = c.INVISIBLE | c.SELECTOR
_NO_SIGN = c.ALNUM | c.HAN
_LETTER_OR_DIGIT = c.LETTER | c.DIGIT


@njit(cache=True, nogil=True)
def find_shapes(codes, kinds, count, has, places):  # type: ignore[no-untyped-def]
    """The shapes in a decoded text; `has` is all bits of its `kinds`, `places` has room for as many and one more.

    What cannot be seen is taken out of both arrays.
    """
    if has & _UNSEEN:
        count = _take_out_unseen(codes, kinds, count)
    digits = places_of(kinds, count, c.DIGIT, places)
    dots, colons, is_code, is_like_a_plate = _marks(codes, kinds, count)
    return (
        (_LONG_NUMBER if digits >= 7 and _has_long_number(kinds, places, digits) else 0)
        | (_DOTTED if dots >= 3 and _has_dotted(codes, places, digits) else 0)
        | (_COLONS if colons >= 2 and _has_colons(codes, count, colons) else 0)
        | (_LETTERS_DIGITS if is_code else 0)
        | (_PLATE if is_like_a_plate and _has_plate(kinds, count) else 0)
    )


@njit(cache=True, nogil=True)
def places_of(kinds, count, bits, places):  # type: ignore[no-untyped-def]
    """Where kinds have one of the `bits`, into `places`; returns how many. No jump depends on the text."""
    known = 0
    for i in range(count):
        places[known] = i
        known += (kinds[i] & bits) != 0
    return known


@njit(cache=True, nogil=True)
def _take_out_unseen(codes, kinds, count):  # type: ignore[no-untyped-def]
    left = 0
    for i in range(count):
        if not kinds[i] & _UNSEEN:
            codes[left] = codes[i]
            kinds[left] = kinds[i]
            left += 1
    return left


@njit(cache=True, nogil=True)
def _marks(codes, kinds, count):  # type: ignore[no-untyped-def]
    """How many dots and colons; whether two letters and two digits, or a Han character and a letter, stand in a row.

    Bit 1 of a kind: Han; bit 8: a digit; bit 13: a letter.
    """
    dots = colons = 0
    for i in range(count):
        dots += (codes[i] == 0x2E) | (codes[i] == 0xFF0E)
        colons += (codes[i] == 0x3A) | (codes[i] == 0xFF1A)
    is_code = is_like_a_plate = 0
    for i in range(count - 3):
        is_code |= (kinds[i] >> 13) & (kinds[i + 1] >> 13) & (kinds[i + 2] >> 8) & (kinds[i + 3] >> 8) & 1
        is_like_a_plate |= (kinds[i] >> 1) & (kinds[i + 1] >> 13) & 1
    return dots, colons, is_code, is_like_a_plate


@njit(cache=True, nogil=True)
def _has_long_number(kinds, places, digits):  # type: ignore[no-untyped-def]
    run = 1  # digits so far
    for k in range(1, digits):
        before, place = places[k - 1], places[k]
        is_joined = place - before <= 4
        for i in range(before + 1, place if is_joined else 0):
            is_joined &= kinds[i] & _NO_SIGN == 0
        run = run + 1 if is_joined else 1
        if run >= 7:
            return True
    return False


@njit(cache=True, nogil=True)
def _has_dotted(codes, places, digits):  # type: ignore[no-untyped-def]
    dots, length = 0, 1  # dots so far that stand between digits, and digits since the last one
    for k in range(1, digits):
        before, place = places[k - 1], places[k]
        if place > before + 1:
            is_dot = place == before + 2 and (codes[before + 1] == 0x2E or codes[before + 1] == 0xFF0E)
            dots = dots + 1 if is_dot else 0
            length = 0
        if dots >= 3:
            return True
        length += 1
        if length > 3:
            dots = 0
    return False


@njit(cache=True, nogil=True)
def _has_colons(codes, count, colons):  # type: ignore[no-untyped-def]
    if colons >= 7:
        return True
    for i in range(1, count):
        is_colon = codes[i] == 0x3A or codes[i] == 0xFF1A
        if is_colon and (codes[i - 1] == 0x3A or codes[i - 1] == 0xFF1A):
            return True
    return False


@njit(cache=True, nogil=True)
def _has_plate(kinds, count):  # type: ignore[no-untyped-def]
    for i in range(count - 5):
        if kinds[i] & c.HAN and kinds[i + 1] & c.LETTER:
            place = i + 2
            while place < i + 5 and place < count and not kinds[place] & _NO_SIGN:
                place += 1
            first = place
            while place < count and place < first + 4 and kinds[place] & _LETTER_OR_DIGIT:
                place += 1
            if place == first + 4:
                return True
    return False
