"""Where the use of keys is counted: in this process, or in Redis for several gateways together. One protocol.

What has been used of a day and a month is in the state database too (`usage_by_day`), so that a restart forgets
nothing: a key's counts begin there when it is first met. Memory costs a microsecond and knows this process alone; two
gateways, or two workers of one, each let a whole minute's budget through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from tulou.core.errors import ServiceError
from tulou.service.gateway.limits import Budgets, Cost, Ledger, Meter, Refusal

Spent = Callable[[str, float], Mapping[str, float]]
"""A key's id and the time, to what it has used so far: `{"tokens/day": 120, ...}`. Blocks."""


class Verdict(Struct, gc=False):
    lines: bytes  # `x-ratelimit-*`, for the head of the answer
    refusal: Refusal | None  # None: admitted, and its cost is counted


class Counters(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def admit(self, key_id: str, budgets: Budgets, cost: Cost, now: float) -> Verdict:
        """Count `cost` if it fits into all budgets, else nothing. Raises `ServiceError` where nobody can tell."""
        ...

    def admit_now(self, key_id: str, budgets: Budgets, cost: Cost, now: float) -> Verdict | None:
        """The same where nothing is to be waited for; else None, and `admit` is to be asked."""
        ...

    def settle(self, key_id: str, budgets: Budgets, difference: Cost, at: float) -> None:
        """Correct what was counted `at` the time of admission."""
        ...


class MemoryCounters:
    """Counts in this process; they wait for nothing but the database, once for each key."""

    def __init__(self, spent: Spent) -> None:
        self._spent = spent
        self._ledgers: dict[str, Ledger] = {}

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def admit(self, key_id: str, budgets: Budgets, cost: Cost, now: float) -> Verdict:
        return _admit(await self.ledger(key_id, budgets, now), cost, now)

    def admit_now(self, key_id: str, budgets: Budgets, cost: Cost, now: float) -> Verdict | None:
        ledger = self._ledgers.get(key_id)
        if ledger is None or ledger.budgets is not budgets:
            return None
        return _admit(ledger, cost, now)

    def settle(self, key_id: str, budgets: Budgets, difference: Cost, at: float) -> None:
        ledger = self._ledgers.get(key_id)
        if ledger is not None:
            ledger.add(difference, at)

    async def ledger(self, key_id: str, budgets: Budgets, now: float) -> Ledger:
        """The key's ledger at `now`; made, or fitted to budgets that have changed, where needed."""
        ledger = self._ledgers.get(key_id)
        if ledger is None or ledger.budgets != budgets:
            ledger = await self._open(key_id, budgets, now)
        ledger.budgets = budgets  # as its key has them, looked up again: the same, and so known by being it
        ledger.turn(now)
        return ledger

    async def _open(self, key_id: str, budgets: Budgets, now: float) -> Ledger:
        spent: Mapping[str, float] = {}
        if any(each.period != "minute" for each in budgets):
            try:
                spent = await asyncio.to_thread(self._spent, key_id, now)
            except SQLAlchemyError as err:
                raise ServiceError("budgets cannot be checked: the state database does not answer") from err
        before = self._ledgers.get(key_id)  # as it is now, after waiting
        known = {each.name: meter for each, meter in zip(before.budgets, before.meters, strict=True)} if before else {}
        meters = [known.get(each.name) or Meter(each.period, now, spent.get(each.name, 0.0)) for each in budgets]
        ledger = self._ledgers[key_id] = Ledger(budgets, meters)
        return ledger


def _admit(ledger: Ledger, cost: Cost, now: float) -> Verdict:
    index = ledger.admit(cost, now)
    return Verdict(ledger.lines(now), None if index < 0 else ledger.refusal(cost, now, index))


def open_counters(url: str, spent: Spent) -> Counters:
    """Raises `MissingExtraError` where the client library of `url` is not installed."""
    if url == "memory://":
        return MemoryCounters(spent)
    from tulou.service.gateway.counters_redis import RedisCounters

    return RedisCounters(url, spent)
