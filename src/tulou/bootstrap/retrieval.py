"""Search as the applications know it: a question in, hits out; the encoder and the index meet here.

An encoder that cannot read a question (Chinese through an English vocabulary) must not vote on it: its ranking counts
in proportion to the share of the question's tokens it knows. If it is away, the words alone decide.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tulou.core.errors import TulouError
from tulou.core.types import Hit, Models
from tulou.data.search import SearchIndex, open_index
from tulou.data.search.publish import current_index

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retrieval:
    index: SearchIndex
    models: Models
    encoder: str
    coverage: Callable[[str], float]  # share of a text's tokens that the encoder knows, 0..1

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
    return Retrieval(open_index(current_index(search)), models, encoder, coverage_of(encoder_folder))


def coverage_of(encoder_folder: Path) -> Callable[[str], float]:
    """The share of a text's tokens that the encoder's vocabulary knows; a vocabulary without [UNK] knows all."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(encoder_folder / "tokenizer.json"))
    unknown = tokenizer.token_to_id("[UNK]")

    def coverage(text: str) -> float:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        known = sum(id_ != unknown for id_ in ids)
        return known / len(ids) if ids else 0.0

    return coverage
