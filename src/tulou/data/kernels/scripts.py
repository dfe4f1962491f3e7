"""The language of every text of a batch, by counting scripts as `tulou.data.language` does, which is the reference.

One pass that knows a character's script from its number; a byte of ASCII costs a look-up.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit

from tulou.data.kernels.buffers import text_buffers
from tulou.data.kernels.utf8 import next_character

_SAMPLE_CHARS = 4000
_NAMES = pa.array(["zh", "en", "other"])
_OTHER, _LATIN, _JOINER, _HAN, _ELSEWHERE = range(5)


def languages(texts: pa.StringArray) -> pa.StringArray:
    """ "zh", "en" or "other" for each text; null counts as empty."""
    data, offsets = text_buffers(texts)
    codes = np.empty(len(texts), dtype=np.int8)
    _languages(data, offsets, codes)
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


@njit(cache=True, nogil=True)
def _languages(data, offsets, codes):  # type: ignore[no-untyped-def]
    for row in range(offsets.shape[0] - 1):
        place = offsets[row]
        end = offsets[row + 1]
        chars = chinese = words = elsewhere = 0
        before = _OTHER
        while place < end and chars < _SAMPLE_CHARS:
            code, place = next_character(data, place)
            chars += 1
            script = _script(code)
            if script == _LATIN:
                words += before != _LATIN and before != _JOINER
            elif script == _HAN:
                chinese += 1
            elif script == _ELSEWHERE:
                elsewhere += 1
            # A joiner joins only right after a letter, and one of them: "don't" is a word, "don''t" and "'t" are two.
            before = _OTHER if script == _JOINER and before != _LATIN else script
        if elsewhere > 0.3 * (chinese + words + elsewhere) or chinese + words == 0:
            codes[row] = 2
        else:
            codes[row] = 0 if chinese >= words else 1
