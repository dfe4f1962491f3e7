"""What kind of character each one is: a table the compiled loops look up, and its meaning in plain Python.

One entry of 16 bits for each code point below U+20000, made at first use in some 20 ms; above lie only rare Han
characters, which one entry serves.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from functools import cache, partial

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
BLANK = 128  # line ends, and control characters that count as space
DIGIT = 256  # ASCII or full-width
HIGH = 512  # what a byte above 0x7F shows as first where it was read in a wrong encoding; and U+0000
CHINESE_MARK = 1024  # Chinese punctuation that no space should stand beside
ODD_SPACE = 2048  # a space other than U+0020
ALONE = 4096  # a character that is a word by itself: Han, kana, Hangul
LETTER = 8192  # Latin, ASCII or full-width
WINDOWS = 16384  # what bytes 0x80-0x9F show as in Windows-1252
SELECTOR = 32768  # of an emoji's or a character's variant; seen by nobody

_BEYOND = HAN_BEYOND | SUSPECT
_RANGES = (  # first, last, bits; they may overlap
    (0x00, 0x08, INVISIBLE),
    (0x0B, 0x0C, INVISIBLE),
    (0x0E, 0x1F, INVISIBLE),
    (0x7F, 0x9F, INVISIBLE),
    (0xAD, 0xAD, INVISIBLE),  # soft hyphen
    (0x200B, 0x200F, INVISIBLE),  # zero width, direction
    (0x202A, 0x202E, INVISIBLE),
    (0x2060, 0x2064, INVISIBLE),
    (0x2066, 0x2069, INVISIBLE),
    (0xFEFF, 0xFEFF, INVISIBLE),
    (0xFFFE, 0xFFFE, INVISIBLE),
    (0x09, 0x09, SPACE | ODD_SPACE),
    (0x20, 0x20, SPACE),
    (0xA0, 0xA0, SPACE | ODD_SPACE),
    (0x1680, 0x1680, SPACE | ODD_SPACE),
    (0x2000, 0x200A, SPACE | ODD_SPACE),
    (0x202F, 0x202F, SPACE | ODD_SPACE),
    (0x205F, 0x205F, SPACE | ODD_SPACE),
    (0x3000, 0x3000, SPACE | ODD_SPACE),
    (0x0A, 0x0D, BLANK),
    (0x1C, 0x1F, BLANK),
    (0x85, 0x85, BLANK),
    (0x2028, 0x2029, BLANK),
    (0x00, 0x00, HIGH),
    (0x80, 0xFF, HIGH),
    (0x201D, 0x201D, HIGH),  # ”, byte 0x94 in Windows-1252, which may begin four bytes of GB 18030
    (0x30, 0x39, DIGIT),
    (0xFF10, 0xFF19, DIGIT),
    (0x41, 0x5A, LETTER),
    (0x61, 0x7A, LETTER),
    (0xFF21, 0xFF3A, LETTER),
    (0xFF41, 0xFF5A, LETTER),
    *((ord(char), ord(char), WINDOWS) for char in "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"),
    (0xFE00, 0xFE0F, SELECTOR),
    (0x1100, 0x11FF, ALONE),  # Hangul
    (0xAC00, 0xD7AF, ALONE),
    (0x3040, 0x30FF, ALONE | SUSPECT),  # kana
    (0x3400, 0x4DBF, HAN | ALONE | _BEYOND),
    (0x4E00, 0x9FFF, HAN | ALONE | _BEYOND),
    (0xF900, 0xFAFF, HAN | ALONE | _BEYOND),
    (0xE000, 0xF8FF, SUSPECT),  # private use
    (0xFFFD, 0xFFFD, SUSPECT),
)
_CHINESE_MARKS = frozenset("，。！？：；、（）")
_NOT_FOLDED = frozenset("！（），：；？～…\u3000\xa0")  # NFKC would; too frequent, and right as they are


def kind_of(char: str) -> int:
    """The bits of `char`."""
    code = ord(char)
    if code >= TABLE_SIZE:  # compatibility ideographs lie there too
        return FOLDABLE if code >= 0x40000 else FOLDABLE | ALNUM | HAN | ALONE | _BEYOND
    bits = 0
    for first, last, more in _RANGES:
        if first <= code <= last:
            bits |= more
    if char in everyday_han():
        bits &= ~_BEYOND
    if char.isalnum():
        bits |= ALNUM
    if is_foldable(char):
        bits |= FOLDABLE
    return bits | CHINESE_MARK if char in _CHINESE_MARKS else bits


def fold(char: str) -> str:
    """The character that stands for `char` in all cases; itself where folding gives several."""
    plain = char.casefold()
    return plain if len(plain) == 1 else char


def is_foldable(char: str) -> bool:
    """Whether folding or composing may change a text because `char` is in it."""
    if char in _NOT_FOLDED:
        return False
    return unicodedata.normalize("NFKC", char) != char or unicodedata.combining(char) > 0 or char in _composing()


@cache
def everyday_han() -> frozenset[str]:
    """The 3,755 characters of GB2312's level 1."""
    pairs = (bytes([row, cell]) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    return frozenset("".join(pair.decode("gb2312", "ignore") for pair in pairs))


@cache
def _composing() -> frozenset[str]:
    """Characters that may join the one before them under NFC (its quick check says "maybe")."""
    pairs = (text.split() for text in map(unicodedata.decomposition, _characters()) if text)
    seconds = {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and not pair[0].startswith("<")}
    jamo = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    return frozenset(seconds | jamo)


# --- tables for the compiled loops ------------------------------------------------------------------------------


@cache
def kinds() -> NDArray[np.uint16]:
    """`kind_of` each character below `TABLE_SIZE`; surrogates have no bits."""
    table = np.zeros(TABLE_SIZE, dtype=np.uint16)
    for first, last, bits in _RANGES:
        table[first : last + 1] |= np.uint16(bits)
    table[_codes(everyday_han())] &= np.uint16(0xFFFF & ~_BEYOND)
    table[_which(str.isalnum)] |= ALNUM
    table[_which(unicodedata.combining) | ~_which(partial(unicodedata.is_normalized, "NFKC"))] |= FOLDABLE
    table[_codes(_composing())] |= FOLDABLE
    table[_codes(_NOT_FOLDED)] &= np.uint16(0xFFFF & ~FOLDABLE)
    table[_codes(_CHINESE_MARKS)] |= CHINESE_MARK
    table[0xD800:0xE000] = 0
    table.flags.writeable = False
    return table


@cache
def folded() -> NDArray[np.uint32]:
    """The code point of `fold` of each character below `TABLE_SIZE`."""
    table = np.arange(TABLE_SIZE, dtype=np.uint32)
    cased = [char for char in _characters() if char.casefold() != char]
    table[_codes(cased)] = _codes(fold(char) for char in cased)
    table.flags.writeable = False
    return table


def _which(says_so: Callable[[str], object]) -> NDArray[np.bool_]:
    """The characters that a function written in C says so of, with no step in Python for each."""
    return np.fromiter(map(bool, map(says_so, _characters())), dtype=np.bool_, count=TABLE_SIZE)


@cache
def _characters() -> list[str]:
    return list(map(chr, range(TABLE_SIZE)))


def _codes(characters: Iterable[str]) -> NDArray[np.int64]:
    return np.fromiter(map(ord, characters), dtype=np.int64)
