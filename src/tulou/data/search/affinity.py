"""Which documents customers mean: what labelled tickets teach search about the words that customers use.

Each ticket is put to the index by its words. One ticket finds little; the tickets of one label together agree on the
documents about it, however each was phrased. A label's affinity to a document is its share of the label's hits times
the logarithm of how much more that is than other labels give it, so documents that everything finds (a catalogue)
count for nothing. At search time a classifier names the label and the affinity lends its documents weight.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tulou.core.progress import Progress
from tulou.core.stage import read_json, write_json
from tulou.data.parquet import read_batches
from tulou.data.search.hybrid import SearchIndex

Affinity = Mapping[str, Mapping[str, float]]
"""Label to uri of a document to weight, 0 and more."""

TICKETS_PER_LABEL = 60  # more change the ranking of a label's documents no further
_HITS = 10
_MIN_WEIGHT = 0.01  # keeps the file to the documents that matter


def learn_affinity(
    rows: Iterable[Mapping[str, Any]], index: SearchIndex, progress: Progress, seed: int = 0
) -> Affinity:
    """The affinity of each label among the LABELLED training `rows` to the documents of `index`."""
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        texts[row["label"]].append(row["text"])
    rng = random.Random(seed)
    shares: dict[str, dict[str, float]] = {}
    with progress.bar("Learn from tickets", total=len(texts), unit="labels") as bar:
        for label in sorted(texts):
            chosen = rng.sample(texts[label], min(TICKETS_PER_LABEL, len(texts[label])))
            shares[label] = _shares(chosen, index)
            bar.advance()
    return _lifted(shares)


def prior(affinity: Affinity, probabilities: Mapping[str, float]) -> dict[str, float]:
    """Weight of each document for a query whose label has these probabilities."""
    weights: defaultdict[str, float] = defaultdict(float)
    for label, probability in probabilities.items():
        for uri, weight in affinity.get(label, {}).items():
            weights[uri] += probability * weight
    return dict(weights)


def save_affinity(path: Path, affinity: Affinity) -> None:
    write_json(path, affinity)


def load_affinity(path: Path) -> Affinity:
    """Empty where none was learnt."""
    affinity: Affinity = read_json(path) or {}
    return affinity


def training_rows(folder: Path) -> list[dict[str, Any]]:
    """The training part of a split's LABELLED rows."""
    return [row for batch in read_batches(folder, "labelled") for row in batch.to_pylist() if row["split"] == "train"]


def _shares(texts: Iterable[str], index: SearchIndex) -> dict[str, float]:
    found: Counter[str] = Counter()
    for text in texts:
        uris = dict.fromkeys(hit.passage.uri for hit in index.search(text, None, _HITS))
        for rank, uri in enumerate(uris, 1):
            found[uri] += 1 / rank  # type: ignore[assignment]  # a Counter adds fractions as well as counts
    total = sum(found.values())
    return {uri: weight / total for uri, weight in found.items()} if total else {}


def _lifted(shares: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    mean: defaultdict[str, float] = defaultdict(float)
    for of_label in shares.values():
        for uri, share in of_label.items():
            mean[uri] += share / len(shares)
    lifted: dict[str, dict[str, float]] = {}
    for label, of_label in shares.items():
        weights = {uri: share * math.log(share / mean[uri]) for uri, share in of_label.items()}
        lifted[label] = {uri: round(weight, 4) for uri, weight in weights.items() if weight >= _MIN_WEIGHT}
    return lifted
