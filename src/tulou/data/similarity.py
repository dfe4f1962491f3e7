"""Which texts repeat one of a few questions, nearly word for word or within more words.

Both are told by the shingles that a text and a question have in common. They are counted through an index from shingle
to questions, so that a text costs its own length and not the number of questions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tulou.data.kernels.fingerprint import Unit, shingle_sets

_SIMILARITY = 0.6  # Jaccard
_CONTAINMENT = 0.85  # of the question's shingles, found in a text that adds more
_MIN_SHINGLES = 8  # a shorter question is contained in anything


class Questions:
    """Questions that must not be learnt from, findable by likeness."""

    def __init__(self, questions: Sequence[str]) -> None:
        sets = list(shingle_sets(pa.array(questions, pa.string()), Unit.CHARACTERS))
        self._sizes = np.array([len(items) for items in sets], dtype=np.int64)
        hashes = np.concatenate(sets) if sets else np.empty(0, dtype=np.uint64)
        owners = np.repeat(np.arange(len(sets)), self._sizes)
        order = np.argsort(hashes, kind="stable")
        self._known, self._starts, self._owned = np.unique(hashes[order], return_index=True, return_counts=True)
        self._owners = owners[order]

    def repeated_in(self, texts: pa.StringArray) -> NDArray[np.bool_]:
        """Which of `texts` equal a question, or nearly so, or contain it."""
        is_repeating = np.zeros(len(texts), dtype=bool)
        if len(self._known) == 0:
            return is_repeating
        rows, questions, shared, sizes = self._shared(texts)
        asked = self._sizes[questions]
        is_alike = shared >= _SIMILARITY * (sizes[rows] + asked - shared)
        is_contained = (asked >= _MIN_SHINGLES) & (shared >= _CONTAINMENT * asked)
        is_repeating[rows[is_alike | is_contained]] = True
        return is_repeating

    def _shared(self, texts: pa.StringArray) -> tuple[NDArray[np.int64], ...]:
        """Pairs of a text and a question, how many shingles they share, and how many each text has."""
        sizes = np.zeros(len(texts), dtype=np.int64)
        found = []
        for row, items in enumerate(shingle_sets(texts, Unit.CHARACTERS)):
            sizes[row] = len(items)
            places = np.minimum(np.searchsorted(self._known, items), len(self._known) - 1)
            found.append(places[self._known[places] == items])
        places = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
        rows = np.repeat(np.arange(len(texts)), [len(part) for part in found])
        counts = self._owned[places]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        questions = self._owners[np.repeat(self._starts[places], counts) + within]
        pairs, shared = np.unique(np.repeat(rows, counts) * len(self._sizes) + questions, return_counts=True)
        return pairs // len(self._sizes), pairs % len(self._sizes), shared, sizes
