"""Counters in Redis, shared by all gateways: one script for each admission, many of them in one round trip.

Admissions that come while a round trip is on its way leave together with the next one, and so do settlements. What
Redis answers is kept in this process as well. Where Redis does not answer within a tenth of a second, this gateway goes
on counting alone from there: limits then hold for each gateway, not for all together. It asks Redis again every second;
what was used of days and months meanwhile is told then. Gateways must agree on the time, as NTP makes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tulou.core.extras import load_extra
from tulou.core.urls import without_secrets
from tulou.service.gateway.counters import MemoryCounters, Spent, Verdict
from tulou.service.gateway.limits import ROUNDING, Budget, Budgets, Cost, Ledger, Meter

ANSWER_S = 0.1  # a round trip within a data centre takes 0.5 ms; a Redis that takes longer than this is ill
RETRY_S = 1.0
MAX_TOGETHER = 256  # admissions in one round trip
KEPT_S = {"minute": 180, "day": 2 * 86_400, "month": 33 * 86_400}  # counters, after they were last made

# KEYS: n counters of the window that is on, then n of the one before.
# ARGV, for each budget: cost, limit, weight of the window before, value to begin with, seconds to keep.
# Answers with the number of the first budget that is used up, or 0, and all counters.
ADMIT = """
local n, over, used, before = #KEYS / 2, 0, {}, {}
for i = 1, n do
  local cost, limit, weight = tonumber(ARGV[5 * i - 4]), tonumber(ARGV[5 * i - 3]), tonumber(ARGV[5 * i - 2])
  used[i] = redis.call('GET', KEYS[i])
  if not used[i] then
    used[i] = ARGV[5 * i - 1]
    redis.call('SET', KEYS[i], used[i], 'EX', ARGV[5 * i])
  end
  before[i] = weight ~= 0 and redis.call('GET', KEYS[n + i]) or '0'
  if over == 0 and tonumber(used[i]) + tonumber(before[i]) * weight + cost > limit + ROUNDING then over = i end
end
local answer = {over}
for i = 1, n do
  if over == 0 then used[i] = redis.call('INCRBYFLOAT', KEYS[i], ARGV[5 * i - 4]) end
  answer[2 * i], answer[2 * i + 1] = used[i], before[i]
