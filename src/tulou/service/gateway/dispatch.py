"""From one replica to the next until there is an answer; where to, and whether at all, `policy.steering` decides.

Nothing of a whole answer has reached the client before it is complete, so it may be asked for anew. A stream goes to
another replica before its first words; later, another one is given the words already sent as the beginning and
continues behind them, so the client sees one unbroken answer, greedy or sampled. To ask anew and skip what was sent
would cost more and fail now and then: in low precision, even a greedy answer depends a little on what is computed
beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from tulou.core.errors import ServiceError
from tulou.service.gateway import answers, refusals
from tulou.service.gateway.asking import explanation, worded
from tulou.service.gateway.entry import FALLBACK, INSTEAD, Entry
from tulou.service.gateway.peek import asking_for_model, going_on_behind
from tulou.service.gateway.policy.steering import Steering
from tulou.service.gateway.upstream import Connection, OutOfTime, ReplicaLost, Upstream, Whole
from tulou.service.pool import Endpoint, Pool

PATIENCE_S = 10.0  # for a replica to come back, when none is ready

logger = logging.getLogger(__name__)


class Ask(Struct, eq=False):
    """What is asked of a model's replicas, whoever asks."""

    model: str
    path: str
    body: bytes
    is_streamed: bool
    entry: Entry
    ends_at: float  # by `time.monotonic`: the deadline of everything
    conversation: str | None = None
    versions: Sequence[str] = ()  # of the model, the one that the rollout chose first
    is_begun: bool = False  # the body holds the beginning of an answer, which is to be continued
    permitted: frozenset[str] | None = None  # models that may answer; None: all


Events = AsyncGenerator[bytes, None]
"""A stream's answer, some whole events at a time. Close it, and the replica stops working."""


