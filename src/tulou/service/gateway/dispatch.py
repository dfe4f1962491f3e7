"""From one replica to the next until there is an answer: the retry policy, which knows no HTTP.

Nothing of a whole answer has reached the client before it is complete, so it may be asked for anew. A stream goes to
another replica before its first words; later, another one is given the words already sent as the beginning and
continues behind them, so the client sees one unbroken answer, greedy or sampled. To ask anew and skip what was sent
would cost more and fail now and then: in low precision, even a greedy answer depends a little on what is computed
beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace

from tulou.service.gateway import answers, refusals
from tulou.service.gateway.asking import worded
from tulou.service.gateway.balance import Balancer
from tulou.service.gateway.entry import Entry
from tulou.service.gateway.peek import asking_for_model, going_on_behind
from tulou.service.gateway.upstream import Connection, OutOfTime, ReplicaLost, Upstream, Whole
from tulou.service.pool import Endpoint, Pool

MAX_ATTEMPTS = 4  # a request that kills what answers it must not kill the whole fleet
PATIENCE_S = 10.0  # for a replica to come back, when none is ready


@dataclass(slots=True)
class Ask:
    """What is asked of a model's replicas, whoever asks."""

    model: str
    path: str
    body: bytes
    is_streamed: bool
    entry: Entry
    ends_at: float  # by `time.monotonic`: the deadline of everything
    conversation: str | None = None
    is_begun: bool = False  # the body holds the beginning of an answer, which is to be continued


Events = AsyncGenerator[bytes, None]
"""A stream's answer, some whole events at a time. Close it, and the replica stops working."""