end
return answer
""".replace("ROUNDING", str(ROUNDING))

# A counter that is gone is not brought back by a correction.
SETTLE = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('INCRBYFLOAT', KEYS[1], ARGV[1]) end"

PROBE = "return redis.call('SET', KEYS[1], '1', 'EX', 60)"  # a full or read-only Redis would answer a PING

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Question:
    counters: list[str]
    values: list[str]
    answer: asyncio.Future[list[Any] | None]  # None: Redis is away
    give_back: Callable[[], None]  # for a request that left before it knew that it was admitted


class RedisCounters:
    def __init__(self, url: str, spent: Spent) -> None:
        purpose = f"service.limits {without_secrets(url)}"
        redis = load_extra("redis.asyncio", "redis", purpose)
        retry, backoff = (
            load_extra("redis.asyncio.retry", "redis", purpose),
            load_extra("redis.backoff", "redis", purpose),
        )
        self._url = without_secrets(url)
        self._redis = redis.Redis.from_url(
            url,
            decode_responses=True,
            max_connections=4,
            socket_connect_timeout=RETRY_S,
            socket_timeout=ANSWER_S,
            retry=retry.Retry(backoff.NoBackoff(), 0),
        )
        self._errors: tuple[type[BaseException], ...] = (redis.RedisError, OSError, TimeoutError)
        self._here = MemoryCounters(spent)  # what Redis said last, and what counts while it is away
        self._is_away = False
        self._questions: list[_Question] = []
        self._owed: Counter[str] = Counter()  # corrections that Redis has not been told
        self._something = asyncio.Event()
        self._stopping = asyncio.Event()
        self._talk: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._ask_whether_there()
        self._talk = asyncio.create_task(self._talk_on())

    async def stop(self) -> None:
        """Tell Redis what it has not been told. The talk ends by itself: its client swallows cancellations at times."""
        self._stopping.set()
        self._something.set()
        if self._talk is not None:
            await asyncio.wait({self._talk}, timeout=2 * RETRY_S)
        with suppress(*self._errors):
            async with asyncio.timeout(RETRY_S):
                await self._redis.aclose()

    async def admit(self, key_id: str, budgets: Budgets, cost: Cost, now: float) -> Verdict:
        ledger = await self._here.ledger(key_id, budgets, now)
        if self._is_away or self._stopping.is_set():
            return await self._admit_alone(key_id, budgets, cost, now)
        meters = ledger.meters
        ends = [meter.ends for meter in meters]
        counters, values = _question(key_id, budgets, meters, cost, now)
        unused = Cost(0.0, -cost.tokens, -cost.money)
        answering = asyncio.get_running_loop().create_future()
        question = _Question(counters, values, answering, lambda: self.settle(key_id, budgets, unused, now))
        self._questions.append(question)
        self._something.set()
        try:
            answer = await answering
        except asyncio.CancelledError:
            if not answering.cancelled() and (came := answering.result()) and came[0] == 0:
                question.give_back()  # it was admitted in the moment in which it left
            raise
        if answer is None:
            return await self._admit_alone(key_id, budgets, cost, now)
        shown = []
        for i, meter in enumerate(meters):
            used, before = float(answer[2 * i + 1]), float(answer[2 * i + 2])
            shown.append(Meter(meter.period, now, used, before))
            if meter.ends == ends[i]:
                meter.used, meter.before = used, before
        over, shared = answer[0] - 1, Ledger(budgets, shown)
        return Verdict(shared.lines(now), None if over < 0 else shared.refusal(cost, now, over))

    def admit_now(self, key_id: str, budgets: Budgets, cost: Cost, now: float) -> Verdict | None:
        return None

    def settle(self, key_id: str, budgets: Budgets, difference: Cost, at: float) -> None:
        self._here.settle(key_id, budgets, difference, at)
        self._owe(key_id, budgets, difference, at)

    async def _admit_alone(self, key_id: str, budgets: Budgets, cost: Cost, now: float) -> Verdict:
        verdict = await self._here.admit(key_id, budgets, cost, now)
        if verdict.refusal is None:
            self._owe(key_id, budgets, cost, now)
        return verdict

    def _owe(self, key_id: str, budgets: Budgets, cost: Cost, at: float) -> None:
        for budget in budgets:
            amount: float = getattr(cost, budget.unit)
            if amount and not (self._is_away and budget.period == "minute"):  # which is over before Redis is back
                self._owed[_counter(key_id, budget, Meter(budget.period, at).starts)] += amount  # type: ignore[assignment]
        self._something.set()

    async def _talk_on(self) -> None:
        while not self._stopping.is_set() or self._questions or (self._owed and not self._is_away):
            if self._is_away:
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S):
                        await self._stopping.wait()
                await self._ask_whether_there()
                continue
            await self._something.wait()
            self._something.clear()
            questions = self._questions[:MAX_TOGETHER]
            self._questions = self._questions[MAX_TOGETHER:]
            await self._round_trip(questions)
            if self._questions or self._stopping.is_set():
                self._something.set()

    async def _round_trip(self, questions: Sequence[_Question]) -> None:
        owed, self._owed = self._owed, Counter()
        if not questions and not owed:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for counter, amount in owed.items():
            pipeline.eval(SETTLE, 1, counter, repr(float(amount)))
        for question in questions:
            pipeline.eval(ADMIT, len(question.counters), *question.counters, *question.values)
        answers: list[Any] = []
        try:
            async with asyncio.timeout(ANSWER_S):
                answers = (await pipeline.execute())[len(owed) :]
        except self._errors as err:
            self._lose(err)  # what was on its way is not told twice
        finally:
            for i, question in enumerate(questions):
                if not question.answer.done():
                    question.answer.set_result(answers[i] if answers else None)
                elif answers and answers[i][0] == 0:
                    question.give_back()

    def _lose(self, err: BaseException) -> None:
        self._is_away = True
        waiting, self._questions = self._questions, []
        for question in waiting:
            if not question.answer.done():
                question.answer.set_result(None)
        logger.warning(
            "%s does not answer (%s): this gateway counts the use of keys alone", self._url, err or type(err).__name__
        )

    async def _ask_whether_there(self) -> None:
        was_away = self._is_away
        try:
            async with asyncio.timeout(RETRY_S):
                await self._redis.eval(PROBE, 1, "tulou:probe")
        except self._errors as err:
            if not was_away:
                self._lose(err)
            return
        self._is_away = False
        if was_away:
            logger.warning("%s answers again: the use of keys is counted together", self._url)


def _question(
    key_id: str, budgets: Budgets, meters: Sequence[Meter], cost: Cost, now: float
) -> tuple[list[str], list[str]]:
    on, before, values = [], [], []
    for budget, meter in zip(budgets, meters, strict=True):
        on.append(_counter(key_id, budget, meter.starts))
        before.append(_counter(key_id, budget, meter.starts - 60))
        amount: float = getattr(cost, budget.unit)
        seed = 0.0 if budget.period == "minute" else meter.used
        values += [repr(float(amount)), repr(float(budget.amount)), repr(meter.weight(now)), repr(seed)]
        values.append(str(KEPT_S[budget.period]))
    return on + before, values


def _counter(key_id: str, budget: Budget, starts: float) -> str:
    return f"tulou:{{{key_id}}}:{budget.name}:{starts:.0f}"
