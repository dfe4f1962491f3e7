"""What copies are found by: a digest of the letters, the numbers in a text, and the bands of its MinHash signature.

A text is a sequence of tokens: words and single Chinese characters, or, for short messages, all characters. Shingles
are n tokens in a row. Of their hashes, 128 random permutations keep the smallest each (Broder 1997); the signature is
cut into bands that two texts at the threshold share with the stated probability (Leskovec et al., "Mining of Massive
Datasets", ch. 3). Whether a pair is alike is decided elsewhere, by its real Jaccard similarity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from tulou.data.kernels import characters as c
from tulou.data.kernels.buffers import text_buffers
from tulou.data.kernels.utf8 import next_character

PERMUTATIONS = 128
_MISS = 2e-3  # chance that a pair at the threshold never meets in a band
_MASK = (1 << 64) - 1
_MULTIPLIER = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, as in Fibonacci hashing
_SECOND = 0xC2B2AE3D27D4EB4F  # another odd constant, for the digest's other half

_RNG = np.random.default_rng(20261123)  # any fixed seed: the same texts give the same clusters in every run
_FACTORS = _RNG.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32) | np.uint32(1)
_OFFSETS = _RNG.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32)


class Unit(IntEnum):
    """What shingles are made of. One typo in a ten-word message changes a third of its word shingles, but few of its
    character shingles; in a document words are as good and four times faster.
    """

    WORDS = 0  # 3 words, or 2 characters of Chinese
    CHARACTERS = 1  # 5 characters, or 2 of Chinese


@dataclass(frozen=True)
class Fingerprints:
    digests: NDArray[np.uint64]  # (texts, 2): of the letters and digits, case folded
    numbers: NDArray[np.uint64]  # (texts,): of the multiset of numbers
    bands: NDArray[np.uint32]  # (texts, bands): texts that share a column's value may be alike
    shingles: NDArray[np.int32]  # (texts,): how many, doubles included; without any a text has no bands


def rows_per_band(threshold: float) -> int:
    """The most selective banding that still misses at most `_MISS` of the pairs at the threshold."""
    fitting = [rows for rows in range(1, 17) if (1 - threshold**rows) ** (PERMUTATIONS // rows) <= _MISS]
    return max(fitting, default=1)


def fingerprint(texts: pa.StringArray, unit: Unit, rows: int, *, is_compiled: bool = True) -> Fingerprints:
    """Fingerprints with bands of `rows` rows of the signature each."""
    n = len(texts)
    made = Fingerprints(
        np.empty((n, 2), dtype=np.uint64),
        np.empty(n, dtype=np.uint64),
        np.zeros((n, PERMUTATIONS // rows), dtype=np.uint32),
        np.empty(n, dtype=np.int32),
    )
    if is_compiled:
        data, offsets = text_buffers(texts)
        tables = (c.kinds(), c.folded(), _FACTORS, _OFFSETS)
        _fingerprint(data, offsets, *tables, int(unit), rows, made.digests, made.numbers, made.bands, made.shingles)
        return made
    for row, text in enumerate(texts.to_pylist()):
        hashes = shingle_hashes(text or "", unit)
        made.digests[row] = digest(text or "")
        made.numbers[row] = numbers(text or "")
        made.shingles[row] = len(hashes)
        if hashes:
            made.bands[row] = _bands(hashes, rows)
    return made


def shingle_sets(texts: pa.StringArray, unit: Unit) -> Iterator[NDArray[np.uint64]]:
    """For each text the hashes of its shingles, sorted, without doubles."""
    data, offsets = text_buffers(texts)
    kinds, folded = c.kinds(), c.folded()
    for row in range(len(texts)):
        yield np.unique(shingles_of(data, offsets, row, kinds, folded, int(unit)))


# --- the reference ----------------------------------------------------------------------------------------------


_NUMBER = re.compile(r"[0-9０-９]+(?:[.,:][0-9０-９]+)*")


def digest(text: str) -> tuple[int, int]:
    """Two letters a step."""
    letters = [ord(c.fold(char)) for char in text if c.kind_of(char) & c.ALNUM] or list(map(ord, text))
    first, second = _mixed(1, len(letters)), _mixed(2, len(letters), _SECOND)
    for left, right in zip(letters[::2], [*letters[1::2], 0], strict=False):
        first, second = _mixed(first, left << 32 | right), _mixed(second, left << 32 | right, _SECOND)
    return first, second


def numbers(text: str) -> int:
    """A hash that does not depend on the order of the numbers."""
    total = 0
    for number in _NUMBER.findall(text):
        value = 3
        for char in number:
            value = _mixed(value, ord(char))
        total += value
    return total & _MASK


def shingle_hashes(text: str, unit: Unit) -> list[int]:
    found = tokens(text, unit)
    size = min(_shingle_size(text, unit), len(found))
    return [_hash_of(found[start : start + size]) for start in range(len(found) - size + 1)] if found else []


def tokens(text: str, unit: Unit) -> list[int]:
    """The hash of each word, or the code of each character."""
    kinds = [c.kind_of(char) for char in text]
    is_chinese = _is_chinese(text)
    found: list[int] = []
    word = 0
    was_apart = True  # whether something that is no letter stood before
    for char, kind in zip(text, kinds, strict=True):
        code = ord(c.fold(char))
        if not kind & c.ALNUM or (unit == Unit.WORDS and kind & c.ALONE):
            if word:
                found.append(word)
                word = 0
            if kind & c.ALNUM:
                found.append(_mixed(4, code))
            was_apart = True
        elif unit == Unit.WORDS:
            word = _mixed(word or 4, code)
        else:
            if was_apart and found and not is_chinese:
                found.append(32)
            found.append(code)
            was_apart = False
    return [*found, word] if word else found


def _is_chinese(text: str) -> bool:
    return sum(bool(c.kind_of(char) & c.HAN) for char in text) * 4 > len(text)


def _shingle_size(text: str, unit: Unit) -> int:
    if _is_chinese(text):
        return 2
    return 3 if unit == Unit.WORDS else 5


def _hash_of(items: list[int]) -> int:
    value = 0
    for item in items:
        value = _mixed(value, item)
    return value


def _mixed(value: int, item: int, multiplier: int = _MULTIPLIER) -> int:
    value = (value ^ item) * multiplier & _MASK
    return value ^ value >> 29


def _bands(hashes: list[int], rows: int) -> list[int]:
    high = np.array(hashes, dtype=np.uint64) >> np.uint64(32)
    mixed = high.astype(np.uint32)[:, None] * _FACTORS + _OFFSETS  # (shingles, permutations), modulo 2^32
    signature = mixed.min(axis=0).tolist()
    edges = range(0, PERMUTATIONS + 1, rows)
    return [_hash_of(signature[start:end]) >> 32 for start, end in pairwise(edges)]


# --- the same, compiled -----------------------------------------------------------------------------------------

_M = np.uint64(_MULTIPLIER)
_M2 = np.uint64(_SECOND)
_SHIFT = np.uint64(29)
_HIGH = np.uint64(32)
_LANES = 64  # items in one step of vector code: four registers of AVX-512
_RARE_HAN_PLANES = c.kind_of("\U00020000")
_FAR_PLANES = c.kind_of("\U000e0000")


@njit(cache=True, nogil=True, inline="always")
def _mix(value, item, multiplier):  # type: ignore[no-untyped-def]
    value = (value ^ item) * multiplier
    return value ^ (value >> _SHIFT)


@njit(cache=True, nogil=True)
def decode_folded(data, start, end, kinds, folded, codes, found):  # type: ignore[no-untyped-def]
    """Folded code points into `codes`, their kinds into `found`; returns how many, and how many are Han."""
    table_size = kinds.shape[0]
    count = 0
    han = 0
    place = start
    while place < end:
        code, place = next_character(data, place)
        if code < table_size:
            kind = np.int64(kinds[code])
            codes[count] = np.uint64(folded[code])
        else:
            kind = _RARE_HAN_PLANES if code < 0x40000 else _FAR_PLANES
            codes[count] = np.uint64(code)
        found[count] = kind
        han += (kind >> 1) & 1
        count += 1
    return count, han


@njit(cache=True, nogil=True)
def tokenise(codes, kinds, count, is_chinese, unit, tokens):  # type: ignore[no-untyped-def]
    """Fills `tokens`, which has room for two a character; returns how many."""
    made = 0
    word = np.uint64(0)
    none = np.uint64(0)
    seed = np.uint64(4)
    was_apart = True
    for i in range(count):
        kind = kinds[i]
        if not kind & 1 or (unit == 0 and kind & 4096):
            if word != none:
                tokens[made] = word
                made += 1
                word = none
            if kind & 1:
                tokens[made] = _mix(seed, codes[i], _M)
                made += 1
            was_apart = True
        elif unit == 0:
            word = _mix(word if word != none else seed, codes[i], _M)
        else:
            if was_apart and made > 0 and not is_chinese:
                tokens[made] = np.uint64(32)
                made += 1
            tokens[made] = codes[i]
            made += 1
            was_apart = False
    if word != none:
        tokens[made] = word
        made += 1
    return made


@njit(cache=True, nogil=True)
def shingle(tokens, count, size):  # type: ignore[no-untyped-def]
    """Replaces each token by the hash of the shingle that starts there; returns how many shingles there are."""
    size = min(size, count)
    shingles = count - size + 1 if count > 0 else 0
    for start in range(shingles):
        value = np.uint64(0)
        for offset in range(size):
            value = _mix(value, tokens[start + offset], _M)
        tokens[start] = value
    return shingles


@njit(cache=True, nogil=True)
def shingles_of(data, offsets, row, kinds, folded, unit):  # type: ignore[no-untyped-def]
    length = offsets[row + 1] - offsets[row]
    codes = np.empty(length, dtype=np.uint64)
    found = np.empty(length, dtype=np.int64)
    tokens = np.empty(2 * length, dtype=np.uint64)
    count, han = decode_folded(data, offsets[row], offsets[row + 1], kinds, folded, codes, found)
    is_chinese = han * 4 > count
    size = 2 if is_chinese else (3 if unit == 0 else 5)
    made = shingle(tokens, tokenise(codes, found, count, is_chinese, unit, tokens), size)
    return tokens[:made]


@njit(cache=True, nogil=True)
def _smallest(hashes, count, factors, offsets, items, signature):  # type: ignore[no-untyped-def]
    """The smallest of each permutation. `items` has room for `_LANES` more than there are hashes.

    The inner loop is vector code; the first item stands in for those that its last step lacks, and changes no minimum.
    """
    for i in range(count):
        items[i] = np.uint32(hashes[i] >> _HIGH)
    padded = (count + _LANES - 1) // _LANES * _LANES
    items[count:padded] = items[0]
    for k in range(signature.shape[0]):
        smallest = np.uint32(0xFFFFFFFF)
        for i in range(padded):
            smallest = min(smallest, np.uint32(np.uint32(items[i] * factors[k]) + offsets[k]))
        signature[k] = smallest


@njit(cache=True, nogil=True)
def _digest(codes, kinds, count, letters):  # type: ignore[no-untyped-def]
    """`letters` has room for one more than there are characters."""
    kept = 0
    for i in range(count):  # no jump that depends on the text
        letters[kept] = codes[i]
        kept += kinds[i] & 1
    if kept == 0:
        letters[:count] = codes[:count]
        kept = count
    letters[kept] = 0
    first = _mix(np.uint64(1), np.uint64(kept), _M)
    second = _mix(np.uint64(2), np.uint64(kept), _M2)
    for i in range(0, kept, 2):
        pair = letters[i] << _HIGH | letters[i + 1]
        first = _mix(first, pair, _M)
        second = _mix(second, pair, _M2)
    return first, second


@njit(cache=True, nogil=True)
def _number_hash(codes, kinds, count):  # type: ignore[no-untyped-def]
    """`codes` as they stood in the text: digits and the marks between them do not change with case."""
    total = np.uint64(0)
    value = np.uint64(0)
    none = np.uint64(0)
    for i in range(count):
        code = codes[i]
        if kinds[i] & 256:
            value = _mix(value if value != none else np.uint64(3), code, _M)
        elif value != none:
            is_joint = code == 46 or code == 44 or code == 58
            if is_joint and i + 1 < count and kinds[i + 1] & 256:
                value = _mix(value, code, _M)
            else:
                total += value
                value = none
    return total + value


@njit(cache=True, nogil=True)
def _fingerprint(  # type: ignore[no-untyped-def]
    data, offsets, kinds, folded, factors, shifts, unit, rows, digests, number_hashes, bands, shingle_counts
):
    longest = 1
    for row in range(offsets.shape[0] - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    codes = np.empty(longest, dtype=np.uint64)
    found = np.empty(longest, dtype=np.int64)
    tokens = np.empty(2 * longest, dtype=np.uint64)
    items = np.empty(2 * longest + _LANES, dtype=np.uint32)
    signature = np.empty(factors.shape[0], dtype=np.uint32)
    for row in range(offsets.shape[0] - 1):
        count, han = decode_folded(data, offsets[row], offsets[row + 1], kinds, folded, codes, found)
        digests[row, 0], digests[row, 1] = _digest(codes, found, count, tokens)
        number_hashes[row] = _number_hash(codes, found, count)
        is_chinese = han * 4 > count
        size = 2 if is_chinese else (3 if unit == 0 else 5)
        made = shingle(tokens, tokenise(codes, found, count, is_chinese, unit, tokens), size)
        shingle_counts[row] = made
        if made == 0:
            continue
        _smallest(tokens, made, factors, shifts, items, signature)
        for band in range(bands.shape[1]):
            value = np.uint64(0)
            for k in range(band * rows, band * rows + rows):
                value = _mix(value, np.uint64(signature[k]), _M)
            bands[row, band] = np.uint32(value >> _HIGH)
