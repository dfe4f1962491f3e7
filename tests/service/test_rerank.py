"""A cross-encoder behind `/v1/rerank`: its scores are torch's, whichever engine computes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from tests.model.conftest import bert_folder  # noqa: F401 -- the fixture
from tests.model.rerankers import torch_scores, write_reranker
from tests.service.running_service import RunningService

from tulou.core.errors import ServiceError
from tulou.core.manifest import read_manifest, write_manifest
from tulou.core.types import ModelManifest
from tulou.service.engine import open_encoder
from tulou.service.gateway.asking import grades
from tulou.service.local import LocalModels
from tulou.service.replica import EngineBackend, build_replica

QUERY = "where is my order"
TEXTS = ["the order is on its way", "we return your money", "", "order", "a very long text " * 20, "发票"]
KINDS = [("openvino", "bert"), ("openvino", "xlm-roberta"), ("torch", "bert")]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def folder(request: pytest.FixtureRequest, bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A model folder with the weights it was made of in `source` beside it."""
    from tulou.model.compress import export_reranker

    engine, kind = request.param
    source = write_reranker(bert_folder, tmp_path_factory.mktemp("reranker") / "source", kind)
    if engine == "torch":
        write_manifest(source, ModelManifest("reranker", "rerank", "torch", "fp32", "f", "none", max_tokens=62))
        return source
    export_reranker(source, source.with_name("fp32"))
    return source.with_name("fp32")


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    backend = EngineBackend(open_encoder(folder, threads=1), "reranker")
    yield TestClient(build_replica(backend))
    backend.close()


def test_served_scores_are_those_of_torch(client: TestClient, folder: Path) -> None:
    asked: dict[str, Any] = {"model": "reranker", "query": QUERY, "documents": [*TEXTS[:-1], {"text": TEXTS[-1]}]}
    answer = client.post("/v1/rerank", json=asked).json()
    expected = torch_scores(folder.with_name("source"), QUERY, TEXTS, read_manifest(folder).max_tokens)
    found = {row["index"]: row["relevance_score"] for row in answer["results"]}
    assert [found[place] for place in range(len(TEXTS))] == pytest.approx(expected, abs=1e-4)
    scores = [row["relevance_score"] for row in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert max(scores) - min(scores) > 0.01, "scores that are all alike would prove nothing"
    assert answer["usage"]["total_tokens"] > len(TEXTS) * 8, "the query is read with each text"
    best = client.post("/v1/rerank", json=asked | {"top_n": 1, "return_documents": True}).json()["results"]
    assert best == [{**answer["results"][0], "document": {"text": TEXTS[answer["results"][0]["index"]]}}]


def test_a_reranker_makes_no_vectors_and_no_labels(client: TestClient) -> None:
    for path in ("embeddings", "classify"):
        answer = client.post(f"/v1/{path}", json={"model": "reranker", "input": "a"})
        assert answer.status_code == 404
        assert "is a rerank model" in answer.json()["error"]["message"]


async def test_local_models_rerank(folder: Path) -> None:
    models = LocalModels({"reranker": folder})
    expected = torch_scores(folder.with_name("source"), QUERY, TEXTS[:2], 62)
    assert await models.rerank("reranker", QUERY, TEXTS[:2]) == pytest.approx(expected, abs=1e-4)
    models.close()


def test_through_the_gateway_a_reranker_orders_documents(service: RunningService) -> None:
    body = {"model": "reranker", "query": "my order", "documents": ["invoice", "my order", "an order"]}
    answer = service.client().post("/rerank", body=body, cast_to=httpx.Response).json()
    assert [(row["index"], row["relevance_score"]) for row in answer["results"]] == [(1, 1.0), (2, 0.5), (0, 0.0)]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"results": [{"index": 0, "relevance_score": 0.5}]}',
        b'{"results": [{"index": 0, "relevance_score": 0.5}, {"index": 2, "relevance_score": 0.1}]}',
        b'{"scores": [0.5, 0.1]}',
        b"busy",
    ],
)
def test_an_answer_that_does_not_grade_every_text_is_refused(raw: bytes) -> None:
    with pytest.raises(ServiceError, match="the reranker"):
        grades(raw, 2)


def test_grades_come_in_the_order_of_the_texts() -> None:
    raw = b'{"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.5}]}'
    assert grades(raw, 2) == [0.5, 0.9]
