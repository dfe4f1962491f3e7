"""Whether search finds what answers a question: hit rate, reciprocal rank and nDCG over any search callable.

A question names the documents that answer it, any of which will do. What is ranked are documents, each once; binary
relevance, gains discounted by log2 of the rank (Järvelin & Kekäläinen 2002).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tulou.core.errors import DataError

Search = Callable[[str], Sequence[str]]
"""A question to the ids of documents, best first."""

KS = (1, 3, 5, 10)
MISSES_SHOWN = 20


@dataclass(frozen=True)
class Pair:
    question: str
    documents: frozenset[str]  # any of which answers it
    language: str = "en"


def evaluate_retrieval(pairs: Sequence[Pair], search: Search, ks: Sequence[int] = KS) -> dict[str, Any]:
    """Hit rate and nDCG at each of `ks`, mean reciprocal rank within the largest, by language, and the misses.

    Raises `DataError` where no question names a document.
    """
    asked = [pair for pair in pairs if pair.documents]
    if not asked:
        raise DataError("no question names a document that answers it; retrieval cannot be evaluated")
    ranks = [_ranks(pair, search, max(ks)) for pair in asked]
    by_language: dict[str, list[int]] = defaultdict(list)
    for place, pair in enumerate(asked):
        by_language[pair.language].append(place)
    missed = [pair.question for pair, found in zip(asked, ranks, strict=True) if not found]
    return {
        **_figures(asked, ranks, ks),
        "by_language": {
            language: _figures([asked[i] for i in places], [ranks[i] for i in places], ks)
            for language, places in sorted(by_language.items())
        },
        "missed": missed[:MISSES_SHOWN],
    }


def _ranks(pair: Pair, search: Search, deepest: int) -> list[int]:
    """Ranks, from 1 on, at which a document that answers is found."""
    found = list(dict.fromkeys(search(pair.question)))[:deepest]
    return [rank for rank, document in enumerate(found, 1) if document in pair.documents]


def _figures(pairs: Sequence[Pair], ranks: Sequence[Sequence[int]], ks: Sequence[int]) -> dict[str, Any]:
    count = len(pairs)
    return {
        "questions": count,
        "hit_rate": {str(k): sum(any(rank <= k for rank in found) for found in ranks) / count for k in ks},
        "mrr": sum(1 / found[0] for found in ranks if found) / count,
        "ndcg": {
            str(k): sum(_ndcg(pair, found, k) for pair, found in zip(pairs, ranks, strict=True)) / count for k in ks
        },
    }


def _ndcg(pair: Pair, ranks: Sequence[int], k: int) -> float:
    gain = sum(1 / math.log2(rank + 1) for rank in ranks if rank <= k)
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(pair.documents)) + 1))
    return gain / best
