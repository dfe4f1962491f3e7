from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.data.passages import DIMENSIONS, batch, row, vectors

from tulou.bootstrap.retrieval import Publications, Retrieval, lend
from tulou.core.errors import DataError, ServiceError
from tulou.core.types import ChatDelta, Hit, Message, Passage
from tulou.data.search import IndexHome, open_home
from tulou.data.search.affinity import save_affinity


def hit(uri: str, score: float) -> Hit:
    return Hit(Passage(uri, uri, "knowledge", uri, "", uri, "", "text", "en"), score, 0.5, 0.5)


def test_a_document_that_tickets_of_this_kind_are_about_overtakes_a_slightly_better_one() -> None:
    lent = lend([hit("catalogue.md", 1.0), hit("returns.md", 0.9)], {"returns.md": 0.3}, weight=1.0)
    assert [each.passage.uri for each in lent] == ["returns.md", "catalogue.md"]


def test_without_a_prior_nothing_changes() -> None:
    hits = [hit("a", 1.0), hit("b", 0.5)]
    assert lend(hits, {}) == hits


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeModels:
    """An encoder of `dimensions`, and a classifier that is away."""

    dimensions: int = DIMENSIONS
    embedded: list[str] = field(default_factory=list)

    def chat(
        self, model: str, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.0
    ) -> AsyncIterator[ChatDelta]:
        raise NotImplementedError

    async def classify(self, model: str, texts: Sequence[str]) -> list[list[tuple[str, float]]]:
        raise ServiceError("no classifier")

    async def rerank(self, model: str, query: str, texts: Sequence[str]) -> list[float]:
        if model == "slow":
            await asyncio.sleep(60)
        if model != "shortest":
            raise ServiceError("no reranker")
        return [-float(len(text)) for text in texts]

    async def embed(self, model: str, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += texts
        return vectors(texts)[:, : self.dimensions]


def publish(home: IndexHome, folder: Path, name: str, *texts: str) -> None:
    rows = [row(f"p{number}", text, source=f"s{number}") for number, text in enumerate(texts)]
    index = home.create(name, DIMENSIONS, folder / "scratch")
    index.add(batch(rows), vectors(texts))
    home.publish(name, folder / "scratch")


def retrieval_over(tmp_path: Path, clock: Clock, models: FakeModels, **options: Any) -> Retrieval:
    home = open_home("search", tmp_path)
    publications = Publications(home, tmp_path / "search" / "affinity.json", clock)
    return Retrieval(publications, models, "encoder", lambda _: 1.0, **options)


def texts(retrieval: Retrieval, query: str, **where: Any) -> list[str]:
    return [each.passage.text for each in asyncio.run(retrieval(query, 5, **where))]


def test_a_new_index_reaches_a_running_service_and_pruning_the_old_one_does_not_hurt_it(tmp_path: Path) -> None:
    home = open_home("search", tmp_path)
    publish(home, tmp_path, "a" * 16, "first edition")
    clock = Clock()
    retrieval = retrieval_over(tmp_path, clock, FakeModels())
    assert texts(retrieval, "edition") == ["first edition"]
    publish(home, tmp_path, "b" * 16, "second edition")
    assert texts(retrieval, "edition") == ["first edition"]  # looked less than a second ago
    clock.now += 1.1
    assert texts(retrieval, "edition") == ["second edition"]
    publish(home, tmp_path, "c" * 16, "third edition")
    publish(home, tmp_path, "d" * 16, "fourth edition")
    assert not (tmp_path / "search" / ("b" * 16)).exists()
    clock.now += 1.1
    assert texts(retrieval, "edition") == ["fourth edition"]


def test_what_tickets_taught_anew_reaches_a_running_service(tmp_path: Path) -> None:
    publish(open_home("search", tmp_path), tmp_path, "a" * 16, "x")
    clock = Clock()
    publications = Publications(open_home("search", tmp_path), tmp_path / "search" / "affinity.json", clock)
    assert publications().affinity == {}
    save_affinity(tmp_path / "search" / "affinity.json", {"refund": {"a.md": 1.0}})
    clock.now += 1.1
    assert publications().affinity == {"refund": {"a.md": 1.0}}


def test_an_index_that_does_not_open_leaves_the_service_with_the_one_it_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = open_home("search", tmp_path)
    publish(home, tmp_path, "a" * 16, "first edition")
    clock = Clock()
    retrieval = retrieval_over(tmp_path, clock, FakeModels())
    publish(home, tmp_path, "b" * 16, "second edition")
    shutil.rmtree(tmp_path / "search" / ("b" * 16))
    clock.now += 1.1
    assert texts(retrieval, "edition") == ["first edition"]
    assert "the new one does not open" in caplog.text


def test_an_index_of_another_encoder_is_searched_by_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    publish(open_home("search", tmp_path), tmp_path, "a" * 16, "first edition", "unrelated")
    retrieval = retrieval_over(tmp_path, Clock(), FakeModels(dimensions=3))
    assert texts(retrieval, "edition") == ["first edition"]
    assert "another encoder" in caplog.text


@pytest.mark.parametrize("reranker", ["away", "slow"])
def test_without_its_reranker_search_keeps_its_own_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, reranker: str
) -> None:
    monkeypatch.setattr("tulou.bootstrap.retrieval.RERANK_S", 0.05)
    publish(open_home("search", tmp_path), tmp_path, "a" * 16, "one edition", "two editions", "three editions")
    alone = texts(retrieval_over(tmp_path, Clock(), FakeModels()), "edition")
    assert texts(retrieval_over(tmp_path, Clock(), FakeModels(), reranker=reranker), "edition") == alone
    assert "the reranker does not answer" in caplog.text


def test_filters_and_reranker_are_handed_on(tmp_path: Path) -> None:
    publish(open_home("search", tmp_path), tmp_path, "a" * 16, "one edition", "two editions", "three editions")
    retrieval = retrieval_over(tmp_path, Clock(), FakeModels(), reranker="shortest")
    assert texts(retrieval, "edition", sources=["s1", "s2"]) == ["two editions", "three editions"]
    assert texts(retrieval, "edition", since="2027-01-01") == []
    with pytest.raises(DataError, match="is no date or time"):
        texts(retrieval, "edition", until="soon")
