"""Models in this process: the same `Models` that applications get from the gateway, without a server.

For the exam and for questions on the command line. Engines open at their first use.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from tulou.core.errors import ModelError
from tulou.core.types import ChatDelta, Message
from tulou.service.engine import ChatEngine, EncoderEngine, Engine, Generation, open_engine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LocalModels:
    def __init__(self, folders: Mapping[str, Path], threads: int = 2) -> None:
        self._folders = folders
        self._threads = threads
        self._engines: dict[str, Engine] = {}

    async def chat(
        self, model: str, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.0
    ) -> AsyncGenerator[ChatDelta, None]:
        engine = self._engine(model)
        if not isinstance(engine, ChatEngine):
            raise ModelError(f"model {model!r} is for task {engine.manifest.task!r}, not for chat")
        async with aclosing(engine.generate(Generation(tuple(messages), max_tokens, temperature))) as deltas:
            async for delta in deltas:
                yield delta

    async def classify(self, model: str, texts: Sequence[str]) -> list[list[tuple[str, float]]]:
        encoder = self.encoder(model)
        rows = await asyncio.to_thread(encoder.encode, texts)
        labels = encoder.manifest.labels
        return [[(labels[i], float(row[i])) for i in row.argsort()[::-1]] for row in rows]

    async def embed(self, model: str, texts: Sequence[str]) -> NDArray[np.float32]:
        return await asyncio.to_thread(self.encoder(model).encode, texts)

    async def rerank(self, model: str, query: str, texts: Sequence[str]) -> list[float]:
        encoder = self.encoder(model)
        if encoder.manifest.task != "rerank":
            raise ModelError(f"model {model!r} is for task {encoder.manifest.task!r}, not for rerank")
        rows = await asyncio.to_thread(encoder.encode, [(query, text) for text in texts])  # (n, 1)
        return [float(score) for score in rows[:, 0]]

    def encoder(self, model: str) -> EncoderEngine:
        """The encoder called `model` itself, for callers that are not async."""
        engine = self._engine(model)
        if not isinstance(engine, EncoderEngine):
            raise ModelError(f"model {model!r} is for task {engine.manifest.task!r} and encodes nothing")
        return engine

    def close(self) -> None:
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def _engine(self, model: str) -> Engine:
        if model not in self._folders:
            raise ModelError(f"unknown model {model!r}; there are: {', '.join(sorted(self._folders)) or 'none'}")
        if model not in self._engines:
            self._engines[model] = open_engine(self._folders[model], self._threads)
        return self._engines[model]
