"""What a serving engine is: text in, vectors, probabilities or a stream of words out.

An encoder is synchronous and thread-safe, because it computes; a chat engine is an async stream, because its callers
wait. Neither knows HTTP. Engines are chosen by name from `ENGINES` (see the package) after reading `model.json`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tulou.core.errors import ModelError
from tulou.core.types import ChatDelta, Message, ModelManifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_MAX_TOKENS = 256


class PromptTooLong(ModelError):  # noqa: N818 -- the name says what is wrong
    """The prompt, or prompt and answer together, do not fit the model's context."""

    def __init__(self, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(
            f"This model's maximum context length is {context_tokens} tokens. "
            f"However, your messages resulted in {prompt_tokens} tokens. Please reduce the length of the messages."
        )
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


@dataclass(frozen=True)
class Generation:
    """One answer to generate. A temperature of 0 is greedy: the same request gives the same answer anywhere."""

    prompt: str | tuple[Message, ...]  # plain text is continued, messages go through the chat template
    max_tokens: int | None = None  # None: as much as the engine thinks right
    temperature: float = 0.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    begun: str = ""  # the answer's beginning, written before; only what follows it is generated, and limits count it

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0.0


@runtime_checkable
class EncoderEngine(Protocol):
    manifest: ModelManifest

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """L2-normalised vectors (n, dimensions) of an `embed` model, probabilities (n, labels) of a `classify` one."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens that the model reads of each text, special ones and truncation included."""
        ...

    def coverage(self, texts: Sequence[str]) -> list[float]:
        """Share of each text's tokens that the vocabulary knows, 0..1; 0 for a text without tokens."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class ChatEngine(Protocol):
    manifest: ModelManifest

    def generate(self, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        """Stream the answer; the last delta has `finish_reason` and the token counts.

        Closing the stream early cancels the work. Raises `PromptTooLong` before the first delta.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class Mortal(Protocol):
    """An engine that may break for good while its process lives on."""

    is_broken: bool


Engine = EncoderEngine | ChatEngine