class Dispatch:
    def __init__(
        self,
        pool: Pool,
        upstream: Upstream,
        steering: Steering,
        timeout_s: float = 60.0,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        ejected: Callable[[str], None] = lambda _model: None,
    ) -> None:
        self._pool = pool
        self._upstream = upstream
        self._steering = steering
        self._in_flight: dict[Endpoint, int] = {}  # idle ones are left out
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._clock = clock
        self._ejected = ejected  # is told the model of each replica that is left alone

    def in_flight(self) -> dict[str, int]:
        """Requests that each replica is answering now, by its name; idle ones are left out."""
        counts: Counter[str] = Counter()
        for endpoint, count in self._in_flight.items():
            counts[endpoint.name] += count
        return dict(counts)

    def ask(self, ask: Ask) -> Awaitable[Whole | Events]:
        """A whole answer, or the events of a stream that has begun; refusals of the replica are whole answers.

        Raises `ApiError` where no replica answers, or not in time.
        """
        self._steering.budget.request()
        names = self._steering.models(ask.model)
        if len(names) == 1:
            return self._ask(ask, ask.model, self._patience_s)
        return self._ask_in_turn(ask, self._who_can(ask, names))

    async def _ask_in_turn(self, ask: Ask, names: Sequence[str]) -> Whole | Events:
        for name in names[:-1]:  # with another model behind it, one is not waited for
            with contextlib.suppress(refusals.ModelUnavailable):
                answer = await self._ask(ask, name, 0.0)
                if not isinstance(answer, Whole) or answer.status < 500:
                    return answer
        return await self._ask(ask, names[-1], self._patience_s)

    async def _ask(self, ask: Ask, model: str, patience_s: float) -> Whole | Events:
        if model != ask.model:
            ask = _in_place_of(ask, model)
        tried: list[Endpoint] = []
        answered = await self._answered(ask, tried, patience_s)
        return answered if isinstance(answered, Whole) else self._events(ask, answered, tried)

    async def ask_once(self, ask: Ask) -> Whole | Events:
        """One attempt at one replica of the first of `versions`. Raises `ApiError` where that gives no answer."""
        ready = self._pool.ready(ask.model)
        of_this = [endpoint for endpoint in ready if endpoint.version == ask.versions[0]]
        if not of_this:
            raise refusals.replicas_unavailable(ask.model)
        tried: list[Endpoint] = []
        endpoint = self._steering.choose(ask.model, of_this, self._in_flight, ask.conversation, ask.body)
        self._note(ask, endpoint, tried)
        answered = await self._attempt(endpoint, ask)
        if answered is None:
            raise refusals.replicas_unavailable(ask.model)
        return answered if isinstance(answered, Whole) else self._events(ask, answered, tried)

    def _who_can(self, ask: Ask, names: Sequence[str]) -> Sequence[str]:
        """The models to ask, one if another cannot; the one that was asked for, should none be able to answer now."""
        may_answer = [name for name in names if ask.permitted is None or name in ask.permitted]
        return [name for name in may_answer if self._steering.can_answer(self._pool.ready(name))] or [ask.model]

    async def _answered(self, ask: Ask, tried: list[Endpoint], patience_s: float) -> Whole | Connection:
        """Replicas are tried one after another, none twice, until one has answered or begun to."""
        failed: Whole | None = None
        while not tried or await self._may_retry(len(tried)):
            endpoint = self._choose(ask, tried)
            if endpoint is None and failed is None:
                endpoint = await self._wait_for_one(ask, tried, patience_s)
            if endpoint is None:
                break
            self._note(ask, endpoint, tried)
            answered = await self._attempt(endpoint, ask)
            if isinstance(answered, Whole) and answered.status >= 500:
                failed = answered
            elif answered is not None:
                return answered
        if failed is not None:
            return failed  # in the replica's own words
        raise refusals.replicas_unavailable(ask.model)

    async def _attempt(self, endpoint: Endpoint, ask: Ask) -> Whole | Connection | None:
        """One attempt at one replica; None where it was lost. That the client left says nothing about the replica."""
        began, answered = self._clock(), None
        failure: ServiceError | None = None
        try:
            body = asking_for_model(ask.body, endpoint.served_as) if endpoint.served_as else ask.body
            heard = await self._upstream.ask(endpoint, ask.path, body, ask.entry.id, ask.is_streamed, ask.ends_at)
            if isinstance(heard, Whole):
                _judge(heard, endpoint, ask.entry)
                if heard.status >= 500:
                    failure = ReplicaLost(f"it answered with status {heard.status}")
            answered = heard
        except ReplicaLost as lost:
            failure = lost
            self._pool.report_lost(endpoint)
        except OutOfTime as late:
            failure = late
            raise refusals.timed_out(self._timeout_s) from None
        finally:
            if not isinstance(answered, Connection):
                self._release(endpoint)
            if failure is not None:
                self._failed(endpoint, self._clock() - began, failure)
            elif answered is not None:
                self._steering.answered(endpoint, self._clock() - began)
                if isinstance(answered, Whole):
                    self._steering.ended(endpoint)
        return answered

    async def _may_retry(self, retry: int) -> bool:
        pause_s = self._steering.pause_before(retry)
        if pause_s is None:
            return False
        await asyncio.sleep(pause_s)
        return True

    def _note(self, ask: Ask, endpoint: Endpoint, tried: list[Endpoint]) -> None:
        entry = ask.entry
        entry.replica, entry.retries = endpoint.name, len(tried)
        if endpoint.version:
            entry.model_version = endpoint.version
        if tried and tried[-1].version != endpoint.version and not entry.variant:
            entry.variant = INSTEAD + tried[-1].version  # or a version that fails would be judged by what it did not
        tried.append(endpoint)
        self._in_flight[endpoint] = self._in_flight.get(endpoint, 0) + 1

    async def _events(self, ask: Ask, first: Connection, tried: list[Endpoint]) -> Events:
        said = answers.Transcript()
        stream: Connection | None = first
        try:
            while stream is not None and not said.has_ended:
                try:
                    events = await self._next(stream)
                except ReplicaLost as lost:
                    self._lost(stream, tried[-1], lost)
                    stream = None
                    so_far = said.read()
                    if so_far.is_finished:
                        yield answers.DONE
                        return
                    stream = await self._stream(_going_on(ask, so_far, tried[-1]), tried)
                    continue
                if stream is not first and said.last:
                    events = answers.without_opening(events)
                if events:
                    said.add(events)
                    yield events
            if stream is not None:
                if answers.tells_error(said.last):
                    self._failed(tried[-1], 0.0, ReplicaLost("it told an error in the middle of its answer"))
                else:
                    self._steering.ended(tried[-1])
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
        answered = await self._answered(ask, tried, self._patience_s)
        if isinstance(answered, Whole):
            raise worded(answered)
        return answered

    def _choose(self, ask: Ask, tried: Sequence[Endpoint]) -> Endpoint | None:
        """The replica to try next; None where none is ready."""
        ready = self._pool.ready(ask.model)
        if ask.is_begun:
            ready = [endpoint for endpoint in ready if endpoint.can_resume]
        candidates = self._steering.candidates(ask.model, ready, ask.versions, tried)
        if not candidates:
            return None
        return self._steering.choose(ask.model, candidates, self._in_flight, ask.conversation, ask.body)

    async def _wait_for_one(self, ask: Ask, tried: Sequence[Endpoint], patience_s: float) -> Endpoint | None:
        """Wait for a replica to come; None where none does within the patience we have."""
        deadline = min(self._clock() + patience_s, ask.ends_at)
        while (left_s := deadline - self._clock()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._pool.changed()
            except TimeoutError:
                break
            if endpoint := self._choose(ask, tried):
                return endpoint
        return None

    def _failed(self, endpoint: Endpoint, seconds: float, why: ServiceError) -> None:
        if self._steering.failed(endpoint, seconds):
            logger.warning("replica %s at %s is left alone for a while: %s", endpoint.name, endpoint.url, why)
            self._ejected(endpoint.model)

    def _lost(self, stream: Connection, endpoint: Endpoint, why: ReplicaLost) -> None:
        self._pool.report_lost(endpoint)
        self._failed(endpoint, 0.0, why)
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


def _judge(answered: Whole, endpoint: Endpoint, entry: Entry) -> None:
    """Note the tokens it tells of. Raises `ReplicaLost` where it is no answer that a client could be given."""
    if answered.status < 300:
        usage = answers.usage_of(answered.body)
        entry.prompt_tokens, entry.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        return
    if answered.status in (401, 403):  # of our key or without one: no client's key goes to a replica
        raise ReplicaLost(f"{endpoint.name} does not let the gateway in: status {answered.status}")
    is_explained = explanation(answered) is not None
    if answered.status == 503 or (answered.status >= 500 and not is_explained):
        raise ReplicaLost(f"{endpoint.name} answers with status {answered.status}")
    if not is_explained:
        raise refusals.unexplained(answered.status)


def _in_place_of(ask: Ask, model: str) -> Ask:
    """The same question to another model; its own versions are not rolled out to those who asked for this one."""
    ask.entry.variant = FALLBACK + model
    return replace(ask, model=model, body=asking_for_model(ask.body, model), versions=())


def _going_on(ask: Ask, so_far: answers.Said, lost: Endpoint) -> Ask:
    """What to ask another replica for. Raises `ApiError` where nobody could go on."""
    if not so_far.words:
        return ask
    if not (lost.can_resume and so_far.is_readable):
        raise refusals.answer_broken_off(ask.model)
    return replace(ask, body=going_on_behind(ask.body, so_far.words), is_begun=True)
