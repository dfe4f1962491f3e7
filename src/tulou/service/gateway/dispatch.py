"""From one replica to the next until there is an answer: the retry policy, which knows no HTTP.

A request whose replica is lost goes to another one. If words of the answer were already sent, the other replica is
given them as the beginning and continues behind it, so the client sees one unbroken answer, greedy or sampled. To ask
anew and skip what was sent would cost more and fail now and then: in low precision, even a greedy answer depends a
little on what is computed beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from tulou.core.errors import ServiceError
from tulou.core.types import ChatDelta
from tulou.service.engine.base import Generation
from tulou.service.gateway import refusals
from tulou.service.gateway.balance import Balancer
from tulou.service.gateway.entry import Entry
from tulou.service.pool import Endpoint, Pool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_ATTEMPTS = 4  # a request that kills what answers it must not kill the whole fleet
PATIENCE_S = 10.0  # for a replica to come back, when none is ready


class ReplicaLost(ServiceError):  # noqa: N818 -- what happened, not what went wrong with us
    """The replica could not be reached, or vanished before its answer was complete."""


@dataclass(frozen=True)
class Encoded:
    """Vectors or probabilities, (n, dimensions) or (n, labels), and the tokens that were read for them."""

    rows: NDArray[np.float32]
    prompt_tokens: int


class Upstream(Protocol):
    """How a replica is spoken to. Raises `ReplicaLost`, or `ApiError` for what the replica refused."""

    def generate(self, endpoint: Endpoint, request: Generation) -> AsyncGenerator[ChatDelta, None]: ...

    async def encode(self, endpoint: Endpoint, texts: Sequence[str]) -> Encoded: ...


class Dispatch:
    def __init__(
        self,
        pool: Pool,
        upstream: Upstream,
        balancer: Callable[[], Balancer],
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._upstream = upstream
        self._make_balancer = balancer
        self._balancers: dict[str, Balancer] = {}  # by model, so that each takes its own turns
        self._in_flight: Counter[Endpoint] = Counter()
        self._patience_s = patience_s
        self._clock = clock

    def in_flight(self) -> dict[str, int]:
        """Requests that each replica is answering now, by its name; idle ones are left out."""
        counts: Counter[str] = Counter()
        for endpoint, count in self._in_flight.items():
            counts[endpoint.name] += count
        return dict(counts)

    async def encode(self, model: str, texts: Sequence[str], entry: Entry) -> Encoded:
        async for endpoint in self._attempts(model, entry):
            try:
                with self._lease(endpoint):
                    return await self._upstream.encode(endpoint, texts)
            except ReplicaLost:
                self._pool.report_lost(endpoint)
        raise refusals.replicas_unavailable(model)

    async def generate(self, model: str, request: Generation, entry: Entry) -> AsyncGenerator[ChatDelta, None]:
        async for endpoint in self._attempts(model, entry):
            try:
                with self._lease(endpoint):
                    async with aclosing(self._upstream.generate(endpoint, request)) as deltas:
                        async for delta in deltas:
                            request = replace(request, begun=request.begun + delta.text)
                            yield delta
                            if delta.finish_reason:
                                return
                raise ReplicaLost(f"{endpoint.name} ended its answer without a reason")
            except ReplicaLost:
                self._pool.report_lost(endpoint)
        raise refusals.replicas_unavailable(model)

    async def _attempts(self, model: str, entry: Entry) -> AsyncIterator[Endpoint]:
        """Replicas to try, one after another, none twice; waits for one to come where there is none."""
        tried: set[Endpoint] = set()
        for attempt in range(MAX_ATTEMPTS):
            endpoint = await self._choose(model, tried)
            if endpoint is None:
                return
            tried.add(endpoint)
            entry.retries = attempt
            entry.replica = endpoint.name
            yield endpoint

    async def _choose(self, model: str, tried: set[Endpoint]) -> Endpoint | None:
        deadline = self._clock() + self._patience_s
        while True:
            candidates = [endpoint for endpoint in self._pool.ready(model) if endpoint not in tried]
            if candidates:
                balancer = self._balancers.setdefault(model, self._make_balancer())
                return balancer.choose(candidates, self._in_flight)
            left_s = deadline - self._clock()
            if left_s <= 0:
                return None
            try:
                async with asyncio.timeout(left_s):
                    await self._pool.changed()
            except TimeoutError:
                return None

    @contextmanager
    def _lease(self, endpoint: Endpoint) -> Iterator[None]:
        self._in_flight[endpoint] += 1
        try:
            yield
        finally:
            self._in_flight[endpoint] -= 1
            if not self._in_flight[endpoint]:
                del self._in_flight[endpoint]  # endpoints come and go; counts of those gone must not pile up
