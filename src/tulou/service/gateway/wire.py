"""What is answered: OpenAI's response types, typed once for msgspec; what may be asked is in `asked.py`.

Gateway and replicas speak the same shapes, so a replica can be asked directly, and anything that speaks OpenAI's
protocol can stand where a replica stands.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tulou.core.types import TokenScore, ToolCall
from tulou.service.gateway import refusals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Body = TypeVar("Body", bound=Struct)
Choice = TypeVar("Choice")


class Usage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class EmbeddingUsage(Struct):
    prompt_tokens: int
    total_tokens: int


class Function(Struct):
    name: str
    arguments: str


class Call(Struct):
    id: str
    function: Function
    type: str = "function"


class CallPiece(Struct):
    """A call in a stream; each comes whole."""

    index: int
    id: str
    function: Function
    type: str = "function"


class TopToken(Struct):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(Struct):
    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopToken]


class ChatLogprobs(Struct):
    content: list[TokenLogprob]
    refusal: None = None


class TextLogprobs(Struct):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class Delta(Struct, omit_defaults=True):
    role: str | None = None
    content: str | None = None
    tool_calls: list[CallPiece] | None = None


class ChunkChoice(Struct):
    delta: Delta
    index: int
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None


class AnswerMessage(Struct):
    content: str | None
    role: str = "assistant"
    refusal: None = None
    tool_calls: list[Call] | UnsetType = UNSET


class ChatChoice(Struct):
    message: AnswerMessage
    finish_reason: str
    index: int
    logprobs: ChatLogprobs | None = None


class TextChoice(Struct):
    text: str
    finish_reason: str | None
    index: int
    logprobs: TextLogprobs | None = None


class Completion(Struct, Generic[Choice]):
    """An answer or a piece of one: `object` says which of OpenAI's four it is."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | UnsetType | None = UNSET
    system_fingerprint: str | None = None


class Embedding(Struct):
    index: int
    embedding: list[float] | str
    object: str = "embedding"


class EmbeddingList(Struct):
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage
    object: str = "list"


class RankedText(Struct):
    text: str


class Ranked(Struct, omit_defaults=True):
    index: int
    relevance_score: float
    document: RankedText | None = None


class Ranking(Struct):
    id: str
    model: str
    results: list[Ranked]
    usage: EmbeddingUsage
    object: str = "list"


class Score(Struct):
    label: str
    score: float


class Classification(Struct):
    index: int
    label: str
    score: float
    scores: list[Score]
    object: str = "classification"


class ClassificationList(Struct):
    model: str
    data: list[Classification]
    usage: EmbeddingUsage
    object: str = "list"


class Problem(Struct):
    message: str
    type: str
    param: str | None
    code: str | None


class Failure(Struct):
    error: Problem


class ModelCard(Struct):
    id: str
    created: int
    task: str
    precision: str
    version: str
    object: str = "model"
    owned_by: str = "tulou"


class ModelList(Struct):
    data: list[ModelCard]
    object: str = "list"


def usage_of(prompt_tokens: int, completion_tokens: int) -> Usage:
    return Usage(prompt_tokens, completion_tokens, prompt_tokens + completion_tokens)


def decode(raw: bytes, decoder: msgspec.json.Decoder[Body]) -> Body:
    """The request in `raw`. Raises `ApiError` naming the parameter that is wrong."""
    try:
        return decoder.decode(raw)
    except msgspec.DecodeError as err:
        raise refusals.explain(err, raw) from None
    except (UnicodeError, RecursionError):
        raise refusals.body_not_json() from None


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def embedding_data(vectors: NDArray[np.float32], as_base64: bool) -> list[Embedding]:
    if as_base64:
        little = vectors.astype("<f4", copy=False)
        return [Embedding(i, base64.b64encode(row.tobytes()).decode("ascii")) for i, row in enumerate(little)]
    return [Embedding(i, row.tolist()) for i, row in enumerate(vectors)]


def shortened(vectors: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """The first `dimensions` of unit vectors, (n, width), made unit vectors again, as OpenAI shortens them."""
    import numpy as np

    if dimensions == vectors.shape[1]:
        return vectors
    cut = vectors[:, :dimensions]
    norms = np.linalg.norm(cut, axis=1, keepdims=True)
    return (cut / np.where(norms > 0, norms, 1)).astype(np.float32)


def classifications(
    probabilities: NDArray[np.float32], labels: Sequence[str], top_k: int | None
) -> list[Classification]:
    rows = []
    for index, row in enumerate(probabilities):
        order = row.argsort()[::-1][:top_k]
        scores = [Score(labels[i], float(row[i])) for i in order]
        rows.append(Classification(index, scores[0].label, scores[0].score, scores))
    return rows


def ranking(scores: NDArray[np.float32], top_n: int | None, texts: Sequence[str] | None) -> list[Ranked]:
    """Documents by their scores, (documents,), the best first."""
    order = (-scores).argsort(kind="stable")[:top_n]
    return [Ranked(int(i), float(scores[i]), RankedText(texts[i]) if texts is not None else None) for i in order]


def chat_logprobs(scores: Sequence[TokenScore]) -> ChatLogprobs:
    return ChatLogprobs(
        [
            TokenLogprob(
                score.text,
                score.logprob,
                _bytes(score.text),
                [TopToken(text, logprob, _bytes(text)) for text, logprob in score.others],
            )
            for score in scores
        ]
    )


def text_logprobs(scores: Sequence[TokenScore], offset_chars: int) -> TextLogprobs:
    """`offset_chars`: of the text before the first of `scores`."""
    offsets = []
    for score in scores:
        offsets.append(offset_chars)
        offset_chars += len(score.text)
    return TextLogprobs(
        [score.text for score in scores],
        [score.logprob for score in scores],
        [dict(score.others) for score in scores],
        offsets,
    )


def calls(made: Sequence[ToolCall]) -> list[Call]:
    return [Call(each.id, Function(each.name, each.arguments)) for each in made]


def call_pieces(made: Sequence[ToolCall], before: int) -> list[CallPiece]:
    """`before`: how many calls came before these."""
    return [CallPiece(before + i, each.id, Function(each.name, each.arguments)) for i, each in enumerate(made)]


def _bytes(text: str) -> list[int] | None:
    """None where the token is part of a character, whose bytes are not known here."""
    return None if "\ufffd" in text else list(text.encode())
