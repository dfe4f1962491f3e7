"""The nouns every storey shares: what travels between stages, and the callables handed across them.

Between stages there are Arrow tables with one of the schemas below, on disk as Parquet. The dataclasses are the same
rows one at a time, for code that looks at a single record.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Language = Literal["zh", "en", "other"]
Task = Literal["classify", "chat", "embed"]
Role = Literal["system", "user", "assistant"]

# One row for each record collected: a whole short file, a page, a table row, a stretch of speech.
DOCUMENT = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # stable: from source, uri and position, not from the text
        pa.field("source", pa.string(), nullable=False),  # [[data.source]] name
        pa.field("uri", pa.string(), nullable=False),  # file relative to the project, or URL
        pa.field("position", pa.string(), nullable=False),  # "page=3", "row=17", "seconds=0-12", "" for the whole
        pa.field("media_type", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),  # "zh", "en", "other"
        pa.field("label", pa.string()),  # what a classifier learns, where the source names a label column
        pa.field("subject_id", pa.string()),  # the person the record is about, where the source names one
        pa.field("content_hash", pa.string(), nullable=False),  # sha256 of the raw file or row
        pa.field("modified_at", pa.string(), nullable=False),  # ISO 8601, of the raw file
    ]
)

# One row for each thing a cleaning step did to a record; a record without rows was kept as it came.
DECISION = pa.schema(
    [
        pa.field("record_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("position", pa.string(), nullable=False),
        pa.field("step", pa.string(), nullable=False),  # "encoding", "exact_duplicate", "sensitive", ...
        pa.field("rule", pa.string(), nullable=False),  # "gbk_as_latin1", "phone", "too_short", ...
        pa.field("action", pa.string(), nullable=False),  # "changed", "reported" (would be) or "dropped"
        pa.field("before", pa.string()),
        pa.field("after", pa.string()),  # for a duplicate: the id of the copy that was kept
    ]
)

PASSAGE = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("position", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("heading", pa.string(), nullable=False),  # "Returns > How long do I have"
        pa.field("text", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("modified_at", pa.string(), nullable=False),  # of the document
    ]
)

# Classification rows, already split; `document_id` is the lineage back to the cleaned record.
LABELLED = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # "train", "validation", "test"
    ]
)

MESSAGE = pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])

# Chat rows, already split; the loss falls on assistant messages only.
CONVERSATION = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("messages", pa.list_(MESSAGE), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)

# Two answers to one prompt, of which people liked `chosen` better.
PREFERENCE = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("messages", pa.list_(MESSAGE), nullable=False),  # the prompt
        pa.field("chosen", pa.string(), nullable=False),
        pa.field("rejected", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)

# A question and a passage that answers it, for a search encoder.
PAIR = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("passage", pa.string(), nullable=False),  # as the index embeds it
        pa.field("language", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Message:
    role: Role
    content: str


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

    Encoder folders (`classify`, `embed`) hold `openvino_model.xml`, `openvino_model.bin` and `tokenizer.json`; the
    graph takes `input_ids` and `attention_mask`, (B, T) int64, and returns logits (B, len(labels)) or L2-normalised
    vectors (B, dimensions). Chat folders hold what `engine` names, with the tokenizer and the chat template inside.
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
class ChatDelta:
    """A piece of a generated answer; the last one carries `finish_reason` and the token counts."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


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
