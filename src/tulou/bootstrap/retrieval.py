"""Search as the applications know it: a question in, hits out; encoder, classifier and index meet here.

An encoder that cannot read a question (Chinese through an English vocabulary) must not vote on it: its ranking counts
in proportion to the share of the question's tokens it knows. The classifier names what the customer wants, and the
documents that tickets of that kind are about gain weight. If either model is away, the words alone decide. Where the
project has a reranker, it reads the best hits with the question and orders them anew; without its answer in time they
stay as they are. A new index reaches a running service by itself: once a second at most, a search looks whether one was
published.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tulou.core.errors import TulouError
from tulou.core.types import Hit, Models
from tulou.data.search import IndexHome, Rerank, SearchIndex, open_home
from tulou.data.search.affinity import Affinity, load_affinity, prior
from tulou.service.engine.coverage import Coverage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tulou.bootstrap.project import Project

log = logging.getLogger(__name__)

AFFINITY_FILE = "affinity.json"  # beside the published index
CANDIDATES = 30  # hits among which affinity may choose
AFFINITY_WEIGHT = 2.0  # between 1 and 4 it makes little difference on 162 development questions
SEARCHES_AT_ONCE = 8
RERANK_S = 5.0  # that a reranker may take, out of the time that a customer waits
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Published:
    """An index and what was learnt about it."""

    index: SearchIndex
    affinity: Affinity


class Publications:
    """What is published now. Safe to use from several threads; only one of them looks for something new."""

    def __init__(self, home: IndexHome, affinity: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._affinity = affinity
        self._clock = clock
        self._looking = threading.Lock()
        self._look_again = clock() + _LOOK_EVERY_S
        self._mark = self._marked()
        self._published = self._open()

    def __call__(self) -> Published:
        if self._clock() >= self._look_again and self._looking.acquire(blocking=False):
            try:
                self._look_again = self._clock() + _LOOK_EVERY_S
                self._look()
            finally:
                self._looking.release()
        return self._published

    def _look(self) -> None:
        """Open what is new; searches under way end with the index that they began with."""
        try:
            mark = self._marked()
            if mark != self._mark:
                self._published = self._open()
                self._mark = mark
                log.info("a new search index is in use")
        except TulouError as err:
            log.warning("search goes on with the index it has, the new one does not open: %s", err)

    def _open(self) -> Published:
        return Published(self._home.open(), load_affinity(self._affinity))

    def _marked(self) -> tuple[str | None, int]:
        learnt = self._affinity.stat().st_mtime_ns if self._affinity.exists() else 0
        return self._home.current(), learnt


@dataclass(frozen=True)
class Retrieval:
    published: Callable[[], Published]
    models: Models
    encoder: str
    coverage: Callable[[str], float]
    intents: str | None = None
    reranker: str | None = None
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(SEARCHES_AT_ONCE, "search"))
    """Of its own: a search waits for the reranker, and what else is done in threads must not wait for searches."""

    async def __call__(
        self,
        query: str,
        k: int,
        *,
        languages: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> list[Hit]:
        published = await asyncio.to_thread(self.published)
        weight = self.coverage(query)
        vector, documents = await asyncio.gather(
            self._vector(query, weight, published.index.dimensions), self._prior(query, published.affinity)
        )
        search = partial(
            published.index.search,
            query,
            vector,
            max(k, CANDIDATES),
            languages=languages,
            sources=sources,
            since=since,
            until=until,
            vector_weight=weight,
            rerank=self._rerank(),
        )
        hits = await asyncio.get_running_loop().run_in_executor(self._threads, search)
        return lend(hits, documents)[:k]

    async def _vector(self, query: str, weight: float, dimensions: int) -> NDArray[np.float32] | None:
        if weight == 0:
            return None
        try:
            vector: NDArray[np.float32] = (await self.models.embed(self.encoder, [query]))[0]
        except TulouError as err:
            log.warning("search goes on by words alone, the encoder does not answer: %s", err)
            return None
        if vector.shape != (dimensions,):
            log.warning("search goes on by words alone, the index is of another encoder; restart the service")
            return None
        return vector

    def _rerank(self) -> Rerank | None:
        """The reranker as a search in a thread asks it, while this loop goes on."""
        if self.reranker is None:
            return None
        loop, reranker = asyncio.get_running_loop(), self.reranker

        def rerank(query: str, texts: Sequence[str]) -> Sequence[float]:
            asked = asyncio.run_coroutine_threadsafe(self.models.rerank(reranker, query, texts), loop)
            try:
                return asked.result(RERANK_S)
            except (TulouError, TimeoutError) as err:
                asked.cancel()
                log.warning("hits stay in the order of search, the reranker does not answer: %s", err)
                return [0.0] * len(texts)

        return rerank

    async def _prior(self, query: str, affinity: Affinity) -> dict[str, float]:
        if self.intents is None or not affinity:
            return {}
        try:
            labels = (await self.models.classify(self.intents, [query]))[0]
        except TulouError as err:
            log.warning("search goes on without the customer's intent: %s", err)
            return {}
        return prior(affinity, dict(labels))


def lend(hits: Sequence[Hit], documents: Mapping[str, float], weight: float = AFFINITY_WEIGHT) -> list[Hit]:
    """`hits` with their scores raised by the weight of their documents, best first."""
    raised = [replace(hit, score=hit.score * (1 + weight * documents.get(hit.passage.uri, 0.0))) for hit in hits]
    return sorted(raised, key=lambda hit: -hit.score)


def open_retrieval(project: Project, models: Models, encoder_folder: Path) -> Retrieval:
    """Raises `DataError` where no index was made yet, `ModelError` where the encoder's tokenizer is missing."""
    settings = project.settings
    home = open_home(settings.data.search, project.folder)
    published = Publications(home, project.search / AFFINITY_FILE)
    encoder = settings.encoder
    return Retrieval(
        published,
        models,
        encoder,
        Coverage.of(encoder_folder),
        project.support.intents,
        settings.data.reranker or None,
    )
