"""Echo: a deterministic model without weights, for tests, demonstrations of the service, and load on the gateway alone.

Chat repeats the last user message, a word (or Chinese character) at a time; vectors are hashed character trigrams, so
similar texts are close; a classifier picks the label named in the text, else one by hash. `model.json` may set
`details.token_delay_s` to make it as slow as a real model.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tulou.core.types import ChatDelta, ModelManifest
from tulou.service.engine.base import DEFAULT_MAX_TOKENS, Generation, PromptTooLong

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A token is a Chinese character, a word with the space before it, or one other character.
_TOKEN = re.compile(r"\s*(?:[一-鿿]|\w+|[^\w\s])|\s+")
_UNKNOWN = "\ufffd"


def tokens_of(text: str) -> list[str]:
    return _TOKEN.findall(text)


class EchoEncoder:
    def __init__(self, folder: Path, manifest: ModelManifest, threads: int) -> None:
        self.manifest = manifest

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        row = self._probabilities if self.manifest.task == "classify" else self._vector
        width = len(self.manifest.labels) if self.manifest.task == "classify" else self.manifest.dimensions
        return np.array([row(text) for text in texts], dtype=np.float32).reshape(len(texts), width)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [min(len(tokens_of(text)), self.manifest.max_tokens) for text in texts]

    def coverage(self, texts: Sequence[str]) -> list[float]:
        split = [tokens_of(text) for text in texts]
        return [sum(_UNKNOWN not in token for token in tokens) / len(tokens) if tokens else 0.0 for tokens in split]

    def close(self) -> None:
        pass

    def _vector(self, text: str) -> list[float]:
        counts = [0.0] * self.manifest.dimensions
        padded = f" {text.lower()} "
        for i in range(len(padded) - 2):
            counts[zlib.crc32(padded[i : i + 3].encode()) % len(counts)] += 1.0
        norm = sum(value * value for value in counts) ** 0.5 or 1.0
        return [value / norm for value in counts]

    def _probabilities(self, text: str) -> list[float]:
        labels = self.manifest.labels
        named = next((i for i, label in enumerate(labels) if label.replace("_", " ") in text.lower()), None)
        chosen = zlib.crc32(text.encode()) % len(labels) if named is None else named
        rest = 0.1 / max(len(labels) - 1, 1)
        return [0.9 if i == chosen else rest for i in range(len(labels))]


class EchoChat:
    def __init__(self, folder: Path, manifest: ModelManifest, threads: int) -> None:
        self.manifest = manifest
        self._delay_s = float(manifest.details.get("token_delay_s", 0.0))

    async def generate(self, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        prompt_tokens = self._count_prompt(request)
        context = self.manifest.max_tokens
        if prompt_tokens >= context:
            raise PromptTooLong(prompt_tokens, context)
        limit = min(request.max_tokens or DEFAULT_MAX_TOKENS, context - prompt_tokens)
        tokens = tokens_of(_cut_at(self._reply(request), request.stop))
        begun = len(tokens_of(request.begun))
        for token in tokens[begun:limit]:
            await asyncio.sleep(self._delay_s)
            yield ChatDelta(token)
        reason = "length" if len(tokens) > limit else "stop"
        yield ChatDelta("", reason, prompt_tokens, min(len(tokens), limit))

    def close(self) -> None:
        pass

    def _count_prompt(self, request: Generation) -> int:
        if isinstance(request.prompt, str):
            return len(tokens_of(request.prompt))
        return sum(len(tokens_of(message.content)) for message in request.prompt)

    def _reply(self, request: Generation) -> str:
        if isinstance(request.prompt, str):
            return request.prompt
        spoken = [message.content for message in request.prompt if message.role == "user"]
        return spoken[-1] if spoken else ""


def _cut_at(text: str, stops: Sequence[str]) -> str:
    """The text before the first of `stops`."""
    found = [position for stop in stops if (position := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


def open_echo(folder: Path, manifest: ModelManifest, threads: int) -> EchoEncoder | EchoChat:
    kind = EchoChat if manifest.task == "chat" else EchoEncoder
    return kind(folder, manifest, threads)
