"""Dynamic batching for encoders: whatever has arrived while one batch was computed makes the next.

No timer and no tuning: a lone request starts at once, and under load batches grow by themselves. The engine computes in
one thread of its own, so that health checks are answered meanwhile. The queue is bounded: whoever comes when it is full
is told so at once, and may be sent elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tulou.core.errors import ServiceError
from tulou.service.engine.base import EncoderEngine, Input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_BATCH_TEXTS = 64
MAX_WAITING_TEXTS = 4096  # twice the largest request there may be


class Overloaded(ServiceError):  # noqa: N818 -- what happened, not what went wrong
    """So much waits already that this would only wait with it."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} requests wait already")
        self.waiting = waiting


@dataclass
class _Waiting:
    texts: Sequence[Input]
    done: asyncio.Future[tuple[NDArray[np.float32], int]]


class Batcher:
    def __init__(
        self,
        engine: EncoderEngine,
        max_batch_texts: int = MAX_BATCH_TEXTS,
        max_waiting_texts: int = MAX_WAITING_TEXTS,
    ) -> None:
        self._engine = engine
        self._max_batch_texts = max_batch_texts
        self._max_waiting_texts = max_waiting_texts
        self._waiting: deque[_Waiting] = deque()
        self._waiting_texts = 0
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    async def encode(self, texts: Sequence[Input]) -> tuple[NDArray[np.float32], int]:
        """Rows for `texts`, (n, dimensions or labels), and the number of tokens read. Raises `Overloaded`."""
        if self._waiting and self._waiting_texts + len(texts) > self._max_waiting_texts:
            raise Overloaded(len(self._waiting))
        waiting = _Waiting(texts, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._waiting_texts += len(texts)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await waiting.done

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _work(self) -> None:
        while batch := self._next_batch():
            if not await self._answer(batch) and len(batch) > 1:  # one bad text must not fail those beside it
                for each in batch:
                    if not each.done.done():
                        await self._answer([each])

    async def _answer(self, batch: Sequence[_Waiting]) -> bool:
        """Compute `batch` and tell those who wait; a lone one is told its error, of several nobody is (False)."""
        texts = [text for each in batch for text in each.texts]
        try:
            rows, tokens = await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, texts)
        except Exception as err:  # noqa: BLE001 -- handed to the one who asked
            if len(batch) == 1 and not batch[0].done.done():
                batch[0].done.set_exception(err)
            return False
        start = 0
        for each in batch:
            end = start + len(each.texts)
            if not each.done.done():
                each.done.set_result((rows[start:end], sum(tokens[start:end])))
            start = end
        return True

    def _next_batch(self) -> list[_Waiting]:
        """Requests that fit into one batch together; a large one goes alone."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0].texts) <= self._max_batch_texts):
            each = self._waiting.popleft()
            self._waiting_texts -= len(each.texts)
            if each.done.cancelled():
                continue
            batch.append(each)
            size += len(each.texts)
        return batch

    def _compute(self, texts: Sequence[Input]) -> tuple[NDArray[np.float32], list[int]]:
        return self._engine.encode(texts), self._engine.count_tokens(texts)
