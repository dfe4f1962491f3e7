"""What only shared counters can do, and what they do when Redis is not what it should be."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import psutil
import pytest
from tests.data.servers import free_port, running_redis

from tulou.service.gateway import counters_redis
from tulou.service.gateway.counters_redis import RedisCounters
from tulou.service.gateway.head import pairs
from tulou.service.gateway.limits import Cost, budgets_from

NOON = 1_795_867_200.0
BUDGETS = budgets_from({"requests/minute": 100, "tokens/day": 10_000})


def nothing(_key_id: str, _now: float) -> Mapping[str, float]:
    return {}


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisCounters]:
    counters = RedisCounters(url, nothing)
    await counters.start()
    try:
        yield counters
    finally:
        await counters.stop()


def process_on(url: str) -> psutil.Process:
    port = urlsplit(url).port
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "redis-server" and str(port) in " ".join(process.cmdline()):
            return process
    raise LookupError(url)


async def admitted(counters: RedisCounters, key: str, tries: int) -> int:
    verdicts = await asyncio.gather(*(counters.admit(key, BUDGETS, Cost(1, 10), NOON) for _ in range(tries)))
    return sum(each.refusal is None for each in verdicts)


async def test_two_gateways_let_exactly_the_limit_through_together(redis_url: str) -> None:
    async with opened(redis_url) as here, opened(redis_url) as there:
        counts = [0, 0]
        for _ in range(20):
            let_in = await asyncio.gather(admitted(here, "both", 7), admitted(there, "both", 7))
            counts = [count + more for count, more in zip(counts, let_in, strict=True)]
        assert sum(counts) == 100
        assert min(counts) > 0


async def test_what_one_settles_the_other_sees(redis_url: str) -> None:
    async with opened(redis_url) as here, opened(redis_url) as there:
        await here.admit("settled", BUDGETS, Cost(1, 9_000), NOON)
        assert (await there.admit("settled", BUDGETS, Cost(1, 2_000), NOON)).refusal
        here.settle("settled", BUDGETS, Cost(0, -8_000), NOON)
        await asyncio.sleep(0.05)
        assert (await there.admit("settled", BUDGETS, Cost(1, 2_000), NOON)).refusal is None


async def test_stopping_tells_what_is_left_and_takes_no_time(redis_url: str) -> None:
    for turn in range(20):  # a cancellation would be swallowed by the client, and stopping hang
        async with opened(redis_url) as counters:
            await asyncio.gather(*(counters.admit(f"stop{turn}", BUDGETS, Cost(1, 900), NOON) for _ in range(10)))
            counters.settle(f"stop{turn}", BUDGETS, Cost(0, -5_000), NOON)
            started = time.monotonic()
        assert time.monotonic() - started < 2
        assert (await counters.admit(f"stop{turn}", BUDGETS, Cost(1), NOON)).refusal is None  # waits for nobody
        async with opened(redis_url) as other:
            told = await other.admit(f"stop{turn}", BUDGETS, Cost(1), NOON)
            assert dict(pairs(told.lines))[b"x-ratelimit-remaining-tokens"] == b"6000"


async def test_counters_do_not_stay_for_ever(redis_url: str) -> None:
    import redis

    async with opened(redis_url) as counters:
        await counters.admit("kept", BUDGETS, Cost(1, 10), NOON)
        counters.settle("kept", BUDGETS, Cost(0, 5), NOON - 600)  # into a window that is gone
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        kept = {key: client.ttl(key) for key in client.keys("tulou:{kept}:*")}
    assert sorted(kept.values()) == [pytest.approx(180, abs=5), pytest.approx(2 * 86_400, abs=5)]


async def test_a_request_that_leaves_while_it_is_asked_gives_its_tokens_back(redis_url: str) -> None:
    async with opened(redis_url) as counters:
        await counters.admit("left", BUDGETS, Cost(1), NOON)
        leaving = asyncio.create_task(counters.admit("left", BUDGETS, Cost(1, 9_000), NOON))
        await asyncio.sleep(0)
        assert counters._questions
        leaving.cancel()
        await asyncio.sleep(0.05)
        verdict = await counters.admit("left", BUDGETS, Cost(1, 9_000), NOON)
        assert verdict.refusal is None


async def test_a_request_that_leaves_in_the_moment_of_its_answer_gives_its_tokens_back(redis_url: str) -> None:
    async with opened(redis_url) as counters:
        await counters.admit("moment", BUDGETS, Cost(1), NOON)
        leaving = asyncio.create_task(counters.admit("moment", BUDGETS, Cost(1, 9_000), NOON))
        await asyncio.sleep(0)
        question = counters._questions.pop()
        given_back: list[bool] = []
        question.give_back = lambda: given_back.append(True)
        question.answer.set_result([0, *(["9000", "0"] * len(BUDGETS))])
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert (leaving.cancelled(), given_back) == (True, [True])


async def test_without_redis_each_gateway_counts_alone(caplog: pytest.LogCaptureFixture) -> None:
    url = f"redis://user:secret@127.0.0.1:{free_port()}/0"
    async with opened(url) as counters:
        started = time.monotonic()
        assert await admitted(counters, "alone", 500) == 100
        assert time.monotonic() - started < 2
    assert "counts the use of keys alone" in caplog.text
    assert "secret" not in caplog.text


async def test_a_redis_that_dies_hangs_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(counters_redis, "RETRY_S", 0.1)
    with running_redis() as url:
        async with opened(url) as here, opened(url) as there:
            assert await admitted(here, "k", 30) == 30
            assert await admitted(there, "k", 30) == 30
            process = process_on(url)
            os.kill(process.pid, signal.SIGSTOP)
            started = time.monotonic()
            assert await admitted(here, "k", 200) == 70  # it knew of 30, so it counts on from there
            assert await admitted(here, "k", 200) == 0
            assert time.monotonic() - started < 1  # a tenth of a second is waited for once
            os.kill(process.pid, signal.SIGCONT)
            for _ in range(50):
                await asyncio.sleep(0.1)
                if "answers again" in caplog.text:
                    break
            told = await there.admit("k", BUDGETS, Cost(0, 0), NOON)
            remaining = int(dict(pairs(told.lines))[b"x-ratelimit-remaining-tokens"])
            assert remaining <= 10_000 - 10 * (60 + 70)  # what was used of the day alone was told


async def test_a_redis_that_lost_everything_is_told_what_was_used(redis_url: str) -> None:
    import redis

    async with opened(redis_url) as counters:
        for _ in range(5):
            await counters.admit("lost", BUDGETS, Cost(1, 1_000), NOON)
        with redis.Redis.from_url(redis_url) as client:
            client.delete(*client.keys("tulou:{lost}:*"))
        told = await counters.admit("lost", BUDGETS, Cost(1, 1_000), NOON)
        assert dict(pairs(told.lines))[b"x-ratelimit-remaining-tokens"] == b"4000"


async def test_a_redis_that_refuses_to_write_counts_as_away(caplog: pytest.LogCaptureFixture) -> None:
    with running_redis("--maxmemory", "1", "--maxmemory-policy", "noeviction") as url:
        async with opened(url) as counters:
            assert await admitted(counters, "full", 150) == 100
    assert "counts the use of keys alone" in caplog.text


async def test_a_wrong_password_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with running_redis("--requirepass", "right") as url:
        async with opened(url.replace("//", "//:wrong@")) as counters:
            assert await admitted(counters, "k", 150) == 100
        assert "invalid username-password pair" in caplog.text
        async with opened(url.replace("//", "//:right@")) as counters:
            assert await admitted(counters, "k", 150) == 100
            assert not counters._is_away
