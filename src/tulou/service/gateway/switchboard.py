"""The switchboard knows who can answer and notes how it went: dispatch, accounting and live figures in one place.

The HTTP endpoints and the applications in this process (`GatewayModels`) ask through it alike, so every answer is
balanced, retried and accounted for, whoever wanted it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tulou.core.errors import ServiceError
from tulou.core.settings import ServiceSettings
from tulou.core.telemetry import Metrics
from tulou.core.types import ChatDelta, Message, ModelManifest, Task
from tulou.service.engine.base import Generation
from tulou.service.gateway import refusals
from tulou.service.gateway.accounting import Accountant
from tulou.service.gateway.balance import BALANCERS, make_balancer
from tulou.service.gateway.dispatch import PATIENCE_S, Dispatch, Encoded
from tulou.service.gateway.entry import Caller
from tulou.service.gateway.live import Live
from tulou.service.gateway.upstream import HttpUpstream
from tulou.service.pool import Manifests, Pool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Switchboard:
    """Start it before asking and stop it after; the gateway's lifespan does both, pool included."""

    def __init__(
        self,
        settings: ServiceSettings,
        pool: Pool,
        state: sa.Engine,
        metrics: Metrics,
        models: Manifests,
        patience_s: float = PATIENCE_S,
    ) -> None:
        make_balancer(settings.balance)  # refuse an unknown name now, not at the first request
        self.models = models
        self.pool = pool
        self.metrics = metrics
        self.live = Live()
        self.accountant = Accountant(state, metrics, self.live)
        self._upstream = HttpUpstream(models, settings.timeout_s)
        self._dispatch = Dispatch(pool, self._upstream, BALANCERS[settings.balance], patience_s)

    async def start(self) -> None:
        await self._upstream.start()
        await self.accountant.start()
        await self.pool.start()

    async def stop(self) -> None:
        await self.pool.stop()
        await self._upstream.stop()
        await self.accountant.stop()

    def in_flight(self) -> dict[str, int]:
        return self._dispatch.in_flight()

    async def encode(self, model: str, texts: Sequence[str], caller: Caller) -> Encoded:
        with self.accountant.entry(caller, model, self._version(model)) as entry:
            encoded = await self._dispatch.encode(model, texts, entry)
            entry.prompt_tokens = encoded.prompt_tokens
            return encoded

    async def generate(self, model: str, request: Generation, caller: Caller) -> AsyncGenerator[ChatDelta, None]:
        with self.accountant.entry(caller, model, self._version(model)) as entry:
            async with aclosing(self._dispatch.generate(model, request, entry)) as deltas:
                async for delta in deltas:
                    entry.saw_first_token()
                    if delta.finish_reason:
                        entry.prompt_tokens, entry.completion_tokens = delta.prompt_tokens, delta.completion_tokens
                    yield delta

    def _version(self, model: str) -> str:
        manifest = self.models[model]
        return manifest.version or manifest.fingerprint


class GatewayModels:
    """`core.types.Models` over the gateway's replicas, for applications that run in the gateway's process."""

    def __init__(self, switchboard: Switchboard, route: str = "app") -> None:
        self._switchboard = switchboard
        self._route = route

    async def chat(
        self, model: str, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.0
    ) -> AsyncGenerator[ChatDelta, None]:
        self._find(model, "chat")
        request = Generation(tuple(messages), max_tokens, temperature)
        async with aclosing(self._switchboard.generate(model, request, self._caller())) as deltas:
            async for delta in deltas:
                yield delta

    async def classify(self, model: str, texts: Sequence[str]) -> list[list[tuple[str, float]]]:
        manifest = self._find(model, "classify")
        if not texts:
            return []
        encoded = await self._switchboard.encode(model, texts, self._caller())
        return ranked(encoded.rows, manifest.labels)

    async def embed(self, model: str, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        manifest = self._find(model, "embed")
        if not texts:
            return np.zeros((0, manifest.dimensions), dtype=np.float32)
        return (await self._switchboard.encode(model, texts, self._caller())).rows

    def _find(self, model: str, task: Task) -> ModelManifest:
        manifest = self._switchboard.models.get(model)
        if manifest is None:
            raise refusals.model_unknown(model)
        if manifest.task != task:
            raise ServiceError(f"model {model!r} is for task {manifest.task!r}, not {task!r}")
        return manifest

    def _caller(self) -> Caller:
        return Caller(self._route, f"req_{secrets.token_hex(16)}")


def ranked(probabilities: NDArray[np.float32], labels: Sequence[str]) -> list[list[tuple[str, float]]]:
    """For each row its labels with probabilities, most likely first."""
    return [[(labels[i], float(row[i])) for i in row.argsort()[::-1]] for row in probabilities]
