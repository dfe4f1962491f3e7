from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from msgspec.structs import replace

from tulou.service.gateway.answers import DONE
from tulou.service.gateway.dispatch import Ask, Dispatch, Events
from tulou.service.gateway.entry import Entry
from tulou.service.gateway.policy.balance import RoundRobin
from tulou.service.gateway.policy.steering import MAX_ATTEMPTS, Steering
from tulou.service.gateway.refusals import ApiError
from tulou.service.gateway.upstream import Connection, OutOfTime, ReplicaLost, Whole
from tulou.service.pool import Endpoint, FixedPool, ReplicaStatus

A, B = (Endpoint(f"m-{i}", "m", f"http://{i}", can_resume=True) for i in range(2))
WORDS = ["one ", "two ", "three"]
GOOD = Whole(200, b"application/json", b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}')


def event(content: str | None = None, role: str | None = None, finish: str | None = None, **other: Any) -> bytes:
    delta = {name: value for name, value in (("role", role), ("content", content)) if value is not None}
    choice = {"index": 0, "delta": delta | other, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


class ScriptedStream(Connection):
    """Says what it was given, event by event, and is lost where it says so."""

    def __init__(self, upstream: ScriptedUpstream, script: Sequence[bytes | Exception]) -> None:
        self._upstream = upstream
        self._script = iter(script)

    async def events(self) -> bytes | None:
        await asyncio.sleep(0)
        said = next(self._script, None)
        if isinstance(said, Exception):
            raise said
        return said

    async def finish(self) -> None:
        self._upstream.finished += 1


class ScriptedUpstream:
    """Replicas that do as told: say so many words and vanish, or answer in full."""

    def __init__(
        self, lives: dict[Endpoint, int] | None = None, tail: Sequence[bytes | Exception] | None = None
    ) -> None:
        self.lives = lives or {}  # words until the replica is lost
        self.tail = tail  # how a stream ends, in place of the usual
        self.asked: list[Endpoint] = []
        self.begun: list[str] = []
        self.closed = self.finished = 0

    async def ask(
        self, endpoint: Endpoint, path: str, body: bytes, request_id: str, is_streamed: bool, ends_at: float
    ) -> Whole | Connection:
        self.asked.append(endpoint)
        begun = json.loads(body).get("begun", "")
        self.begun.append(begun)
        if not is_streamed:
            if endpoint in self.lives:
                raise ReplicaLost("gone")
            return GOOD
        words: list[bytes | Exception] = [event("", "assistant")]
        words += [event(word) for word in WORDS[len(begun.split()) :]]
        if self.lives.get(endpoint, 99) + 1 < len(words):
            return ScriptedStream(self, [*words[: self.lives[endpoint] + 1], ReplicaLost("gone")])
        return ScriptedStream(self, [*words, *(self.tail or [event(finish="stop"), DONE])])

    def end(self, stream: Connection) -> None:
        self.closed += 1


def ask(is_streamed: bool = False, body: bytes = b'{"temperature":1}') -> Ask:
    entry = Entry("req_1", 0.0, None, "test", "m", "1")
    return Ask("m", "/v1/chat/completions", body, is_streamed, entry, time.monotonic() + 5)


def dispatch(upstream: ScriptedUpstream, endpoints: list[Endpoint] | None = None, **options: Any) -> Dispatch:
    pool = FixedPool({"m": [A, B] if endpoints is None else endpoints})
    return Dispatch(pool, upstream, Steering(RoundRobin), **{"patience_s": 0.05, **options})


async def stream(dispatcher: Dispatch, asked: Ask) -> AsyncIterator[bytes]:
    answer = await dispatcher.ask(asked)
    assert not isinstance(answer, Whole)
    async for events in answer:
        yield events


async def drained(pieces: AsyncIterator[bytes], never: bytes = b"nothing of this kind") -> None:
    async for piece in pieces:
        assert never not in piece


def words_in(pieces: list[bytes]) -> str:
    lines = [line.removeprefix(b"data: ") for line in b"".join(pieces).splitlines() if line]
    deltas = [json.loads(line)["choices"][0]["delta"] for line in lines if line != b"[DONE]"]
    return "".join(delta.get("content", "") for delta in deltas)


async def test_a_request_lost_before_its_answer_goes_to_another_replica() -> None:
    upstream, asked = ScriptedUpstream({A: 0}), ask()
    assert await dispatch(upstream).ask(asked) == GOOD
    assert upstream.asked == [A, B]
    entry = asked.entry
    assert (entry.replica, entry.retries, entry.prompt_tokens, entry.completion_tokens) == ("m-1", 1, 3, 4)


@pytest.mark.parametrize("words_before", range(len(WORDS)))
async def test_an_answer_goes_on_elsewhere_without_a_seam(words_before: int) -> None:
    upstream, asked = ScriptedUpstream({A: words_before}), ask(is_streamed=True)
    pieces = [piece async for piece in stream(dispatch(upstream), asked)]
    assert words_in(pieces) == "one two three"
    assert b"".join(pieces).count(b"assistant") == 1
    assert (upstream.asked, asked.entry.retries, upstream.closed) == ([A, B], 1, 2)
    assert upstream.begun == ["", "".join(WORDS[:words_before])]


async def test_what_the_client_itself_had_begun_stays_the_beginning() -> None:
    upstream = ScriptedUpstream({A: 1})
    asked = ask(is_streamed=True, body=b'{"begun": "zero "}')
    await drained(stream(dispatch(upstream), asked))
    assert upstream.begun == ["zero ", "zero two "]


async def test_an_answer_survives_several_losses() -> None:
    endpoints = [Endpoint(f"m-{i}", "m", f"http://{i}", can_resume=True) for i in range(3)]
    upstream = ScriptedUpstream(dict.fromkeys(endpoints, 1))
    pieces = [piece async for piece in stream(dispatch(upstream, endpoints), ask(is_streamed=True))]
    assert words_in(pieces) == "one two three"
    assert upstream.begun == ["", "one ", "one two "]


async def test_a_server_of_others_is_not_asked_to_go_on() -> None:
    theirs = Endpoint("m-0", "m", "http://theirs")
    upstream, pieces = ScriptedUpstream({theirs: 1}), []

    async def relay() -> None:
        async for piece in stream(dispatch(upstream, [theirs, B]), ask(is_streamed=True)):
            pieces.append(piece)  # noqa: PERF401 -- those before the error count

    with pytest.raises(ApiError, match="lost in the middle of this answer") as caught:
        await relay()
    assert (words_in(pieces), caught.value.code) == ("one ", "answer_broken_off")


async def test_a_server_of_others_lost_before_a_word_is_replaced() -> None:
    theirs, other = Endpoint("m-0", "m", "http://theirs"), Endpoint("m-1", "m", "http://other")
    upstream = ScriptedUpstream({theirs: 0})
    pieces = [piece async for piece in stream(dispatch(upstream, [theirs, other]), ask(is_streamed=True))]
    assert words_in(pieces) == "one two three"


async def test_calls_of_tools_are_not_gone_on_with() -> None:
    call = event(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "{"}}])
    upstream = ScriptedUpstream(tail=[call, ReplicaLost("gone")])
    with pytest.raises(ApiError, match="no other can continue it"):
        await drained(stream(dispatch(upstream), ask(is_streamed=True)))


