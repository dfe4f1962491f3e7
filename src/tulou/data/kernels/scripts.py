"""The language of every text of a batch, by counting scripts as `tulou.data.language` does, which is the reference.

A look-up gives each character's script, a second pass in vector code counts them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from tulou.data.kernels.buffers import text_buffers
from tulou.data.kernels.characters import TABLE_SIZE
from tulou.data.kernels.utf8 import next_character

_SAMPLE_CHARS = 4000
_NAMES = pa.array(["zh", "en", "other"])
_OTHER, _LATIN, _JOINER, _HAN, _ELSEWHERE = 0, 1, 2, 4, 8  # bits, for sums without a jump


def languages(texts: pa.StringArray) -> pa.StringArray:
    """ "zh", "en" or "other" for each text; null counts as empty."""
    data, offsets = text_buffers(texts)
    codes = np.empty(len(texts), dtype=np.int8)
    _languages(data, offsets, _scripts(), codes)
    return _NAMES.take(pa.array(codes))


@njit(cache=True, nogil=True, inline="always")
def _script(code):  # type: ignore[no-untyped-def]
    if code < 0x80:
        if (0x61 <= code <= 0x7A) or (0x41 <= code <= 0x5A):
            return _LATIN
        return _JOINER if code == 0x27 or code == 0x2D else _OTHER
    if 0x4E00 <= code <= 0x9FFF:
        return _HAN
    if code < 0x370:
        return _LATIN if 0xC0 <= code <= 0x24F else _OTHER
    if code <= 0x1CFF:
        return _ELSEWHERE
    if code == 0x2019:
        return _JOINER
    if 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x3FFFF:
        return _HAN
    if 0x3040 <= code <= 0x30FF or 0xAC00 <= code <= 0xD7AF:
        return _ELSEWHERE
    return _OTHER


@cache
def _scripts() -> NDArray[np.int8]:
    """The script of each character below `TABLE_SIZE`."""
    table = np.empty(TABLE_SIZE, dtype=np.int8)
    _fill(table)
    return table


@njit(cache=True, nogil=True)
def _fill(table):  # type: ignore[no-untyped-def]
    for code in range(table.shape[0]):
        table[code] = _script(code)


@njit(cache=True, nogil=True)
def _languages(data, offsets, scripts, codes):  # type: ignore[no-untyped-def]
    found = np.full(_SAMPLE_CHARS + 2, _OTHER, dtype=np.int8)  # two before the first character
    for row in range(offsets.shape[0] - 1):
        count = _decode(data, offsets[row], offsets[row + 1], scripts, found)
        chinese, words, elsewhere = _tally(found, count)
        if elsewhere > 0.3 * (chinese + words + elsewhere) or chinese + words == 0:
            codes[row] = 2
        else:
            codes[row] = 0 if chinese >= words else 1


@njit(cache=True, nogil=True)
def _decode(data, place, end, scripts, found):  # type: ignore[no-untyped-def]
    """The scripts of the first characters into `found`, from its third place on; returns where they end."""
    count = 2
    while place < end and count < found.shape[0]:
        code, place = next_character(data, place)
        found[count] = scripts[code] if code < scripts.shape[0] else _script(code)
        count += 1
    return count


@njit(cache=True, nogil=True)
def _tally(found, count):  # type: ignore[no-untyped-def]
    """Han, words and characters of elsewhere, in vector code.

    A word begins with a letter behind none; a joiner right after a letter, and one of them, joins: "don't" is a word,
    "don''t" and "'t" are two.
    """
    chinese = words = elsewhere = np.int32(0)
    two_before, before, after = (
        found[: count - 2],
        found[1 : count - 1],
        found[2:count],
    )  # no index that may be negative
    for i in range(after.shape[0]):
        a, b, script = np.int32(two_before[i]), np.int32(before[i]), np.int32(after[i])
        chinese += (script >> 2) & 1
        elsewhere += (script >> 3) & 1
        is_joined = b | ((b >> 1) & a)  # bit 0: a letter stands there
        words += script & ~is_joined & 1
    return chinese, words, elsewhere
