from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import numpy as np
import pytest

from tulou.core.types import ChatDelta
from tulou.service.engine.base import Generation
from tulou.service.gateway.balance import RoundRobin
from tulou.service.gateway.dispatch import MAX_ATTEMPTS, Dispatch, Encoded, ReplicaLost
from tulou.service.gateway.entry import Caller, Entry
from tulou.service.gateway.refusals import ApiError
from tulou.service.pool import Endpoint, FixedPool, ReplicaStatus

A, B = Endpoint("m-0", "m", "http://a"), Endpoint("m-1", "m", "http://b")
WORDS = ["one ", "two ", "three"]


class ScriptedUpstream:
    """Replicas that do as told: say so many words and vanish, or answer in full."""

    def __init__(self, lives: dict[Endpoint, int]) -> None:
        self.lives = lives  # words until the replica is lost
        self.asked: list[Endpoint] = []
        self.begun: list[str] = []
        self.closed = 0

    async def generate(self, endpoint: Endpoint, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        self.asked.append(endpoint)
        self.begun.append(request.begun)
        words = WORDS[len(request.begun.split()) :]
        try:
            for i, word in enumerate(words):
                if i == self.lives.get(endpoint, 99):
                    raise ReplicaLost("gone")
                await asyncio.sleep(0)
                yield ChatDelta(word)
            yield ChatDelta("", "stop", 5, len(WORDS))
        finally:
            self.closed += 1

    async def encode(self, endpoint: Endpoint, texts: Sequence[str]) -> Encoded:
        self.asked.append(endpoint)
        if endpoint in self.lives:
            raise ReplicaLost("gone")
        return Encoded(np.zeros((len(texts), 2), np.float32), len(texts))


def entry() -> Entry:
    return Entry(Caller("test", "req_1"), "m", "1", 0.0)


def dispatch(upstream: ScriptedUpstream, endpoints: list[Endpoint] | None = None, **options: Any) -> Dispatch:
    pool = FixedPool({"m": [A, B] if endpoints is None else endpoints})
    return Dispatch(pool, upstream, RoundRobin, **{"patience_s": 0.05, **options})


async def answer(upstream: ScriptedUpstream, temperature: float = 0.0) -> tuple[str, Entry]:
    noted = entry()
    deltas = dispatch(upstream).generate("m", Generation("x", temperature=temperature), noted)
    return "".join([delta.text async for delta in deltas]), noted


async def test_a_request_lost_before_its_answer_goes_to_another_replica() -> None:
    upstream = ScriptedUpstream({A: 0})
    noted = entry()
    assert (await dispatch(upstream).encode("m", ["x"], noted)).rows.shape == (1, 2)
    assert upstream.asked == [A, B]
    assert (noted.replica, noted.retries) == ("m-1", 1)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("words_before", range(len(WORDS)))
async def test_an_answer_goes_on_elsewhere_without_a_seam(words_before: int, temperature: float) -> None:
    upstream = ScriptedUpstream({A: words_before})
    text, noted = await answer(upstream, temperature)
    assert text == "one two three"
    assert (upstream.asked, noted.retries, upstream.closed) == ([A, B], 1, 2)
    assert upstream.begun == ["", "".join(WORDS[:words_before])]


async def test_an_answer_survives_several_losses() -> None:
    endpoints = [Endpoint(f"m-{i}", "m", f"http://{i}") for i in range(3)]
    upstream = ScriptedUpstream(dict.fromkeys(endpoints, 1))
    deltas = dispatch(upstream, endpoints).generate("m", Generation("x"), entry())
    assert "".join([delta.text async for delta in deltas]) == "one two three"
    assert upstream.begun == ["", "one ", "one two "]


async def test_a_request_that_kills_whatever_answers_it_is_given_up() -> None:
    endpoints = [Endpoint(f"m-{i}", "m", f"http://{i}") for i in range(10)]
    upstream = ScriptedUpstream(dict.fromkeys(endpoints, 0))
    with pytest.raises(ApiError) as caught:
        await dispatch(upstream, endpoints).encode("m", ["x"], entry())
    assert caught.value.status == 503
    assert len(upstream.asked) == MAX_ATTEMPTS


async def test_without_replicas_it_waits_for_one_and_then_says_so() -> None:
    with pytest.raises(ApiError, match="No replica of the model `m` is ready") as caught:
        await dispatch(ScriptedUpstream({}), []).encode("m", ["x"], entry())
    assert caught.value.headers == {"retry-after": "1"}


class ComingPool:
    """No replica at first, one after a moment."""

    def __init__(self) -> None:
        self.endpoints: list[Endpoint] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def ready(self, model: str) -> Sequence[Endpoint]:
        return self.endpoints

    async def changed(self) -> None:
        await asyncio.sleep(0.01)
        self.endpoints = [A]

    def report_lost(self, endpoint: Endpoint) -> None: ...

    def status(self) -> list[ReplicaStatus]:
        return []


async def test_a_request_waits_for_a_replica_that_is_coming() -> None:
    encoded = await Dispatch(ComingPool(), ScriptedUpstream({}), RoundRobin).encode("m", ["x"], entry())
    assert encoded.prompt_tokens == 1


async def test_leaving_early_closes_the_work_at_the_replica() -> None:
    upstream = ScriptedUpstream({})
    deltas = dispatch(upstream).generate("m", Generation("x"), entry())
    await anext(deltas)
    await deltas.aclose()
    assert upstream.closed == 1
