"""What memory and Redis must do alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa

from tulou.core.errors import MissingExtraError, ServiceError
from tulou.service.gateway import counters as module
from tulou.service.gateway.counters import Counters, MemoryCounters, Spent, open_counters
from tulou.service.gateway.head import pairs
from tulou.service.gateway.limits import Cost, budgets_from

NOON = 1_795_867_200.0  # 2026-11-28 12:00 UTC
MINUTE = budgets_from({"requests/minute": 3, "tokens/minute": 1000})


def nothing(_key_id: str, _now: float) -> Mapping[str, float]:
    return {}


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    return "memory://" if request.param == "memory" else request.getfixturevalue("redis_url")


@pytest.fixture
def key_id(tmp_path: Path) -> str:
    return f"key_{tmp_path}"  # another for each test, which share a Redis


@pytest_asyncio.fixture
async def counters(url: str) -> AsyncIterator[Counters]:
    opened = open_counters(url, nothing)
    await opened.start()
    yield opened
    await opened.stop()


async def test_so_many_are_admitted_and_no_more(counters: Counters, key_id: str) -> None:
    verdicts = await asyncio.gather(*(counters.admit(key_id, MINUTE, Cost(1, 10), NOON) for _ in range(50)))
    assert sum(each.refusal is None for each in verdicts) == 3
    told = next(each for each in verdicts if each.refusal)
    assert told.refusal is not None
    assert (told.refusal.budget.name, told.refusal.used, told.refusal.retry_after_s) == ("requests/minute", 3, 80)
    assert dict(pairs(told.lines))[b"x-ratelimit-remaining-requests"] == b"0"
    assert dict(pairs(told.lines))[b"x-ratelimit-remaining-tokens"] == b"970"  # what is refused costs nothing
    other = await counters.admit(key_id + "other", MINUTE, Cost(1, 10), NOON)
    assert dict(pairs(other.lines))[b"x-ratelimit-remaining-requests"] == b"2"


async def test_the_minute_before_fades(counters: Counters, key_id: str) -> None:
    for _ in range(3):
        await counters.admit(key_id, MINUTE, Cost(1), NOON + 59)
    assert (await counters.admit(key_id, MINUTE, Cost(1), NOON + 61)).refusal
    assert (await counters.admit(key_id, MINUTE, Cost(1), NOON + 80)).refusal is None
    assert (await counters.admit(key_id, MINUTE, Cost(1), NOON + 80)).refusal


async def test_what_was_reserved_too_much_is_given_back(counters: Counters, key_id: str) -> None:
    assert (await counters.admit(key_id, MINUTE, Cost(1, 900), NOON)).refusal is None
    refused = await counters.admit(key_id, MINUTE, Cost(1, 200), NOON)
    assert refused.refusal is not None
    assert refused.refusal.budget.unit == "tokens"
    counters.settle(key_id, MINUTE, Cost(0, 50 - 900), NOON)
    again = await counters.admit(key_id, MINUTE, Cost(1, 200), NOON)
    assert again.refusal is None
    assert dict(pairs(again.lines))[b"x-ratelimit-remaining-tokens"] == b"750"
    counters.settle(key_id, MINUTE, Cost(0, 500), NOON)  # more than was reserved
    assert (
        dict(pairs((await counters.admit(key_id, MINUTE, Cost(1), NOON)).lines))[b"x-ratelimit-remaining-tokens"]
        == b"250"
    )


async def test_a_day_and_a_month_begin_with_what_the_database_knows(url: str, key_id: str) -> None:
    budgets = budgets_from({"requests/minute": 100, "tokens/day": 1000, "money/month": 5})
    known: Spent = lambda _key, _now: {"tokens/day": 900.0, "money/month": 4.5}  # noqa: E731
    counters = open_counters(url, known)
    await counters.start()
    first = await counters.admit(key_id, budgets, Cost(1, 50, 0.25), NOON)
    assert dict(pairs(first.lines))[b"x-ratelimit-remaining-tokens"] == b"50"
    dear = await counters.admit(key_id, budgets, Cost(1, 10, 0.5), NOON)
    assert dear.refusal is not None
    assert (dear.refusal.budget.name, dear.refusal.used) == ("money/month", 4.75)
    tomorrow = await counters.admit(key_id, budgets, Cost(1, 900, 0.25), NOON + 86_400)
    assert tomorrow.refusal is None
    await counters.stop()


async def test_changed_budgets_keep_what_is_used(counters: Counters, key_id: str) -> None:
    for _ in range(3):
        await counters.admit(key_id, MINUTE, Cost(1, 10), NOON)
    raised = budgets_from({"requests/minute": 5, "money/day": 1})
    assert (
        dict(pairs((await counters.admit(key_id, raised, Cost(1), NOON)).lines))[b"x-ratelimit-remaining-requests"]
        == b"1"
    )
    lowered = budgets_from({"requests/minute": 2})
    assert (await counters.admit(key_id, lowered, Cost(1), NOON)).refusal


async def test_money_is_counted_to_the_millionth(counters: Counters, key_id: str) -> None:
    budgets = budgets_from({"money/day": 0.001})
    verdicts = [await counters.admit(key_id, budgets, Cost(1, 0, 0.000001), NOON) for _ in range(1001)]
    assert [each.refusal is None for each in verdicts] == [True] * 1000 + [False]


async def test_a_database_that_does_not_answer_is_told(url: str, key_id: str) -> None:
    def away(_key_id: str, _now: float) -> Mapping[str, float]:
        raise sa.exc.OperationalError("SELECT", {}, Exception("gone"))

    counters = open_counters(url, away)
    await counters.start()
    with pytest.raises(ServiceError, match="budgets cannot be checked"):
        await counters.admit(key_id, budgets_from({"tokens/day": 1}), Cost(1), NOON)
    assert (await counters.admit(key_id, MINUTE, Cost(1), NOON)).refusal is None  # a minute needs no database
    await counters.stop()


def test_memory_needs_no_client_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis.asyncio", None)
    assert isinstance(module.open_counters("memory://", nothing), MemoryCounters)
    with pytest.raises(MissingExtraError, match=r"service.limits redis://h needs redis.*tulou\[redis\]"):
        module.open_counters("redis://u:secret@h", nothing)
