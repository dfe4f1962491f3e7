"""Search as the applications know it: a question in, hits out; encoder, classifier and index meet here.

An encoder that cannot read a question (Chinese through an English vocabulary) must not vote on it: its ranking counts
in proportion to the share of the question's tokens it knows. The classifier names what the customer wants, and the
documents that tickets of that kind are about gain weight. If either model is away, the words alone decide.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tulou.core.errors import TulouError
from tulou.core.types import Hit, Models
from tulou.data.search import SearchIndex, open_index
from tulou.data.search.affinity import Affinity, load_affinity, prior
from tulou.data.search.publish import current_index
from tulou.service.engine.coverage import Coverage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

AFFINITY_FILE = "affinity.json"  # beside the published index
CANDIDATES = 30  # hits among which affinity may choose
AFFINITY_WEIGHT = 2.0  # between 1 and 4 it makes little difference on 162 development questions


@dataclass(frozen=True)
class Retrieval:
    index: SearchIndex
    models: Models
    encoder: str
    coverage: Coverage
    intents: str | None = None
    affinity: Affinity = field(default_factory=dict)

    async def __call__(self, query: str, k: int) -> list[Hit]:
        weight = self.coverage(query)
        vector, documents = await asyncio.gather(self._vector(query, weight), self._prior(query))
        wanted = max(k, CANDIDATES)
        hits = await asyncio.to_thread(self.index.search, query, vector, wanted, vector_weight=weight)
        return lend(hits, documents)[:k]

    async def _vector(self, query: str, weight: float) -> NDArray[np.float32] | None:
        if weight == 0:
            return None
        try:
            vector: NDArray[np.float32] = (await self.models.embed(self.encoder, [query]))[0]
        except TulouError as err:
            log.warning("search goes on by words alone, the encoder does not answer: %s", err)
            return None
        return vector

    async def _prior(self, query: str) -> dict[str, float]:
        if self.intents is None or not self.affinity:
            return {}
        try:
            labels = (await self.models.classify(self.intents, [query]))[0]
        except TulouError as err:
            log.warning("search goes on without the customer's intent: %s", err)
            return {}
        return prior(self.affinity, dict(labels))


def lend(hits: Sequence[Hit], documents: Mapping[str, float], weight: float = AFFINITY_WEIGHT) -> list[Hit]:
    """`hits` with their scores raised by the weight of their documents, best first."""
    raised = [replace(hit, score=hit.score * (1 + weight * documents.get(hit.passage.uri, 0.0))) for hit in hits]
    return sorted(raised, key=lambda hit: -hit.score)


def open_retrieval(
    search: Path, models: Models, encoder: str, encoder_folder: Path, intents: str | None = None
) -> Retrieval:
    """Raises `DataError` where no index was made yet, `ModelError` where the encoder's tokenizer is missing."""
    return Retrieval(
        open_index(current_index(search)),
        models,
        encoder,
        Coverage.of(encoder_folder),
        intents,
        load_affinity(search / AFFINITY_FILE),
    )
