"""Keys' budgets on the path of a request: what it may cost is reserved before it is answered, the truth settled after.

A minute's budget that is used up is a `rate_limit_exceeded`, a day's or a month's an `insufficient_quota`, both with
OpenAI's status, shape and headers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from msgspec import Struct

from tulou.core.errors import ServiceError
from tulou.core.service_settings import PriceSettings
from tulou.service.gateway import refusals
from tulou.service.gateway.accounting import money
from tulou.service.gateway.counters import Counters, Verdict
from tulou.service.gateway.keys import Key
from tulou.service.gateway.limits import Cost, estimate


class Reservation(Struct, eq=False):
    """What a request may cost, as it was counted when it was admitted."""

    key: Key
    cost: Cost
    at: float
    lines: bytes  # `x-ratelimit-*`, as it was then


class Limiter:
    def __init__(
        self, counters: Counters, prices: Mapping[str, PriceSettings], now: Callable[[], float] = time.time
    ) -> None:
        self.counters = counters
        self._prices = prices
        self._now = now

    def cost(self, model: str, body_bytes: int, max_tokens: int | None, n: int = 1) -> Cost:
        """What a request may cost."""
        prompt, completion = estimate(body_bytes, max_tokens, n)
        price = self._prices.get(model)
        return Cost(1, prompt + completion, 0.0 if price is None else money(price, prompt, completion))

    def reserve_now(self, key: Key, cost: Cost) -> Reservation | None:
        """`reserve` where nothing is to be waited for; else None. Raises `ApiError` where it does not fit."""
        now = self._now()
        verdict = self.counters.admit_now(key.id, key.budgets, cost, now)
        return None if verdict is None else _reserved(key, cost, now, verdict)

    async def reserve(self, key: Key, cost: Cost) -> Reservation:
        """Count a request of `key`, which must be settled however it ends.

        Raises `ApiError` where it does not fit into its budgets. Waits for the database at a key's first request with
        a budget by day or month, and where counters are shared for those.
        """
        now = self._now()
        try:
            verdict = await self.counters.admit(key.id, key.budgets, cost, now)
        except ServiceError as err:
            raise refusals.state_unavailable(str(err)) from err
        return _reserved(key, cost, now, verdict)

    def settle(self, reserved: Reservation, prompt_tokens: int, completion_tokens: int, money: float) -> None:
        tokens = prompt_tokens + completion_tokens - reserved.cost.tokens
        difference = Cost(0.0, tokens, money - reserved.cost.money)
        self.counters.settle(reserved.key.id, reserved.key.budgets, difference, reserved.at)


def _reserved(key: Key, cost: Cost, now: float, verdict: Verdict) -> Reservation:
    if verdict.refusal is not None:
        raise refusals.over_budget(key.id, verdict.refusal, verdict.lines)
    return Reservation(key, cost, now, verdict.lines)
