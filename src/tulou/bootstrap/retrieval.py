"""Search as the applications know it: a question in, hits out; the encoder and the index meet here.

An encoder that cannot read a question (Chinese through an English vocabulary) must not vote on it: its ranking counts
in proportion to the share of the question's tokens it knows. If it is away, the words alone decide.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from tulou.core.errors import TulouError
from tulou.core.types import Hit, Models
from tulou.data.search import SearchIndex, open_index
from tulou.data.search.publish import current_index
from tulou.service.engine.coverage import Coverage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retrieval:
    index: SearchIndex
    models: Models
    encoder: str
    coverage: Coverage

    async def __call__(self, query: str, k: int) -> list[Hit]:
        weight = self.coverage(query)
        vector = None
        if weight > 0:
            try:
                vector = (await self.models.embed(self.encoder, [query]))[0]
            except TulouError as err:
                log.warning("search goes on by words alone, the encoder does not answer: %s", err)
        return await asyncio.to_thread(self.index.search, query, vector, k, vector_weight=weight)


def open_retrieval(search: Path, models: Models, encoder: str, encoder_folder: Path) -> Retrieval:
    """Raises `DataError` where no index was made yet, `ModelError` where the encoder's tokenizer is missing."""
    return Retrieval(open_index(current_index(search)), models, encoder, Coverage.of(encoder_folder))
