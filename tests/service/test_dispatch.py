from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import numpy as np
import pytest

from tulou.core.types import ChatDelta
from tulou.service.engine.base import Generation
from tulou.service.gateway.accounting import Caller, Entry
from tulou.service.gateway.balance import RoundRobin
from tulou.service.gateway.dispatch import MAX_ATTEMPTS, Dispatch, Encoded, Replay, ReplicaLost
from tulou.service.gateway.refusals import ApiError
from tulou.service.pool import Endpoint, FixedPool, ReplicaStatus

A, B = Endpoint("m-0", "m", "http://a"), Endpoint("m-1", "m", "http://b")
WORDS = ["one ", "two ", "three"]


class ScriptedUpstream:
    """Replicas that do as told: say so many words and vanish, or answer in full."""

    def __init__(self, lives: dict[Endpoint, int], words: dict[Endpoint, list[str]] | None = None) -> None:
        self.lives = lives  # words until the replica is lost; as many as there are words: never
        self.words = words or {}
        self.asked: list[Endpoint] = []
        self.closed = 0

    async def generate(self, endpoint: Endpoint, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        self.asked.append(endpoint)
        words = self.words.get(endpoint, WORDS)
        try:
            for i, word in enumerate(words):
                if i == self.lives.get(endpoint, 99):
                    raise ReplicaLost("gone")
                await asyncio.sleep(0)
                yield ChatDelta(word)
            yield ChatDelta("", "stop", 5, len(words))
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


@pytest.mark.parametrize("words_before", range(len(WORDS)))
@pytest.mark.parametrize("other_pieces", [WORDS, ["one two three"], list("one two three"), ["one t", "wo th", "ree"]])
async def test_a_greedy_answer_goes_on_elsewhere_without_a_seam(words_before: int, other_pieces: list[str]) -> None:
    upstream = ScriptedUpstream({A: words_before}, {B: other_pieces})
    text, noted = await answer(upstream)
    assert text == "one two three"
    assert (upstream.asked, noted.retries, upstream.closed) == ([A, B], 1, 2)


async def test_a_sampled_answer_is_retried_before_its_first_word_only() -> None:
    assert (await answer(ScriptedUpstream({A: 0}), temperature=1.0))[0] == "one two three"
    with pytest.raises(ApiError) as caught:
        await answer(ScriptedUpstream({A: 1}), temperature=1.0)
    assert (caught.value.status, caught.value.code) == (503, "answer_interrupted")


async def test_an_answer_that_differs_when_repeated_is_not_patched_together() -> None:
    with pytest.raises(ApiError, match="cannot be continued") as caught:
        await answer(ScriptedUpstream({A: 2}, {B: ["one ", "thing"]}))
    assert caught.value.code == "answer_interrupted"


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


def test_replay_passes_on_only_what_is_new() -> None:
    replay = Replay("one tw")
    assert replay.fresh(ChatDelta("one")) is None
    assert replay.fresh(ChatDelta(" two")) == ChatDelta("o")
    assert replay.fresh(ChatDelta("", "stop", 1, 2)) == ChatDelta("", "stop", 1, 2)
    with pytest.raises(ValueError, match="shorter than what was sent"):
        Replay("one").fresh(ChatDelta("", "stop"))