class Dispatch:
    def __init__(
        self,
        pool: Pool,
        upstream: Upstream,
        balancer: Callable[[], Balancer],
        timeout_s: float = 60.0,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._upstream = upstream
        self._make_balancer = balancer
        self._balancers: dict[str, Balancer] = {}  # by model, so that each takes its own turns
        self._in_flight: Counter[Endpoint] = Counter()
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._clock = clock

    def in_flight(self) -> dict[str, int]:
        """Requests that each replica is answering now, by its name; idle ones are left out."""
        counts: Counter[str] = Counter()
        for endpoint, count in self._in_flight.items():
            counts[endpoint.name] += count
        return dict(counts)

    async def ask(self, ask: Ask) -> Whole | Events:
        """A whole answer, or the events of a stream that has begun; refusals of the replica are whole answers.

        Raises `ApiError` where no replica answers, or not in time.
        """
        tried: list[Endpoint] = []
        answered = await self._answered(ask, tried)
        return answered if isinstance(answered, Whole) else self._events(ask, answered, tried)

    async def _answered(self, ask: Ask, tried: list[Endpoint]) -> Whole | Connection:
        """Replicas are tried one after another, none twice, until one has answered or begun to."""
        while len(tried) < MAX_ATTEMPTS:
            endpoint = self._choose(ask, tried) or await self._wait_for_one(ask, tried)
            ask.entry.replica, ask.entry.retries = endpoint.name, len(tried)
            tried.append(endpoint)
            self._in_flight[endpoint] += 1
            began, answered = self._clock(), None
            try:
                answered = await self._try(endpoint, ask)
            except ReplicaLost:
                self._pool.report_lost(endpoint)
            except OutOfTime:
                raise refusals.timed_out(self._timeout_s) from None
            else:
                return answered
            finally:
                self._observe(endpoint, self._clock() - began, answered is not None)
                if not isinstance(answered, Connection):
                    self._release(endpoint)
        raise refusals.replicas_unavailable(ask.model)

    async def _try(self, endpoint: Endpoint, ask: Ask) -> Whole | Connection:
        """One attempt at one replica. Raises `ReplicaLost` if it gives no answer that a client could be given."""
        entry = ask.entry
        body = asking_for_model(ask.body, endpoint.served_as) if endpoint.served_as else ask.body
        answered = await self._upstream.ask(endpoint, ask.path, body, entry.request_id, ask.is_streamed, ask.ends_at)
        if isinstance(answered, Connection):
            return answered
        if answered.status == 503:
            raise ReplicaLost(f"{endpoint.name} is stopping")
        if answered.status < 300:
            usage = answers.usage_of(answered.body)
            entry.prompt_tokens, entry.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        return answered

    async def _events(self, ask: Ask, first: Connection, tried: list[Endpoint]) -> Events:
        said = answers.Transcript()
        stream: Connection | None = first
        try:
            while stream is not None and not said.has_ended:
                try:
                    events = await self._next(stream)
                except ReplicaLost:
                    self._lost(stream, tried[-1])
                    stream = None
                    so_far = said.read()
                    if so_far.is_finished:
                        yield answers.DONE
                        return
                    stream = await self._stream(_going_on(ask, so_far, tried[-1]), tried)
                    continue
                if stream is not first:
                    events = answers.without_opening(events)
                if events:
                    said.add(events)
                    yield events
            if stream is not None:
                await stream.finish()
        except OutOfTime:
            raise refusals.timed_out(self._timeout_s) from None
        finally:
            if stream is not None:
                self._end(stream, tried[-1])

    async def _next(self, stream: Connection) -> bytes:
        """The next events. Raises `ReplicaLost` where there are none, although the answer has not told its end."""
        events = await stream.events()
        if events is None:
            raise ReplicaLost("the replica ended its answer without saying so")
        if not events.startswith(answers.EVENTS_BEGIN):
            raise ReplicaLost("the replica sent something that is not an event")
        return events

    async def _stream(self, ask: Ask, tried: list[Endpoint]) -> Connection:
        """A stream that goes on with an answer. Raises `ApiError` where no replica does."""
        answered = await self._answered(ask, tried)
        if isinstance(answered, Whole):
            raise worded(answered)
        return answered

    def _choose(self, ask: Ask, tried: Sequence[Endpoint]) -> Endpoint | None:
        """The replica to try next; None where none is ready."""
        candidates = self._candidates(ask, tried)
        if not candidates:
            return None
        balancer = self._balancers.get(ask.model)
        if balancer is None:
            balancer = self._balancers[ask.model] = self._make_balancer()
        return balancer.choose(candidates, self._in_flight)

    def _candidates(self, ask: Ask, tried: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """Ready replicas that have not been tried yet."""
        ready = self._pool.ready(ask.model)
        if tried:
            ready = [endpoint for endpoint in ready if endpoint not in tried]
        if ask.is_begun:
            ready = [endpoint for endpoint in ready if endpoint.can_resume]
        return ready

    async def _wait_for_one(self, ask: Ask, tried: Sequence[Endpoint]) -> Endpoint:
        """Wait for a replica to come. Raises `ApiError` where none does within the patience we have."""
        deadline = min(self._clock() + self._patience_s, ask.ends_at)
        while (left_s := deadline - self._clock()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._pool.changed()
            except TimeoutError:
                break
            if endpoint := self._choose(ask, tried):
                return endpoint
        raise refusals.replicas_unavailable(ask.model)

    def _observe(self, endpoint: Endpoint, seconds: float, is_ok: bool) -> None:
        """Be told how an attempt went: time to the first byte, and whether there was one."""

    def _lost(self, stream: Connection, endpoint: Endpoint) -> None:
        self._pool.report_lost(endpoint)
        self._observe(endpoint, 0.0, False)
        self._end(stream, endpoint)

    def _end(self, stream: Connection, endpoint: Endpoint) -> None:
        self._upstream.end(stream)
        self._release(endpoint)

    def _release(self, endpoint: Endpoint) -> None:
        left = self._in_flight[endpoint] - 1
        if left:
            self._in_flight[endpoint] = left
        else:
            del self._in_flight[endpoint]  # endpoints come and go; counts of those gone must not pile up


def _going_on(ask: Ask, so_far: answers.Said, lost: Endpoint) -> Ask:
    """What to ask another replica for. Raises `ApiError` where nobody could go on."""
    if not so_far.words:
        return ask
    if not (lost.can_resume and so_far.is_readable):
        raise refusals.answer_broken_off(ask.model)
    return replace(ask, body=going_on_behind(ask.body, so_far.words), is_begun=True)
