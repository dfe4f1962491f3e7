"""How alike two texts are, and how to find the pairs without comparing all: shingles, MinHash, LSH.

A text becomes the set of its character n-grams (2 in Chinese, 5 elsewhere; a typo then costs little and another product
name costs much). MinHash signatures are banded so that pairs above the threshold meet in a bucket with probability
0.999; every meeting is verified with the real Jaccard similarity. Sets are kept as sorted arrays and cut to their
`MAX_SHINGLES` smallest hashes, which leaves short texts exact and bounds a long one to 8 KiB.

Broder, "On the resemblance and containment of documents" (1997); Leskovec et al., "Mining of Massive Datasets", ch. 3.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tulou.data.language import count_chinese

Shingles = NDArray[np.uint64]  # sorted, unique

MAX_SHINGLES = 1024
PERMUTATIONS = 128
_MISS = 1e-3  # chance that a pair at the threshold never meets in a bucket

_NOT_A_LETTER = re.compile(r"[\W_]+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, as in Fibonacci hashing


def shingles(text: str) -> Shingles:
    """The set of hashed character n-grams of `text`; case, punctuation and spaces do not count."""
    is_chinese = count_chinese(text) * 4 > len(text)
    joined = _NOT_A_LETTER.sub("" if is_chinese else " ", text.casefold()).strip()
    size = 2 if is_chinese else 5
    codes = np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    if len(codes) == 0:
        return np.empty(0, dtype=np.uint64)
    size = min(size, len(codes))
    hashes = np.zeros(len(codes) - size + 1, dtype=np.uint64)
    for offset in range(size):
        hashes = (hashes ^ codes[offset : offset + len(hashes)]) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    return np.unique(hashes)[:MAX_SHINGLES]


def jaccard(a: Shingles, b: Shingles) -> float:
    """|A ∩ B| / |A ∪ B|; two empty sets are alike.

    Where a set was cut, both are compared below the smaller of the two largest hashes, which is an unbiased sample.
    """
    if len(a) == 0 or len(b) == 0:
        return float(len(a) == len(b))
    if len(a) == MAX_SHINGLES or len(b) == MAX_SHINGLES:
        limit = min(a[-1] if len(a) == MAX_SHINGLES else b[-1], b[-1] if len(b) == MAX_SHINGLES else a[-1])
        a, b = a[a <= limit], b[b <= limit]
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def containment(inner: Shingles, outer: Shingles) -> float:
    """The share of `inner` that `outer` has too."""
    if len(inner) == 0:
        return 0.0
    return len(np.intersect1d(inner, outer, assume_unique=True)) / len(inner)


class NearIndex:
    """Texts seen so far, findable by likeness."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._rows = _rows_per_band(threshold)
        self._bands = PERMUTATIONS // self._rows
        rng = np.random.default_rng(20261123)  # any fixed seed: the same texts give the same clusters in every run
        self._factor = rng.integers(1, 2**63, PERMUTATIONS, dtype=np.uint64) | np.uint64(1)
        self._offset = rng.integers(0, 2**63, PERMUTATIONS, dtype=np.uint64)
        self._buckets: list[dict[bytes, list[int]]] = [defaultdict(list) for _ in range(self._bands)]
        self._sets: list[Shingles] = []
        self._keys: list[str] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str, items: Shingles) -> None:
        number = len(self._keys)
        self._keys.append(key)
        self._sets.append(items)
        for bucket, band in zip(self._buckets, self._banded(items), strict=True):
            bucket[band].append(number)

    def similar(self, items: Shingles) -> Iterable[tuple[str, float]]:
        """Keys of the texts at least as similar as the threshold, with their similarity, best first."""
        meetings: set[int] = set()
        for bucket, band in zip(self._buckets, self._banded(items), strict=True):
            meetings.update(bucket.get(band, ()))
        scored = ((self._keys[number], jaccard(items, self._sets[number])) for number in sorted(meetings))
        return sorted((pair for pair in scored if pair[1] >= self.threshold), key=lambda pair: -pair[1])

    def _banded(self, items: Shingles) -> list[bytes]:
        if len(items) == 0:
            return [b""] * self._bands
        mixed = items[None, :] * self._factor[:, None] + self._offset[:, None]  # (permutations, shingles), modulo 2^64
        signature = (mixed >> np.uint64(32)).astype(np.uint32).min(axis=1)  # (permutations,)
        used = signature[: self._bands * self._rows].reshape(self._bands, self._rows)
        return [band.tobytes() for band in used]


def _rows_per_band(threshold: float) -> int:
    """The most selective banding that still misses at most one pair in a thousand at the threshold."""
    fitting = [rows for rows in range(1, 17) if (1 - threshold**rows) ** (PERMUTATIONS // rows) <= _MISS]
    return max(fitting, default=1)
