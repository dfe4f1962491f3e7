"""A gateway worker's end of the line to the main process: the fleet as it was last told, and questions to all workers.

It is a `Pool` like the fleet itself, so the gateway does not know the difference. A change of the fleet is here within
a millisecond; figures of replicas are a second old at most. When the main process is gone, so is this one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from tulou.core.errors import ServiceError
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.service.gateway.exposition import Family, exposed, of_worker, snapshot
from tulou.service.gateway.live import Live
from tulou.service.gateway.policy.rollout import Variant
from tulou.service.line import Line
from tulou.service.pool import Endpoint, ReplicaStatus
from tulou.service.scaling import Scaling

TELL_EVERY_S = 0.2
METRICS_EVERY = 10  # tellings
GATHER_S = 3.0
START_S = 30.0


class State(Struct):
    """What the main process tells its workers."""

    ready: dict[str, list[Endpoint]] = {}
    models: dict[str, ModelManifest] = {}
    variants: dict[str, list[Variant]] = {}  # of models that are rolled out
    status: list[ReplicaStatus] = []
    in_flight: dict[str, int] = {}  # requests at each replica, of all workers together
    scalings: list[Scaling] = []


class LinkedPool:
    """`models` is filled with what is served, and kept up to date; hand the same dictionary to the switchboard."""

    def __init__(self, sock: socket.socket, models: dict[str, ModelManifest], metrics: Metrics) -> None:
        self._sock = sock
        self._models = models
        self._metrics = metrics
        self._line = Line(self._hear)
        self._state = State()
        self._ready: dict[str, tuple[Endpoint, ...]] = {}
        self._changed = asyncio.Event()
        self._told = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._live = Live()
        self._load: Callable[[], Mapping[str, int]] = dict
        self._waiting: Callable[[], Mapping[str, int]] = dict
        self.switch: Callable[[str, Sequence[Variant]], None] = lambda _model, _variants: None

    def report(
        self, live: Live, load: Callable[[], Mapping[str, int]], waiting: Callable[[], Mapping[str, int]] = dict
    ) -> None:
        """What to tell the main process of: live figures, requests under way by replica, and waiting by model."""
        self._live, self._load, self._waiting = live, load, waiting

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._line.open(self._sock)
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._tell_regularly())]
        async with asyncio.timeout(START_S):
            await self._told.wait()

    async def stop(self) -> None:
        self._line.say("metrics", of_worker(snapshot(self._metrics.registry)))  # the last word
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def ready(self, model: str) -> Sequence[Endpoint]:
        return self._ready.get(model, ())

    async def changed(self) -> None:
        await self._changed.wait()

    def report_lost(self, endpoint: Endpoint) -> None:
        self._line.say("lost", endpoint)

    def status(self) -> list[ReplicaStatus]:
        return self._state.status

    def in_flight(self) -> Mapping[str, int]:
        return self._state.in_flight

    def scalings(self) -> list[Scaling]:
        return self._state.scalings

    def say_ready(self) -> None:
        """Tell the main process that this worker answers."""
        self._line.say("ready")

    async def exposition(self) -> bytes:
        """The metrics of all workers and of the main process, together."""
        answer = await self._line.ask("metrics?", GATHER_S)
        return exposed(msgspec.json.decode(answer, type=list[Family]))

    def live(self) -> Live:
        """The live figures of all workers together. Waits; call it from a thread."""
        if self._loop is None:
            raise ServiceError("the worker has no line to the main process yet")
        asking = asyncio.run_coroutine_threadsafe(self._line.ask("live?", GATHER_S), self._loop)
        return self._live.with_those_of(msgspec.json.decode(asking.result(GATHER_S)))

    def _hear(self, kind: str, value: Raw) -> Any:
        return {"state": self._take_state, "metrics?": self._tell_metrics, "live?": self._tell_live}[kind](value)

    def _take_state(self, value: Raw) -> None:
        before, self._state = self._state, msgspec.json.decode(value, type=State)
        self._ready = {model: tuple(endpoints) for model, endpoints in self._state.ready.items()}
        self._models.update(self._state.models)
        for model, variants in self._state.variants.items():
            if variants != before.variants.get(model):
                self.switch(model, variants)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._told.set()

    async def _tell_metrics(self, _value: Raw) -> list[Family]:
        return of_worker(snapshot(self._metrics.registry))

    async def _tell_live(self, _value: Raw) -> list[Any]:
        return self._live.seen()

    async def _follow(self) -> None:
        await self._line.follow()
        os.kill(os.getpid(), signal.SIGINT)  # the main process is gone, and its replicas are going

    async def _tell_regularly(self) -> None:
        tellings = 0
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            self._line.say("load", dict(self._load()))
            self._line.say("waiting", dict(self._waiting()))
            tellings += 1
            if tellings % METRICS_EVERY == 0:
                self._line.say("metrics", of_worker(snapshot(self._metrics.registry)))
