"""The nouns every storey shares, one record at a time, and the callables handed across them.

What travels between stages as tables is in `core/tables.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Language = Literal["zh", "en", "other"]
Task = Literal["classify", "chat", "embed", "rerank"]
Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class ToolCall:
    """A function that the model wants called."""

    id: str
    name: str
    arguments: str  # a JSON object


@dataclass(frozen=True)
class Message:
    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()  # of an assistant
    tool_call_id: str = ""  # the call that a tool's message answers


@dataclass(frozen=True)
class Passage:
    """A stretch of one document, small enough to quote; the row of PASSAGE."""

    id: str
    document_id: str
    source: str
    uri: str
    position: str
    title: str
    heading: str
    text: str
    language: str
    modified_at: str = ""


@dataclass(frozen=True)
class Hit:
    """One passage found, with the evidence for it.

    `score` orders hits (reciprocal-rank fusion, higher is better; comparable within one query only). `lexical` is the
    share of the query's informative weight (IDF) that the passage contains, 0..1. `cosine` is the vector similarity,
    -1..1. The last two are comparable across queries, so that a caller can tell "best" from "good".
    """

    passage: Passage
    score: float
    lexical: float
    cosine: float


@dataclass(frozen=True)
class ModelManifest:
    """`model.json` in a model folder: all that a serving engine needs to know about the files beside it.

    Encoder folders (`classify`, `embed`, `rerank`) hold `openvino_model.xml`, `openvino_model.bin` and
    `tokenizer.json`; the graph takes `input_ids` and `attention_mask`, (B, T) int64, and returns logits
    (B, len(labels)) or L2-normalised vectors (B, dimensions). A reranker's reads a query and a text as one row, with
    `token_type_ids` where its base tells them apart, and returns one logit, (B, 1). Chat folders hold what `engine`
    names, with the tokenizer and the chat template inside; `details["why_torch"]` says why one is no graph.
    """

    name: str
    task: Task
    engine: str  # key of the service's ENGINES
    precision: str  # "fp32", "bf16", "int8"
    fingerprint: str  # of the stage that made the folder
    base: str
    labels: tuple[str, ...] = ()
    dimensions: int = 0
    max_tokens: int = 512  # longest input an encoder reads; the context length of a chat model
    version: str = ""  # registry version, once registered
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenScore:
    """How likely one token of an answer was, and which others were."""

    text: str
    logprob: float  # natural logarithm of its probability
    others: tuple[tuple[str, float], ...] = ()  # the likeliest tokens at its place with theirs, itself among them


@dataclass(frozen=True)
class ChatDelta:
    """A piece of a generated answer; the last one carries `finish_reason` and the token counts."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    scores: tuple[TokenScore, ...] = ()  # of the piece's tokens, where they were asked for


Encode = Callable[[Sequence[str]], "NDArray[np.float32]"]
"""Texts (n) to L2-normalised vectors (n, dimensions)."""


class Models(Protocol):
    """The models an application may use, wherever they run: this process, replicas behind the gateway, another host."""

    def chat(
        self, model: str, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.0
    ) -> AsyncIterator[ChatDelta]: ...

    async def classify(self, model: str, texts: Sequence[str]) -> list[list[tuple[str, float]]]:
        """For each text its labels with probabilities, most likely first."""
        ...

    async def embed(self, model: str, texts: Sequence[str]) -> NDArray[np.float32]: ...

    async def rerank(self, model: str, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the query, 0 to 1."""
        ...
