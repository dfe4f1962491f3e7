"""What a replica may be asked over HTTP, as one table: path, model task, request type, and how it is answered."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from tulou.core.types import Task
from tulou.service.gateway import asked, completions, refusals, wire
from tulou.service.gateway.call import Call, Encoded, json_response


@dataclass(frozen=True)
class Operation:
    path: str
    task: Task
    asked: type[msgspec.Struct]
    answer: Callable[[Call], Coroutine[Any, Any, Response]]
    decoder: msgspec.json.Decoder[Any]
    tasks: tuple[Task, ...]  # of models that can be asked so, `task` among them

    @classmethod
    def of(
        cls,
        path: str,
        task: Task,
        body: type[msgspec.Struct],
        answer: Callable[[Call], Coroutine[Any, Any, Response]],
        *also: Task,
    ) -> Operation:
        return cls(path, task, body, answer, msgspec.json.Decoder(body), (task, *also))


async def _embeddings(call: Call) -> Response:
    wanted, full = call.body.dimensions or call.manifest.dimensions, call.manifest.dimensions
    if wanted > full or (wanted < full and not call.manifest.details.get("matryoshka")):
        raise refusals.value_unsupported("dimensions", wanted, str(full))
    encoded = await _encode(call)
    data = wire.embedding_data(wire.shortened(encoded.rows, wanted), call.body.encoding_format == "base64")
    return json_response(wire.EmbeddingList(call.body.model, data, _usage(encoded)))


async def _classify(call: Call) -> Response:
    encoded = await _encode(call)
    data = wire.classifications(encoded.rows, call.manifest.labels, call.body.top_k)
    return json_response(wire.ClassificationList(call.body.model, data, _usage(encoded)))


async def _rerank(call: Call) -> Response:
    """By a cross-encoder, which reads query and document together; by cosine of vectors where there are only those."""
    query, *documents = call.body.texts
    if call.manifest.task == "rerank":
        pairs = [(query, document) for document in documents]
        encoded = await call.backend.encode(call.body.model, pairs, call.caller)
        scores = encoded.rows[:, 0]  # (documents,)
    else:
        encoded = await _encode(call)
        scores = encoded.rows[1:] @ encoded.rows[0]  # (documents,)
    results = wire.ranking(scores, call.body.top_n, documents if call.body.return_documents else None)
    return json_response(wire.Ranking(call.id("rerank"), call.body.model, results, _usage(encoded)))


async def _encode(call: Call) -> Encoded:
    return await call.backend.encode(call.body.model, call.body.texts, call.caller)


def _usage(encoded: Encoded) -> wire.EmbeddingUsage:
    return wire.EmbeddingUsage(encoded.prompt_tokens, encoded.prompt_tokens)


OPERATIONS = (
    Operation.of("/v1/chat/completions", "chat", asked.ChatBody, completions.chat),
    Operation.of("/v1/completions", "chat", asked.CompletionBody, completions.text),
    Operation.of("/v1/embeddings", "embed", asked.EmbeddingBody, _embeddings),
    Operation.of("/v1/rerank", "rerank", asked.RerankBody, _rerank, "embed"),
    Operation.of("/v1/classify", "classify", asked.ClassifyBody, _classify),
)
