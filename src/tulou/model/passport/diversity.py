"""How much there is to learn in a training set: repeated phrases, compressibility, alikeness, balance of labels.

Distinct-n (Li et al. 2016) and the compression ratio and self-similarity of Shaib et al. 2024, "Standardizing the
Measurement of Text Diversity", all on one sample of a fixed number of tokens, because each of them depends on length.
"""

from __future__ import annotations

import gzip
import math
import random
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

SAMPLE_TOKENS = 10_000
PAIRS = 2_000  # drawn at random for the self-similarity
_TERM = re.compile(r"[㐀-鿿]|[^\W\d_]+|\d+|[^\w\s]")


def diversity(texts: Sequence[str], labels: Sequence[str] = (), seed: int = 0) -> dict[str, Any]:
    """Figures of a training set; `labels`, one a text, where it is a classifier's."""
    order = list(range(len(texts)))
    random.Random(seed).shuffle(order)
    sample: list[str] = []
    terms: list[list[str]] = []
    for place in order:
        if sum(map(len, terms)) >= SAMPLE_TOKENS:
            break
        sample.append(texts[place])
        terms.append(_TERM.findall(texts[place].casefold()))
    return {
        "texts": len(texts),
        "distinct_texts": len(set(texts)) / len(texts) if texts else None,
        "sample_tokens": sum(map(len, terms)),
        "distinct_1": _distinct(terms, 1),
        "distinct_2": _distinct(terms, 2),
        "distinct_4": _distinct(terms, 4),
        "compression_ratio": _compression(sample),
        "self_similarity": _alikeness(terms, random.Random(seed)),
        **({"labels": balance(labels)} if labels else {}),
    }


def balance(labels: Sequence[str]) -> dict[str, Any]:
    """How evenly rows fall on labels: entropy against that of equal shares, and the two ends."""
    counts = Counter(labels)
    shares = [count / len(labels) for count in counts.values()]
    entropy = -sum(share * math.log2(share) for share in shares)
    rarest, commonest = min(counts, key=lambda name: counts[name]), max(counts, key=lambda name: counts[name])
    return {
        "count": len(counts),
        "entropy_share": entropy / math.log2(len(counts)) if len(counts) > 1 else 0.0,
        "rarest": rarest,
        "rarest_rows": counts[rarest],
        "commonest": commonest,
        "commonest_rows": counts[commonest],
    }


def _distinct(terms: Sequence[Sequence[str]], size: int) -> float | None:
    """Different runs of `size` terms over all such runs."""
    runs = [tuple(each[i : i + size]) for each in terms for i in range(len(each) - size + 1)]
    return len(set(runs)) / len(runs) if runs else None


def _compression(sample: Sequence[str]) -> float | None:
    """Bytes over gzipped bytes: how often the sample says the same again."""
    whole = "\n".join(sample).encode()
    return len(whole) / len(gzip.compress(whole, mtime=0)) if whole else None


def _alikeness(terms: Sequence[Sequence[str]], rng: random.Random) -> float | None:
    """Mean Jaccard similarity of the word pairs of two texts drawn at random."""
    sets: list[frozenset[Any]] = [frozenset(pairwise(each)) or frozenset(each) for each in terms if each]
    if len(sets) < 2:
        return None
    drawn = (rng.sample(sets, 2) for _ in range(PAIRS))
    return statistics.fmean(len(a & b) / len(a | b) for a, b in drawn)