async def test_an_answer_that_lacks_only_its_formal_end_is_given_one() -> None:
    tails: list[list[bytes | Exception]] = [[event(finish="stop")], [event(finish="length"), ReplicaLost("gone")]]
    for tail in tails:
        upstream = ScriptedUpstream(tail=tail)
        pieces = [piece async for piece in stream(dispatch(upstream), ask(is_streamed=True))]
        assert (words_in(pieces), pieces[-1], len(upstream.asked)) == ("one two three", DONE, 1)


async def test_what_is_no_event_is_not_relayed() -> None:
    upstream = ScriptedUpstream(tail=[b"<html>\n\n"])
    with pytest.raises(ApiError, match="No replica of the model"):
        await drained(stream(dispatch(upstream, [A]), ask(is_streamed=True)), never=b"<html>")


async def test_an_error_told_by_the_replica_ends_the_stream() -> None:
    error = b'data: {"error": {"message": "broken"}}\n\n'
    upstream = ScriptedUpstream(tail=[error])
    pieces = [piece async for piece in stream(dispatch(upstream), ask(is_streamed=True))]
    assert (pieces[-1], len(upstream.asked)) == (error, 1)


@pytest.mark.parametrize("answer", [Whole(200, b"text/html", b"<html>"), Whole(503, b"application/json", b"{}")])
async def test_an_answer_that_is_none_is_asked_for_elsewhere(answer: Whole) -> None:
    class Odd(ScriptedUpstream):
        async def ask(self, endpoint: Endpoint, *args: Any) -> Whole | Connection:
            good = await super().ask(endpoint, *args)
            return answer if endpoint == A else good

    assert await dispatch(Odd()).ask(ask()) == GOOD


