"""One request on its way through the gateway, and the patrol that looks after all of them.

Neither a task nor a timer is made for a request: ten times a second the patrol looks at those that are under way. One
that takes longer than that gets a watcher, which ends it when its client leaves; one whose body does not come, or whose
client does not take its answer, is ended.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from tulou.core.service_settings import ServiceSettings
from tulou.core.types import ModelManifest
from tulou.service.gateway import refusals
from tulou.service.gateway.dispatch import Events
from tulou.service.gateway.entry import Entry
from tulou.service.gateway.operations import Operation
from tulou.service.gateway.peek import Peeked
from tulou.service.gateway.switchboard import Switchboard
from tulou.service.gateway.upstream import Whole

if TYPE_CHECKING:
    from tulou.service.gateway.keyring import Keyring
    from tulou.service.gateway.keys import Key
    from tulou.service.gateway.limiter import Limiter, Reservation

TICK_S = 0.1
BODY_S = 30.0  # for a request's body to arrive
TAKE_S = 5.0  # beyond the time for the whole request, for a client to take what it was told last

_process = secrets.token_hex(8)
_count = itertools.count()


def next_request_id() -> str:
    """Unique among all processes, and rising within one: the accounts' index grows at its end, which is cheapest."""
    return f"req_{_process}{next(_count):016x}"


class Exchange:
    """What is known so far; a stage may rely on what the stages before it have found."""

    __slots__ = (
        "answer", "asked", "body", "cache_key", "ended_by", "entry", "has_begun", "key", "leave", "lines", "manifest",
        "model", "operation", "peeked", "receive", "request_id", "reserved", "scope", "send", "services", "started",
        "task", "versions", "watcher",
    )  # fmt: skip

    key: Key  # who asks
    peeked: Peeked  # what the gateway read of the body
    manifest: ModelManifest  # of the model asked for
    model: str  # whose replicas answer: that model, or a variant of it

    def __init__(self, services: Services, operation: Operation, scope: Scope, receive: Receive, send: Send) -> None:
        self.services = services
        self.operation = operation
        self.scope, self.receive, self.send = scope, receive, send
        self.asked: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # headers; of equal names the first counts
        self.request_id = next_request_id()
        self.started = time.monotonic()
        self.lines = b""  # of the answer's head, that stages add
        self.body: bytes | None = None
        self.entry: Entry | None = None  # in the accounts, once a model is asked
        self.reserved: Reservation | None = None  # of its key's budgets
        self.has_begun = False  # the answer has, for the client
        self.versions: Sequence[str] = ()  # of the model, in the order in which they are to be asked
        self.cache_key: tuple[bytes, str] | None = None  # under which to keep the answer, if this version gives it
        self.leave: Callable[[], None] | None = None  # gives back the place among the model's requests
        self.answer: Whole | Events | None = None
        self.task: asyncio.Task[None] | None = None  # that answers it
        self.watcher: asyncio.Task[None] | None = None
        self.ended_by: refusals.ApiError | None = None  # why it was cancelled, where that was our doing

    @property
    def conversation(self) -> str | None:
        """The id of the conversation, where the client told it."""
        return self.peeked.conversation or self.asked.get(b"x-conversation-id", b"").decode("latin-1") or None

    def end(self, reason: refusals.ApiError) -> None:
        """Stop working on it, wherever it is."""
        if self.ended_by is None and self.task is not None:
            self.ended_by = reason
            self.task.cancel()


class Patrol:
    def __init__(self, body_s: float = BODY_S) -> None:
        self._body_s = body_s
        self._under_way: set[Exchange] = set()
        self._round: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._round = asyncio.create_task(self._go_round())

    async def stop(self) -> None:
        if self._round is not None:
            self._round.cancel()
            await asyncio.gather(self._round, return_exceptions=True)

    def take(self, exchange: Exchange) -> None:
        """Look after it, called by the task that answers it."""
        exchange.task = asyncio.current_task(self._loop)  # not told the loop, it asks the system which process this is
        self._under_way.add(exchange)

    def leave(self, exchange: Exchange) -> None:
        self._under_way.discard(exchange)
        if exchange.watcher is not None:
            exchange.watcher.cancel()

    async def _go_round(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for exchange in list(self._under_way):
                waited_s = now - exchange.started
                if exchange.body is None:
                    if waited_s > self._body_s:
                        exchange.end(refusals.body_too_slow(self._body_s))
                elif waited_s > exchange.services.settings.timeout_s + TAKE_S:
                    exchange.end(refusals.client_gone())  # or as good as: it reads no more
                elif exchange.watcher is None and waited_s > TICK_S:
                    exchange.watcher = asyncio.create_task(self._watch(exchange))

    async def _watch(self, exchange: Exchange) -> None:
        while (await exchange.receive())["type"] != "http.disconnect":
            pass
        if exchange in self._under_way:
            exchange.end(refusals.client_gone())


@dataclass(frozen=True)
class Services:
    """What the stages work with."""

    settings: ServiceSettings
    switchboard: Switchboard
    keys: Keyring
    limiter: Limiter
    patrol: Patrol = field(default_factory=Patrol)
    exposition: Callable[[], Awaitable[bytes]] | None = None  # of several processes together; None: this one's metrics
