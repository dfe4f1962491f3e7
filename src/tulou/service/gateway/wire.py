"""What travels on the line: OpenAI's request and response types, typed once for msgspec.

Gateway and replicas speak the same shapes, so a replica can be asked directly, and anything that speaks OpenAI's
protocol can stand where a replica stands. Fields that we do not know are ignored, as OpenAI does; fields that ask for
something we cannot do are refused rather than ignored.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from tulou.core.types import Message
from tulou.service.engine.base import Generation
from tulou.service.gateway import refusals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_INPUTS = 2048  # texts in one request, as OpenAI's embeddings endpoint
DONE = b"data: [DONE]\n\n"

Body = TypeVar("Body", bound=Struct)
Positive = Annotated[int, Meta(ge=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Texts = str | Annotated[list[str], Meta(min_length=1, max_length=MAX_INPUTS)]


class TextPart(Struct):
    type: Literal["text"]
    text: str


class ChatMessage(Struct):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def plain(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message("system" if self.role == "developer" else self.role, text)


class StreamOptions(Struct):
    include_usage: bool | None = None


class Sampled(Struct, kw_only=True):
    """What chat and plain completions share. Without a temperature, answers are greedy and so repeatable."""

    model: str
    max_tokens: Positive | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Positive | None = None
    begun: str | None = None  # ours: the beginning of the answer, which is to be continued and is not repeated

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def generation(self, prompt: str | tuple[Message, ...], max_tokens: int | None) -> Generation:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Generation(
            prompt,
            max_tokens,
            temperature=self.temperature or 0.0,
            top_p=1.0 if self.top_p is None else self.top_p,
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            seed=self.seed,
            stop=tuple(text for text in stop if text),
            begun=self.begun or "",
        )

    def refuse_unsupported(self) -> None:
        if self.n not in (None, 1):
            raise refusals.value_unsupported("n", self.n, "1")
        if self.stream_options is not None and not self.stream:
            raise refusals.ApiError(
                400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
            )


class ChatBody(Sampled, kw_only=True):
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    max_completion_tokens: Positive | None = None
    response_format: dict[str, Any] | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    logprobs: bool | None = None

    def generations(self) -> list[Generation]:
        messages = tuple(message.plain() for message in self.messages)
        return [self.generation(messages, self.max_completion_tokens or self.max_tokens)]

    def refuse_unsupported(self) -> None:
        super().refuse_unsupported()
        if self.tools:
            raise refusals.parameter_unsupported("tools")
        if self.functions:
            raise refusals.parameter_unsupported("functions")
        if self.logprobs:
            raise refusals.parameter_unsupported("logprobs")
        if self.response_format and self.response_format.get("type", "text") != "text":
            raise refusals.value_unsupported("response_format", self.response_format, "{'type': 'text'}")


class CompletionBody(Sampled, kw_only=True):
    prompt: str | Annotated[list[str], Meta(min_length=1, max_length=64)]
    echo: bool | None = None
    logprobs: int | None = None
    suffix: str | None = None

    def generations(self) -> list[Generation]:
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        return [self.generation(prompt, self.max_tokens) for prompt in prompts]

    def refuse_unsupported(self) -> None:
        super().refuse_unsupported()
        for name, value in (("echo", self.echo), ("logprobs", self.logprobs), ("suffix", self.suffix)):
            if value:
                raise refusals.parameter_unsupported(name)
        if self.stream and not isinstance(self.prompt, str) and len(self.prompt) > 1:
            raise refusals.value_unsupported("prompt", self.prompt, "a single prompt when 'stream' is enabled")


class EmbeddingBody(Struct, kw_only=True):
    model: str
    input: Texts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Positive | None = None

    @property
    def texts(self) -> list[str]:
        return _checked(self.input)

    def refuse_unsupported(self) -> None:
        if self.dimensions is not None:
            raise refusals.parameter_unsupported("dimensions")


class ClassifyBody(Struct, kw_only=True):
    """Ours, in the manner of the embeddings endpoint."""

    model: str
    input: Texts
    top_k: Positive | None = None  # labels given for each text; all by default

    @property
    def texts(self) -> list[str]:
        return _checked(self.input)

    def refuse_unsupported(self) -> None:
        pass


class Usage(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class EmbeddingUsage(Struct):
    prompt_tokens: int
    total_tokens: int


class Delta(Struct, omit_defaults=True):
    role: str | None = None
    content: str | None = None


class ChunkChoice(Struct):
    delta: Delta
    index: int = 0
    logprobs: None = None
    finish_reason: str | None = None


class AnswerMessage(Struct):
    content: str
    role: str = "assistant"
    refusal: None = None


class ChatChoice(Struct):
    message: AnswerMessage
    finish_reason: str
    index: int = 0
    logprobs: None = None


class TextChoice(Struct):
    text: str
    finish_reason: str | None
    index: int = 0
    logprobs: None = None


class Completion(Struct):
    """An answer or a piece of one: `object` says which of OpenAI's four it is."""

    id: str
    object: str
    created: int
    model: str
    choices: list[ChatChoice] | list[ChunkChoice] | list[TextChoice]
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
    except UnicodeDecodeError:
        raise refusals.body_not_json() from None


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def embedding_data(vectors: NDArray[np.float32], as_base64: bool) -> list[Embedding]:
    if as_base64:
        little = vectors.astype("<f4", copy=False)
        return [Embedding(i, base64.b64encode(row.tobytes()).decode("ascii")) for i, row in enumerate(little)]
    return [Embedding(i, row.tolist()) for i, row in enumerate(vectors)]


def classifications(
    probabilities: NDArray[np.float32], labels: Sequence[str], top_k: int | None
) -> list[Classification]:
    rows = []
    for index, row in enumerate(probabilities):
        order = row.argsort()[::-1][:top_k]
        scores = [Score(labels[i], float(row[i])) for i in order]
        rows.append(Classification(index, scores[0].label, scores[0].score, scores))
    return rows


def _checked(given: str | list[str]) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not all(texts):
        where = "input" if isinstance(given, str) else f"input[{texts.index('')}]"
        raise refusals.ApiError(400, f"Invalid '{where}': input cannot be an empty string.", param="input")
    return texts
