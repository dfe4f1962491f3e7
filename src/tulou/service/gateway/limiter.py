"""Keys' budgets on the path of a request: what it may cost is reserved before it is answered, the truth settled after.

A minute's budget that is used up is a `rate_limit_exceeded`, a day's or a month's an `insufficient_quota`, both with
OpenAI's status, shape and headers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tulou.core.errors import ServiceError
from tulou.core.service_settings import PriceSettings
from tulou.service.gateway import refusals
from tulou.service.gateway.accounting import money
from tulou.service.gateway.counters import Counters
from tulou.service.gateway.keys import Key
from tulou.service.gateway.limits import Cost, Headers, estimate


@dataclass(slots=True)
class Reservation:
    """What a request may cost, as it was counted when it was admitted."""

    key: Key
    cost: Cost
    at: float


class Limiter:
    def __init__(
        self, counters: Counters, prices: Mapping[str, PriceSettings], now: Callable[[], float] = time.time
    ) -> None:
        self.counters = counters
        self._prices = prices
        self._now = now

    async def reserve(
        self, key: Key, model: str, body_bytes: int, max_tokens: int | None, n: int = 1
    ) -> tuple[Reservation | None, Headers]:
        """Count a request of `key`, which must be settled however it ends; None where the key has no budgets.

        Raises `ApiError` where it does not fit into them. Waits for the database at a key's first request with a
        budget by day or month, and where counters are shared for those.
        """
        if not key.budgets:
            return None, []
        prompt, completion = estimate(body_bytes, max_tokens, n)
        cost = Cost(1, prompt + completion, self._money(model, prompt, completion))
        now = self._now()
        try:
            verdict = await self.counters.admit(key.id, key.budgets, cost, now)
        except ServiceError as err:
            raise refusals.state_unavailable(str(err)) from err
        if verdict.refusal is not None:
            raise refusals.over_budget(key.id, verdict.refusal, verdict.headers)
        return Reservation(key, cost, now), verdict.headers

    def settle(self, reserved: Reservation, prompt_tokens: int, completion_tokens: int, money: float) -> None:
        cost = Cost(1, prompt_tokens + completion_tokens, money)
        self.counters.settle(reserved.key.id, reserved.key.budgets, cost.minus(reserved.cost), reserved.at)

    def _money(self, model: str, prompt: int, completion: int) -> float:
        price = self._prices.get(model)
        return money(price, prompt, completion) if price is not None else 0.0
