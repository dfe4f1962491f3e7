"""The switchboard knows who can answer and notes how it went: dispatch, accounting and live figures in one place.

The HTTP endpoints and the applications in this process (`GatewayModels`) ask through it alike, so every answer is
balanced, retried and accounted for, whoever wanted it.
"""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, MutableMapping, Sequence
from contextlib import AbstractContextManager, aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from tulou.core.errors import ServiceError
from tulou.core.service_settings import RolloutSettings, ServiceSettings
from tulou.core.telemetry import Metrics
from tulou.core.types import ChatDelta, Message, ModelManifest, Task
from tulou.service.engine.base import Generation
from tulou.service.gateway import asking, refusals
from tulou.service.gateway.accounting import Accountant
from tulou.service.gateway.dispatch import PATIENCE_S, Ask, Dispatch, Events
from tulou.service.gateway.entry import Entry
from tulou.service.gateway.live import Live
from tulou.service.gateway.places import Places
from tulou.service.gateway.policy.balance import make_balancer
from tulou.service.gateway.policy.breaker import BreakerLimits, Breakers
from tulou.service.gateway.policy.cache import AnswerCache
from tulou.service.gateway.policy.retries import RetryBudget
from tulou.service.gateway.policy.rollout import Variant, VariantTable, known_by, point_of
from tulou.service.gateway.policy.steering import Steering
from tulou.service.gateway.shadow import Shadows
from tulou.service.gateway.upstream import Connections, Patience, Whole
from tulou.service.pool import Pool

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
        models: MutableMapping[str, ModelManifest],
        patience_s: float = PATIENCE_S,
        rollout: RolloutSettings | None = None,
    ) -> None:
        make_balancer(settings.balance)  # refuse an unknown name now, not at the first request
        self.models = models
        self.pool = pool
        self.metrics = metrics
        self.live = Live()
        self.accountant = Accountant(state, metrics, self.live, settings.prices, settings.keep_requests_days)
        self.timeout_s = settings.timeout_s
        self._connections = Connections(Patience(first_byte_s=settings.first_byte_s, idle_s=settings.idle_s))
        self.variants = VariantTable()
        self.places = Places(settings.queue, lambda model: metrics.shed.labels(model).inc())
        self.cache = AnswerCache(settings.cache.max_bytes, settings.cache.max_age_s) if settings.cache.enabled else None
        steering = _steering(settings, self.variants)
        self.dispatch = Dispatch(
            pool,
            self._connections,
            steering,
            settings.timeout_s,
            patience_s,
            ejected=lambda model: metrics.ejections.labels(model).inc(),
        )
        self._breakers = steering.breakers
        metrics.before_reading(self._note_breakers)
        self.shadows = Shadows(self.dispatch, self.accountant)
        self._rollout = rollout or RolloutSettings()
        self._rng = random.Random()

    async def start(self) -> None:
        await self._connections.start()
        await self.accountant.start()
        await self.pool.start()

    async def stop(self) -> None:
        await self.shadows.stop()
        await self.pool.stop()
        await self._connections.stop()
        await self.accountant.stop()

    def in_flight(self) -> dict[str, int]:
        return self.dispatch.in_flight()

    def set_variants(self, model: str, variants: Sequence[Variant], manifest: ModelManifest | None = None) -> None:
        """Let these versions of a model answer, from the next request on; those under way finish where they are.

        `manifest` is that of the version that now answers most; by default the model's stays as it was. Where no
        replica of these versions is ready yet, those that served before go on meanwhile.
        """
        self.variants.set(model, variants)
        if manifest is not None:
            self.models[model] = manifest
        if self.cache is not None:
            self.cache.forget(model)

    def versions(self, model: str, conversation: str | None = None, key_id: str | None = None) -> Sequence[str]:
        """Those to ask, in order; none where the model is not rolled out, and whatever is ready may answer."""
        if not self.variants.row(model):
            return ()
        by = known_by(self._rollout.sticky, conversation, key_id)
        return self.variants.order(model, point_of(model, by, self._rng), key_id)

    def send_copies(self, ask: Ask) -> None:
        """To the versions that are tried out in the shadow, if any."""
        if ask.versions:
            for version in self.variants.shadows(ask.model, ask.versions[0], self._rng):
                self.shadows.send(ask, version)

    def _note_breakers(self) -> None:
        """Set the gauge of breakers to what they are now."""
        self.metrics.breakers.clear()
        for model in self.models:
            for state, count in Counter(self._breakers.state(each) for each in self.pool.ready(model)).items():
                self.metrics.breakers.labels(model, state).set(count)

    def entry(self, route: str, model: str) -> AbstractContextManager[Entry]:
        """Accounts for one request of an application in this process."""
        manifest = self.models[model]
        version = manifest.version or manifest.fingerprint
        return self.accountant.entry(route, f"req_{secrets.token_hex(16)}", None, model, version)


