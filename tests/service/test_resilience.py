"""Replicas that misbehave in every way we know, behind a running gateway: nobody who asks is to notice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.service.house import ASSISTANT, ROGUES, House, echo, house, rogue

TEXT = "one two three four five"
STATES = ("closed", "open", "trying", "returning")


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as made:
        yield made


async def ask_many(asked: House, count: int = 120, at_once: int = 12) -> list[str]:
    """Ask so often, every second time for a stream; what went wrong."""
    problems = []

    async def client(number: int) -> None:
        for i in range(count // at_once):
            reply = await asked.chat(f"{number} {i} {TEXT}", stream=bool((number + i) % 2))
            if reply.words != f"{number} {i} {TEXT}":
                problems.append(f"{reply.status} {reply.text[:200]}")

    await asyncio.gather(*(client(number) for number in range(at_once)))
    return problems


@pytest.mark.parametrize("balance", ["least_connections", "round_robin"])
@pytest.mark.parametrize("how", [name for name in ROGUES if name != "closes_in_stream"])
async def test_one_replica_that_misbehaves_fails_no_request(
    how: str, balance: str, tmp_path: Path, stack: contextlib.AsyncExitStack
) -> None:
    good = [await echo(tmp_path, stack, name=f"good-{i}") for i in range(2)]
    bad = await rogue(how, stack)
    async with house(tmp_path, [bad, *good], balance=balance, first_byte_s=0.4, idle_s=0.4, timeout_s=10) as asked:
        assert await ask_many(asked) == []
        assert asked.metric("tulou_replica_ejections_total", model="assistant") >= 1
        states = {state: asked.metric("tulou_replica_breakers", model="assistant", state=state) for state in STATES}
        assert (states["closed"], sum(states.values())) == (len(good), len(good) + 1)
        assert asked.metric("tulou_retries_total", model="assistant") < 30  # found out soon, and left alone
        assert {row["status"] for row in asked.rows()} == {200}


async def test_a_replica_that_vanishes_in_mid_stream_is_gone_on_with_by_another(
    tmp_path: Path, stack: contextlib.AsyncExitStack
) -> None:
    good = [await echo(tmp_path, stack, name=f"good-{i}") for i in range(2)]
    bad = await rogue("closes_in_stream", stack, can_resume=True)  # says "one one" and is gone
    async with house(tmp_path, [bad, *good], balance="round_robin") as asked:
        replies = [await asked.chat("one one two three", stream=True) for _ in range(30)]
        assert [reply.words for reply in replies] == ["one one two three"] * 30
        assert asked.metric("tulou_streams_broken_total", model="assistant") == 0


async def test_a_stream_that_nobody_can_go_on_with_ends_with_an_error_that_is_counted(
    tmp_path: Path, stack: contextlib.AsyncExitStack
) -> None:
    bad = await rogue("closes_in_stream", stack)
    async with house(tmp_path, [bad, await echo(tmp_path, stack)], balance="round_robin") as asked:
        replies = [await asked.chat(TEXT, stream=True) for _ in range(20)]
        broken = [reply for reply in replies if "answer_broken_off" in reply.text]
        assert [reply.words for reply in replies if reply not in broken] == [TEXT] * (20 - len(broken))
        assert len(broken) == 5  # in a row at this replica, until it was left alone
        for reply in broken:
            assert reply.status == 200
            assert '"code":"answer_broken_off"' in reply.text.strip().splitlines()[-1]
        assert asked.metric("tulou_streams_broken_total", model="assistant") == 5
        assert [row["status"] for row in asked.rows()].count(503) == 5


async def test_a_bad_replica_that_gets_well_returns(tmp_path: Path, stack: contextlib.AsyncExitStack) -> None:
    good = [await echo(tmp_path, stack, name=f"good-{i}") for i in range(2)]
    breaker = {"ejection_s": 0.1, "slow_return_s": 0.2}
    async with house(tmp_path, good, balance="round_robin", breaker=breaker) as asked:
        for _ in range(5):
            asked.switchboard.dispatch._failed(good[0], 0.1, OSError("as if"))  # type: ignore[arg-type]
        for _ in range(6):
            await asked.chat()
        assert {row["replica"] for row in asked.rows()} == {"good-1"}
        await asyncio.sleep(0.15)
        assert await ask_many(asked, 12) == []  # one of them is the trial
        await asyncio.sleep(0.25)
        before = len(asked.rows())
        for _ in range(10):
            await asked.chat()
        late = [row["replica"] for row in asked.rows()[before:]]
        assert late.count("good-0") == late.count("good-1") == 5


async def test_a_broken_fleet_is_not_flooded_with_retries(tmp_path: Path, stack: contextlib.AsyncExitStack) -> None:
    bad = [await rogue("error_500", stack) for _ in range(3)]
    async with house(tmp_path, bad, retries={"budget": 0.1}) as asked:
        replies = await asyncio.gather(*(asked.chat() for _ in range(400)))
        assert {(reply.status, reply.json["error"]["code"]) for reply in replies} == {(503, "model_unavailable")}
        assert asked.metric("tulou_retries_total", model="assistant") <= 100 + 0.1 * 400


async def test_a_client_that_leaves_says_nothing_about_its_replica(
    tmp_path: Path, stack: contextlib.AsyncExitStack
) -> None:
    slow = await rogue("hangs", stack)
    async with house(tmp_path, [slow]) as asked:
        for _ in range(8):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asked.chat(), 0.3)
        await asyncio.sleep(0.3)
        assert asked.metric("tulou_replica_ejections_total", model="assistant") == 0
        assert {row["status"] for row in asked.rows()} == {499}


async def test_another_model_answers_where_one_cannot(tmp_path: Path, stack: contextlib.AsyncExitStack) -> None:
    small = replace(ASSISTANT, name="small")
    endpoints = [await rogue("error_500", stack), await echo(tmp_path, stack, small)]
    manifests = (ASSISTANT, small)
    async with house(tmp_path, endpoints, manifests, fallback={"assistant": "small"}) as asked:
        for i in range(20):
            reply = await asked.chat(TEXT, stream=bool(i % 2))
            assert reply.words == TEXT
            assert '"model":"small"' in reply.text
        assert asked.metric("tulou_retries_total", model="assistant") == 0
    async with house(tmp_path, endpoints[1:], manifests, fallback={"assistant": "small"}) as asked:
        assert (await asked.chat(TEXT)).words == TEXT  # there is no replica at all
    async with house(tmp_path, endpoints[1:], manifests) as asked:
        assert (await asked.chat(TEXT)).status == 503


async def test_no_model_answers_in_place_of_another_that_the_key_may_not_use(
    tmp_path: Path, stack: contextlib.AsyncExitStack
) -> None:
    small = replace(ASSISTANT, name="small")
    body = {"model": "assistant", "messages": [{"role": "user", "content": TEXT}]}
    bad = await rogue("error_500", stack)
    endpoints, manifests = [bad, await echo(tmp_path, stack, small)], (ASSISTANT, small)
    async with house(tmp_path, endpoints, manifests, fallback={"assistant": "small"}) as asked:
        assert (await asked.post(body, key=0)).status == 200
        assert (await asked.post(body, key=2)).status >= 500


async def test_a_full_queue_answers_429_with_retry_after(tmp_path: Path, stack: contextlib.AsyncExitStack) -> None:
    slow = await echo(tmp_path, stack, token_delay_s=0.05)
    queue = {"max_in_flight": 2, "max_waiting": 3, "max_wait_s": 5}
    async with house(tmp_path, [slow], queue=queue) as asked:
        replies = await asyncio.gather(*(asked.chat(TEXT, stream=bool(i % 2)) for i in range(12)))
        good = [reply for reply in replies if reply.words == TEXT]
        refused = [reply for reply in replies if reply.status == 429]
        assert (len(good), len(refused)) == (5, 7)
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
        assert {reply.json["error"]["code"] for reply in refused} == {"overloaded"}
        assert asked.metric("tulou_requests_shed_total", model="assistant") == 7
        assert (await asked.chat(TEXT)).words == TEXT  # every place was given back


async def test_nobody_waits_for_a_place_longer_than_said(tmp_path: Path, stack: contextlib.AsyncExitStack) -> None:
    stuck = await rogue("hangs", stack)
    queue = {"max_in_flight": 1, "max_waiting": 10, "max_wait_s": 0.2}
    async with house(tmp_path, [stuck], queue=queue, timeout_s=2) as asked:
        first = asyncio.create_task(asked.chat())
        await asyncio.sleep(0.05)
        began = asyncio.get_running_loop().time()
        assert (await asked.chat()).status == 429
        assert asyncio.get_running_loop().time() - began < 1
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
