"""Whether much of a text stands in passages that stood in it before, found by sorting the hashes of its passages.

Tokens are those that near copies are compared by: words, and single Chinese characters, whatever their case.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from tulou.data.kernels import characters as c
from tulou.data.kernels.buffers import text_buffers
from tulou.data.kernels.fingerprint import Unit, decode_folded, shingle, tokenise

_WORDS = int(Unit.WORDS)


def may_repeat_passages(texts: pa.StringArray, share: float, words: int, characters: int) -> NDArray[np.bool_]:
    """For each text whether passages that come again may cover more than `share` of its tokens.

    A passage has `words` tokens, or `characters` where more than half of the tokens are Chinese characters. Counted is
    each passage as if none overlapped, so some texts are named that do not repeat so much, and none is missed.
    """
    data, offsets = text_buffers(texts)
    may = np.zeros(len(texts), dtype=np.bool_)
    _may_repeat_passages(data, offsets, c.kinds(), c.folded(), share, words, characters, may)
    return may


@njit(cache=True, nogil=True)
def _may_repeat_passages(data, offsets, kinds, folded, share, words, characters, may):  # type: ignore[no-untyped-def]
    for row in range(offsets.shape[0] - 1):
        length = offsets[row + 1] - offsets[row]
        codes = np.empty(length, dtype=np.uint64)
        found = np.empty(length, dtype=np.int64)
        tokens = np.empty(2 * length, dtype=np.uint64)
        count, han = decode_folded(data, offsets[row], offsets[row + 1], kinds, folded, codes, found)
        made = tokenise(codes, found, count, False, _WORDS, tokens)
        size = characters if 2 * han > made else words
        if made <= size:
            continue
        passages = np.sort(tokens[: shingle(tokens, made, size)])
        again = 0
        for i in range(1, passages.shape[0]):
            again += passages[i] == passages[i - 1]
        may[row] = again * size > share * made