async def test_a_refusal_is_handed_on_as_it_was_worded() -> None:
    refusal = Whole(400, b"application/json", b'{"error":{"message":"no","type":"invalid_request_error"}}')

    class Refusing(ScriptedUpstream):
        async def ask(self, endpoint: Endpoint, *args: Any) -> Whole | Connection:
            await super().ask(endpoint, *args)
            return refusal

    upstream = Refusing()
    assert await dispatch(upstream).ask(ask()) is refusal
    assert len(upstream.asked) == 1


async def test_the_deadline_of_a_request_is_one_for_all_attempts() -> None:
    class Slow(ScriptedUpstream):
        async def ask(self, endpoint: Endpoint, *args: Any) -> Whole | Connection:
            raise OutOfTime

    with pytest.raises(ApiError, match="longer than 60 s"):
        await dispatch(Slow()).ask(ask())


async def test_a_request_that_kills_whatever_answers_it_is_given_up() -> None:
    endpoints = [Endpoint(f"m-{i}", "m", f"http://{i}") for i in range(10)]
    upstream = ScriptedUpstream(dict.fromkeys(endpoints, 0))
    with pytest.raises(ApiError) as caught:
        await dispatch(upstream, endpoints).ask(ask())
    assert caught.value.status == 503
    assert len(upstream.asked) == MAX_ATTEMPTS


async def test_without_replicas_it_waits_for_one_and_then_says_so() -> None:
    with pytest.raises(ApiError, match="No replica of the model `m` is ready") as caught:
        await dispatch(ScriptedUpstream(), []).ask(ask())
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
    assert await Dispatch(ComingPool(), ScriptedUpstream(), Steering(RoundRobin)).ask(ask()) == GOOD


async def test_a_body_that_cannot_be_rewritten_for_its_replica_leaves_nothing_in_flight() -> None:
    renamed = replace(A, served_as="other")
    dispatcher = Dispatch(FixedPool({"m": [renamed]}), ScriptedUpstream(), Steering(RoundRobin))
    with pytest.raises(ApiError):
        await dispatcher.ask(replace(ask(), body=b'{"model": "m", "x": 1e999}'))
    assert dispatcher.in_flight() == {}


async def test_leaving_early_closes_the_work_at_the_replica() -> None:
    upstream = ScriptedUpstream()
    dispatcher = dispatch(upstream)
    answer = cast("Events", await dispatcher.ask(ask(is_streamed=True)))
    await anext(answer)
    assert dispatcher.in_flight() == {"m-0": 1}
    await answer.aclose()
    assert (upstream.closed, upstream.finished) == (1, 0)
    assert dispatcher.in_flight() == {}


@pytest.mark.parametrize("status", [401, 403])
async def test_a_server_that_does_not_take_our_key_is_no_answer_to_the_client(status: int) -> None:
    said = b'{"error": {"message": "Incorrect API key provided: sk-theirs", "code": "invalid_api_key"}}'

    class Closed(ScriptedUpstream):
        async def ask(self, endpoint: Endpoint, *given: Any) -> Whole | Connection:
            return Whole(status, b"application/json", said) if endpoint == A else await super().ask(endpoint, *given)

    assert await dispatch(Closed()).ask(ask()) == GOOD
    with pytest.raises(ApiError) as caught:
        await dispatch(Closed(), [A]).ask(ask())
    assert (caught.value.status, "sk-theirs" in caught.value.message) == (503, False)


async def test_whoever_was_told_nothing_yet_is_told_who_speaks() -> None:
    upstream = ScriptedUpstream({A: -1})
    pieces = [piece async for piece in stream(dispatch(upstream), ask(is_streamed=True))]
    assert (upstream.asked, words_in(pieces)) == ([A, B], "one two three")
    assert b"assistant" in pieces[0]


async def test_the_accounts_tell_the_version_that_could_not_answer() -> None:
    new, old = (Endpoint(f"m-{each}", "m", f"http://{each}", version=each) for each in "21")
    asked = replace(ask(), versions=("2", "1"))
    assert await dispatch(ScriptedUpstream({new: 0}), [new, old]).ask(asked) == GOOD
    assert (asked.entry.model_version, asked.entry.variant) == ("1", "instead:2")