class GatewayModels:
    """`core.types.Models` over the gateway's replicas, for applications that run in the gateway's process."""

    def __init__(self, switchboard: Switchboard, route: str = "app") -> None:
        self._switchboard = switchboard
        self._route = route

    async def chat(
        self, model: str, messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.0
    ) -> AsyncGenerator[ChatDelta, None]:
        self._find(model, "chat")
        path, body = asking.streamed_request(model, Generation(tuple(messages), max_tokens, temperature))
        with self._switchboard.entry(self._route, model) as entry:
            answer = await self._ask(entry, path, body, is_streamed=True)
            if isinstance(answer, Whole):
                raise asking.worded(answer)
            deltas = asking.Deltas()
            async with aclosing(answer) as pieces:
                async for events in pieces:
                    for delta in deltas.read(events):
                        entry.saw_first_token()
                        yield delta
            last = deltas.end()
            entry.prompt_tokens, entry.completion_tokens = last.prompt_tokens, last.completion_tokens
            yield last

    async def classify(self, model: str, texts: Sequence[str]) -> list[list[tuple[str, float]]]:
        labels = self._find(model, "classify").labels
        if not texts:
            return []
        body = {"model": model, "input": list(texts)}
        return ranked(asking.probabilities(await self._encoded("/v1/classify", body), labels), labels)

    async def embed(self, model: str, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        manifest = self._find(model, "embed")
        if not texts:
            return np.zeros((0, manifest.dimensions), dtype=np.float32)
        body = {"model": model, "input": list(texts), "encoding_format": "base64"}
        return asking.embeddings(await self._encoded("/v1/embeddings", body))

    async def rerank(self, model: str, query: str, texts: Sequence[str]) -> list[float]:
        self._find(model, "rerank")
        if not texts:
            return []
        body = {"model": model, "query": query, "documents": list(texts)}
        return asking.grades(await self._encoded("/v1/rerank", body), len(texts))

    async def _encoded(self, path: str, body: dict[str, Any]) -> bytes:
        with self._switchboard.entry(self._route, body["model"]) as entry:
            answer = await self._ask(entry, path, msgspec.json.encode(body), is_streamed=False)
            if not isinstance(answer, Whole) or answer.status >= 400:
                raise asking.worded(answer) if isinstance(answer, Whole) else TypeError("vectors are not streamed")
            return answer.body

    async def _ask(self, entry: Entry, path: str, body: bytes, *, is_streamed: bool) -> Whole | Events:
        board = self._switchboard
        versions = board.versions(entry.model)
        ask = Ask(entry.model, path, body, is_streamed, entry, time.monotonic() + board.timeout_s, versions=versions)
        board.send_copies(ask)
        return await board.dispatch.ask(ask)

    def _find(self, model: str, task: Task) -> ModelManifest:
        manifest = self._switchboard.models.get(model)
        if manifest is None:
            raise refusals.model_unknown(model)
        if manifest.task != task:
            raise ServiceError(f"model {model!r} is for task {manifest.task!r}, not {task!r}")
        return manifest


def _steering(settings: ServiceSettings, variants: VariantTable) -> Steering:
    limits, retries = settings.breaker, settings.retries
    return Steering(
        partial(make_balancer, settings.balance),
        Breakers(BreakerLimits(limits.failures, limits.ejection_s, limits.max_ejected_share, limits.slow_return_s)),
        RetryBudget(retries.budget),
        variants,
        settings.fallback,
        retries.attempts,
    )


def ranked(probabilities: NDArray[np.float32], labels: Sequence[str]) -> list[list[tuple[str, float]]]:
    """For each row its labels with probabilities, most likely first."""
    return [[(labels[i], float(row[i])) for i in row.argsort()[::-1]] for row in probabilities]
