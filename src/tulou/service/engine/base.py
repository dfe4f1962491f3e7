"""What a serving engine is: text in, vectors, probabilities or a stream of words out.

An encoder is synchronous and thread-safe, because it computes; a chat engine is an async stream, because its callers
wait. Neither knows HTTP. Engines are chosen by name from `ENGINES` (see the package) after reading `model.json`.
What an engine cannot do it refuses with `Unsupported` before the first word, so that nothing asked for is dropped
silently.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

from tulou.core.errors import ModelError
from tulou.core.types import ChatDelta, Message, ModelManifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_MAX_TOKENS = 256

Text = str | tuple[int, ...]
"""A text, or its token ids in the model's own vocabulary."""

Input = Text | tuple[str, str]
"""What an encoder reads: of a reranker a query and a text."""


class PromptTooLong(ModelError):  # noqa: N818 -- the name says what is wrong
    """The prompt, or prompt and answer together, do not fit the model's context."""

    def __init__(self, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(
            f"This model's maximum context length is {context_tokens} tokens. "
            f"However, your messages resulted in {prompt_tokens} tokens. Please reduce the length of the messages."
        )
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class Unsupported(ModelError):  # noqa: N818 -- the name says what is wrong
    """The request asks for what this engine or this model cannot do, or holds a value that it cannot take."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param
        self.message = message


@dataclass(frozen=True)
class Grammar:
    """What an answer must look like: text that fits a JSON schema, between two fixed strings."""

    schema: str  # JSON
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Generation:
    """One answer to generate. A temperature of 0 is greedy: the same request gives the same answer anywhere."""

    prompt: Text | tuple[Message, ...]  # a text is continued, messages go through the chat template
    max_tokens: int | None = None  # None: as much as the engine thinks right
    temperature: float = 0.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    begun: str = ""  # the answer's beginning, written before; only what follows it is generated, and limits count it
    top_logprobs: int | None = None  # likeliest tokens told at each place; 0: the chosen one's only; None: nothing
    logit_bias: Mapping[int, float] = field(default_factory=dict)  # added to the logits of token ids
    grammar: Grammar | None = None
    tools: tuple[dict[str, Any], ...] = ()  # as OpenAI's, for the chat template

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0.0

    @property
    def messages(self) -> tuple[Message, ...] | None:
        """The prompt where it is a conversation."""
        is_talk = bool(self.prompt) and isinstance(self.prompt[0], Message)
        return self.prompt if is_talk else None  # type: ignore[return-value]  # a tuple holds one kind

    @property
    def param(self) -> str:
        """The prompt's name in a request."""
        return "prompt" if self.messages is None else "messages"


@runtime_checkable
class EncoderEngine(Protocol):
    manifest: ModelManifest

    def encode(self, texts: Sequence[Input]) -> NDArray[np.float32]:
        """L2-normalised vectors (n, dimensions) of an `embed` model, probabilities (n, labels) of a `classify` one.

        Of a `rerank` one, how well the second of each pair answers the first, 0 to 1, (n, 1). Raises `Unsupported`
        for token ids that the vocabulary does not hold.
        """
        ...

    def count_tokens(self, texts: Sequence[Input]) -> list[int]:
        """Tokens that the model reads of each text, special ones and truncation included."""
        ...

    def coverage(self, texts: Sequence[str]) -> list[float]:
        """Share of each text's tokens that the vocabulary knows, 0..1; 0 for a text without tokens."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class ChatEngine(Protocol):
    manifest: ModelManifest

    @property
    def tool_format(self) -> str | None:
        """How the model writes calls of tools, a key of `tools.FORMATS`; None where it knows no tools."""
        ...

    def generate(self, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        """Stream the answer; the last delta has `finish_reason` and the token counts.

        Closing the stream early cancels the work. Raises `PromptTooLong` or `Unsupported` before the first delta.
        """
        ...

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of token ids. Raises `Unsupported` for ids that the vocabulary does not hold."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Relayed:
    """Another server's answer, as it came."""

    status: int
    content_type: str
    pieces: AsyncGenerator[bytes, None]


@runtime_checkable
class Relay(Protocol):
    """An engine that is another server of OpenAI's protocol: requests are passed on whole, so that nothing is lost."""

    async def relay(self, path: str, body: bytes) -> Relayed:
        """Their answer to `body` at `path`. Raises `ModelError` where they cannot be reached."""
        ...


@runtime_checkable
class Mortal(Protocol):
    """An engine that may break for good while its process lives on."""

    is_broken: bool


Engine = EncoderEngine | ChatEngine


def is_pair(text: Input) -> TypeGuard[tuple[str, str]]:
    return isinstance(text, tuple) and bool(text) and isinstance(text[0], str)


def width_of(manifest: ModelManifest) -> int:
    """Numbers that an encoder gives for a text."""
    return {"classify": len(manifest.labels), "embed": manifest.dimensions, "rerank": 1}[manifest.task]


def as_template_sees(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as chat templates expect them: arguments of calls are objects, not text."""
    import json

    seen: list[dict[str, Any]] = []
    for message in messages:
        shown: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            shown["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.loads(call.arguments or "{}")},
                }
                for call in message.tool_calls
            ]
        if message.tool_call_id:
            shown["tool_call_id"] = message.tool_call_id
        seen.append(shown)
    return seen


def known_ids(ids: Sequence[int], vocabulary: int, param: str) -> list[int]:
    """`ids` as a list. Raises `Unsupported` where one is not in a vocabulary of so many tokens."""
    for token in ids:
        if not 0 <= token < vocabulary:
            raise Unsupported(
                param, f"Invalid '{param}': token id {token} is not in the model's vocabulary of {vocabulary}"
            )
    return list(ids)
