"""Asking a replica as a program does: a generation becomes a request, the bytes of an answer become words or vectors.

For the applications in the gateway's process and for engines that run on another server. Vectors travel as base64, a
quarter of the bytes of decimal text.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from tulou.core.errors import ServiceError
from tulou.core.types import ChatDelta
from tulou.service.engine.base import Generation
from tulou.service.gateway import refusals
from tulou.service.gateway.answers import Usage
from tulou.service.gateway.upstream import Whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class _Words(Struct):
    content: str | None = None


class _Choice(Struct):
    delta: _Words | None = None  # chat
    text: str | None = None  # plain completion
    finish_reason: str | None = None


class _Problem(Struct):
    message: str = "unknown"
    type: str = refusals.INVALID
    param: str | None = None
    code: str | None = None


class _Chunk(Struct):
    choices: list[_Choice] = []
    usage: Usage | None = None
    error: _Problem | None = None


class _Vector(Struct):
    embedding: str


class _Vectors(Struct):
    data: list[_Vector]


class _LabelScore(Struct):
    label: str
    score: float


class _Scores(Struct):
    scores: list[_LabelScore]


class _ScoreList(Struct):
    data: list[_Scores]


class _Grade(Struct):
    index: int
    relevance_score: float


class _Ranking(Struct):
    results: list[_Grade]


class _Failure(Struct):
    error: _Problem


_chunk = msgspec.json.Decoder(_Chunk)
_vectors = msgspec.json.Decoder(_Vectors)
_scores = msgspec.json.Decoder(_ScoreList)
_ranking = msgspec.json.Decoder(_Ranking)
_failure = msgspec.json.Decoder(_Failure)


def streamed_request(model: str, request: Generation) -> tuple[str, bytes]:
    """Path and body that ask for `request` as a stream with usage."""
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "begun": request.begun or None,
    }
    body = {name: value for name, value in body.items() if value is not None}
    if request.messages is None:
        return "/v1/completions", msgspec.json.encode(body | {"prompt": request.prompt})
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    return "/v1/chat/completions", msgspec.json.encode(body | {"messages": messages})


class Deltas:
    """Reads a stream: events in, words out; the last delta, of `end`, has the reason and the token counts."""

    def __init__(self) -> None:
        self._finish_reason: str | None = None
        self._usage = Usage()

    def read(self, events: bytes) -> Iterator[ChatDelta]:
        """The words in `events`. Raises `ApiError` for an error among them."""
        for line in events.splitlines():
            data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
            if not data or data == b"[DONE]":
                continue
            chunk = _chunk.decode(data)
            if chunk.error:
                raise refusals.ApiError(500, chunk.error.message, chunk.error.type, chunk.error.code)
            if chunk.choices:
                choice = chunk.choices[0]
                self._finish_reason = choice.finish_reason or self._finish_reason
                if text := choice.text or (choice.delta and choice.delta.content):
                    yield ChatDelta(text)
            self._usage = chunk.usage or self._usage

    def end(self) -> ChatDelta:
        usage = self._usage
        return ChatDelta("", self._finish_reason or "stop", usage.prompt_tokens, usage.completion_tokens)


def embeddings(raw: bytes) -> NDArray[np.float32]:
    """Vectors, (n, dimensions), of an answer in base64."""
    import numpy as np

    answer = _vectors.decode(raw)
    packed = b"".join(base64.b64decode(each.embedding) for each in answer.data)
    return np.frombuffer(packed, dtype="<f4").reshape(len(answer.data), -1).astype(np.float32, copy=False)


def probabilities(raw: bytes, labels: Sequence[str]) -> NDArray[np.float32]:
    """Probabilities, (n, labels), in the order of `labels`."""
    import numpy as np

    answer = _scores.decode(raw)
    column = {label: i for i, label in enumerate(labels)}
    rows = np.zeros((len(answer.data), len(labels)), dtype=np.float32)
    for row, each in zip(rows, answer.data, strict=True):
        for score in each.scores:
            row[column[score.label]] = score.score
    return rows


def grades(raw: bytes, count: int) -> list[float]:
    """Scores of the `count` documents, in the order in which they were asked about.

    Raises `ServiceError` where the answer does not grade each of them.
    """
    try:
        graded = {each.index: each.relevance_score for each in _ranking.decode(raw).results}
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise ServiceError(f"the reranker's answer cannot be read: {err}") from err
    if set(graded) != set(range(count)):
        raise ServiceError(f"the reranker graded {len(graded)} of {count} texts")
    return [graded[place] for place in range(count)]


def worded(answer: Whole) -> refusals.ApiError:
    """The refusal that a replica's answer with status 400 or above is."""
    return explanation(answer) or refusals.unexplained(answer.status)


def explanation(answer: Whole) -> refusals.ApiError | None:
    """None where the replica's words have another shape than OpenAI's errors."""
    try:
        problem = _failure.decode(answer.body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return refusals.ApiError(answer.status, problem.message, problem.type, problem.code, problem.param)
