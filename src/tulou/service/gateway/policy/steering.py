"""Where one attempt at an answer goes: the policies of choosing, put together.

Of a model's ready replicas, those of the version that the rollout chose, less those that were tried and those whose
breaker is open; of the rest the balancer takes one. Whether there may be a further attempt, and when, is asked here,
too. Knows neither HTTP nor the event loop, so it is tested as a whole with a clock of its own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tulou.service.gateway.policy.affinity import affinity_of
from tulou.service.gateway.policy.balance import Balancer
from tulou.service.gateway.policy.breaker import Breakers
from tulou.service.gateway.policy.fallback import chain
from tulou.service.gateway.policy.retries import RetryBudget, backoff_s
from tulou.service.gateway.policy.rollout import VariantTable

if TYPE_CHECKING:
    from tulou.service.pool import Endpoint

MAX_ATTEMPTS = 4  # a request that kills what answers it must not kill the whole fleet


class Steering:
    def __init__(
        self,
        balancer: Callable[[], Balancer],
        breakers: Breakers | None = None,
        budget: RetryBudget | None = None,
        variants: VariantTable | None = None,
        fallback: Mapping[str, str] | None = None,
        max_attempts: int = MAX_ATTEMPTS,
        rng: random.Random | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.breakers = breakers or Breakers(now=now, rng=rng)
        self.budget = budget or RetryBudget(now=now)
        self.variants = variants or VariantTable()
        self.max_attempts = max_attempts
        self._fallback = fallback or {}
        self._make_balancer = balancer
        self._balancers: dict[str, Balancer] = {}  # by model, so that each takes its own turns
        self._rng = rng or random.Random()

    def models(self, model: str) -> Sequence[str]:
        """The model, and those that may answer in its place."""
        return chain(model, self._fallback) if model in self._fallback else (model,)

    def can_answer(self, ready: Sequence[Endpoint]) -> bool:
        """Whether a model with these replicas ready should be asked, rather than one in its place."""
        return bool(ready) and not self.breakers.is_open(ready)

    def candidates(
        self, model: str, ready: Sequence[Endpoint], versions: Sequence[str], tried: Sequence[Endpoint] = ()
    ) -> Sequence[Endpoint]:
        """Replicas that may be asked now; none only where there is none that is ready and was not tried.

        `versions` are those to ask, in order. Where none of them has a replica, one that the rollout does not name
        answers: at the moment of a promotion, the version that served before.
        """
        if tried:
            ready = [endpoint for endpoint in ready if endpoint not in tried]
        if versions:
            ready = self._of_a_version(model, ready, versions)
        return self.breakers.allowed(ready, may_try=not tried) if ready else ready

    def choose(
        self,
        model: str,
        candidates: Sequence[Endpoint],
        load: Mapping[Endpoint, int],
        conversation: str | None = None,
        body: bytes = b"",
    ) -> Endpoint:
        balancer = self._balancers.get(model)
        if balancer is None:
            balancer = self._balancers[model] = self._make_balancer()
        affinity = affinity_of(conversation, body) if balancer.wants_affinity else None
        return balancer.choose(candidates, load, affinity)

    def answered(self, endpoint: Endpoint, seconds: float) -> None:
        """Be told that a replica has answered; of a stream, that it began to. Its end is told by `ended`."""
        if (balancer := self._balancers.get(endpoint.model)) is not None:
            balancer.observe(endpoint, seconds, True)

    def ended(self, endpoint: Endpoint) -> None:
        """Be told that an answer was complete. To begin one is not enough to be thought well of."""
        self.breakers.record(endpoint, True)

    def failed(self, endpoint: Endpoint, seconds: float) -> bool:
        """Be told that a replica gave no answer or broke one off, and tell whether it is ejected for that."""
        if (balancer := self._balancers.get(endpoint.model)) is not None:
            balancer.observe(endpoint, seconds, False)
        return self.breakers.record(endpoint, False)

    def pause_before(self, retry: int) -> float | None:
        """Seconds to wait before the retry with this number, from 1 on; None where there may be none."""
        if retry >= self.max_attempts or not self.budget.allows():
            return None
        return backoff_s(retry, self._rng)

    def _of_a_version(self, model: str, ready: Sequence[Endpoint], versions: Sequence[str]) -> Sequence[Endpoint]:
        troubled: Sequence[Endpoint] = ()
        for version in versions:
            of_this = [endpoint for endpoint in ready if endpoint.version == version]
            if of_this and not self.breakers.is_open(of_this):
                return of_this
            troubled = troubled or of_this
        named = {variant.version for variant in self.variants.row(model)}
        return troubled or [endpoint for endpoint in ready if endpoint.version not in named]
