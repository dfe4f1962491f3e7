"""What kind of character each one is: a table the compiled loops look up, and its meaning in plain Python.

One entry of 16 bits for each code point below U+20000, made at first use in about 0.1 s; above lie only rare Han
characters, which one entry serves.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

TABLE_SIZE = 0x20000

ALNUM = 1  # letter or digit of any script
HAN = 2
HAN_BEYOND = 4  # Han outside GB2312 level 1, the 3,755 everyday characters
SUSPECT = 8  # what Chinese read in a wrong encoding is full of
INVISIBLE = 16
FOLDABLE = 32
SPACE = 64  # that is no line end
LATIN = 128
DIGIT = 256  # ASCII or full-width
ELSEWHERE = 512  # scripts that are neither Latin nor Han
CHINESE_MARK = 1024  # Chinese punctuation that no space should stand beside
ODD_SPACE = 2048  # a space other than U+0020
ALONE = 4096  # a character that is a word by itself: Han, kana, Hangul

_ABOVE_BASE = FOLDABLE  # compatibility ideographs lie there


_CHINESE_MARKS = frozenset("，。！？：；、（）")
_NOT_FOLDED = frozenset("！（），：；？～…\u3000\xa0")  # NFKC would; too frequent, and right as they are


@cache
def kinds() -> NDArray[np.uint16]:
    """The bits of every character below `TABLE_SIZE`; surrogates have none."""
    table = np.fromiter((0 if 0xD800 <= code < 0xE000 else kind_of(chr(code)) for code in range(TABLE_SIZE)), np.uint16)
    table.flags.writeable = False
    return table


@cache
def folded() -> NDArray[np.uint32]:
    """The case-folded code point of every character below `TABLE_SIZE`."""
    table = np.fromiter((ord(fold(chr(code))) for code in range(TABLE_SIZE)), np.uint32)
    table.flags.writeable = False
    return table


def fold(char: str) -> str:
    """The character that stands for `char` in all cases; itself where folding gives several."""
    plain = char.casefold()
    return plain if len(plain) == 1 else char


def kind_of(char: str) -> int:
    code = ord(char)
    if code < 0x80:
        return _kind_of_ascii(char, code)
    if code >= TABLE_SIZE:
        return _ABOVE_BASE if code >= 0x40000 else _ABOVE_BASE | ALNUM | HAN | HAN_BEYOND | SUSPECT | ALONE
    bits = ALNUM if char.isalnum() else 0
    is_han = 0x3400 <= code <= 0x4DBF or 0x4E00 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF
    if is_han:
        bits |= HAN | ALONE
        if not is_everyday_han(char):
            bits |= HAN_BEYOND | SUSPECT
    if 0x3040 <= code <= 0x30FF:
        bits |= SUSPECT | ELSEWHERE | ALONE
    elif 0x1100 <= code <= 0x11FF or 0xAC00 <= code <= 0xD7AF:
        bits |= ELSEWHERE | ALONE
    elif 0x370 <= code <= 0x1CFF:
        bits |= ELSEWHERE
    if 0xE000 <= code <= 0xF8FF or code == 0xFFFD:
        bits |= SUSPECT
    if is_invisible(code):
        bits |= INVISIBLE
    if is_foldable(char):
        bits |= FOLDABLE
    if unicodedata.category(char) == "Zs":
        bits |= SPACE | ODD_SPACE
    if 0xC0 <= code <= 0x24F:
        bits |= LATIN
    if 0xFF10 <= code <= 0xFF19:
        bits |= DIGIT
    return bits | CHINESE_MARK if char in _CHINESE_MARKS else bits


def _kind_of_ascii(char: str, code: int) -> int:
    if char.isalpha():
        return ALNUM | LATIN
    if char.isdigit():
        return ALNUM | DIGIT
    if char == " ":
        return SPACE
    if char == "\t":
        return SPACE | ODD_SPACE
    return INVISIBLE if is_invisible(code) else 0


def is_everyday_han(char: str) -> bool:
    """Whether `char` is in level 1 of GB2312."""
    try:
        raw = char.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return len(raw) == 2 and 0xB0 <= raw[0] <= 0xD7


def is_invisible(code: int) -> bool:
    """Control characters but tab and line ends, direction marks, and others without a picture."""
    return (
        (code < 0x20 and code not in (0x09, 0x0A, 0x0D))
        or 0x7F <= code <= 0x9F
        or code in (0xAD, 0xFEFF, 0xFFFE)
        or 0x200B <= code <= 0x200F
        or 0x202A <= code <= 0x202E
        or 0x2060 <= code <= 0x2064
    )


def is_foldable(char: str) -> bool:
    """Whether folding or composing may change a text because `char` is in it."""
    return char not in _NOT_FOLDED and (
        unicodedata.normalize("NFKC", char) != char or unicodedata.combining(char) > 0 or char in _composing()
    )


@cache
def _composing() -> frozenset[str]:
    """Characters that may join the one before them under NFC (its quick check says "maybe")."""
    pairs = (unicodedata.decomposition(chr(code)).split() for code in range(TABLE_SIZE))
    seconds = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and not pair[0].startswith("<")}
    jamo = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    return frozenset(seconds | jamo)
