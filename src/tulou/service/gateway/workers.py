"""Gateway workers: processes that share one port, while the fleet stays in the main process.

Each worker accepts on a socket of its own and the kernel spreads connections over them (SO_REUSEPORT). The main process
holds these sockets too, so that connections that came while a worker is started again are answered by it. It tells the
workers what is ready and sums up what they measure. What each worker keeps in its own memory (caches, in-memory limits)
is not shared between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from asyncio import FIRST_COMPLETED
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from tulou.core.errors import ServiceError
from tulou.core.service_settings import ServiceSettings
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.service.gateway.exposition import Family, lasting, merge, note_states, snapshot
from tulou.service.gateway.linked import State
from tulou.service.gateway.policy.rollout import Variant, VariantTable
from tulou.service.gateway.server import BACKLOG, claim_port, until_signal
from tulou.service.line import Line, LineEnded
from tulou.service.pool import Endpoint, Pool
from tulou.service.scaling import Scaling
from tulou.service.supervise import STEADY_AFTER_S, pause_s, rotate

PUSH_EVERY_S = 1.0  # without a change
ASK_S = 2.0
START_S = 60.0
STOP_GRACE_S = 3.0  # beyond the time that answers have to finish
HUNG_S = 30.0  # of silence of a worker that says something five times a second

logger = logging.getLogger(__name__)

Command = Callable[[int, int], Sequence[str]]
"""What starts worker NUMBER, which accepts on the socket with file descriptor FD and has its line as standard input."""


def shared_port(settings: ServiceSettings, count: int) -> list[socket.socket]:
    """`count` sockets that listen on one port. Raises `ServiceError` where the port is taken."""
    with claim_port(settings) as claimed:  # alone first, or two services could share a port without knowing
        family, address = claimed.family, claimed.getsockname()[:2]
    sockets = []
    for _ in range(count):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


class _Worker:
    def __init__(self, number: int, sock: socket.socket, workers: Workers) -> None:
        self.number = number
        self.sock = sock
        self.process: asyncio.subprocess.Process | None = None
        self.line = Line(self._hear)
        self.is_ready = asyncio.Event()
        self.load: dict[str, int] = {}  # requests under way, by replica
        self.waiting: dict[str, int] = {}  # for a replica, by model
        self.metrics: list[Family] = []
        self.young_deaths = 0
        self.heard_at = 0.0
        self.silent_looks = 0
        self._workers = workers

    def is_hung(self, now: float) -> bool:
        """To be asked regularly: after a pause of this process itself, what was said meanwhile is heard first."""
        self.silent_looks += 1
        return self.is_ready.is_set() and self.silent_looks > 3 and now - self.heard_at > HUNG_S

    def _hear(self, kind: str, value: Raw) -> Any:
        self.heard_at, self.silent_looks = time.monotonic(), 0
        take = {
            "ready": self._take_ready,
            "load": self._take_load,
            "waiting": self._take_waiting,
            "metrics": self._take_metrics,
            "lost": self._take_lost,
            "metrics?": self._workers.all_metrics,
            "live?": self._workers.all_live,
        }[kind]
        return take(self, value)

    def _take_ready(self, _worker: _Worker, _value: Raw) -> None:
        self.is_ready.set()

    def _take_load(self, _worker: _Worker, value: Raw) -> None:
        self.load = msgspec.json.decode(value, type=dict[str, int])

    def _take_waiting(self, _worker: _Worker, value: Raw) -> None:
        self.waiting = msgspec.json.decode(value, type=dict[str, int])

    def _take_metrics(self, _worker: _Worker, value: Raw) -> None:
        self.metrics = msgspec.json.decode(value, type=list[Family])

    def _take_lost(self, _worker: _Worker, value: Raw) -> None:
        self._workers.pool.report_lost(msgspec.json.decode(value, type=Endpoint))


class Workers:
    """Starts the workers, starts again those that end, and keeps them told."""

    def __init__(
        self,
        pool: Pool,
        models: dict[str, ModelManifest],
        sockets: Sequence[socket.socket],
        command: Command,
        metrics: Metrics,
        logs_dir: Path,
        scalings: Callable[[], Sequence[Scaling]] = tuple,
    ) -> None:
        self.pool = pool
        self._models = models
        self._command = command
        self._metrics = metrics
        self._logs_dir = logs_dir
        self._scalings = scalings
        self._workers = [_Worker(number, sock, self) for number, sock in enumerate(sockets)]
        self._variants = VariantTable()
        self._retired: list[Family] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = False

    def in_flight(self) -> dict[str, int]:
        """Requests under way at each replica, of all workers."""
        return _added(each.load for each in self._workers)

    def waiting(self) -> dict[str, int]:
        """Requests that wait for a replica of each model, at all workers."""
        return _added(each.waiting for each in self._workers)

    async def start(self) -> None:
        self._logs_dir.mkdir(parents=True, exist_ok=True)
        self._tasks = [asyncio.create_task(self._keep_up(each)) for each in self._workers]
        self._tasks.append(asyncio.create_task(self._push_regularly()))

    async def wait_ready(self) -> None:
        """Raises `ServiceError` when a worker does not come up."""
        try:
            async with asyncio.timeout(START_S):
                for each in self._workers:
                    await each.is_ready.wait()
        except TimeoutError:
            raise ServiceError(f"a gateway worker does not come up; see the logs in {self._logs_dir}") from None

    async def stop(self, drain_s: float | None = None) -> None:
        """End the workers: after a moment, or let answers finish for up to `drain_s`; a further signal ends that."""
        self._is_stopping = True
        running = [each.process for each in self._workers if each.process and each.process.returncode is None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT if drain_s is None else signal.SIGTERM)
        ended, hurried = asyncio.create_task(_all_ended(running)), asyncio.create_task(_signalled())
        await asyncio.wait({ended, hurried}, timeout=STOP_GRACE_S + (drain_s or 0.0), return_when=FIRST_COMPLETED)
        for waiting in (ended, hurried):
            waiting.cancel()
        await asyncio.gather(ended, hurried, return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in running:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def set_variants(self, model: str, variants: Sequence[Variant], manifest: ModelManifest) -> None:
        """Let these versions of a model answer at all workers, from the next request on."""
        self._variants.set(model, variants)
        self._models[model] = manifest
        self.push()

    def push(self) -> None:
        """Tell all workers how things stand now."""
        models = self._models
        state = State(
            {model: list(self.pool.ready(model)) for model in models},
            models,
            {model: list(row) for model, row in self._variants.rows().items()},
            self.pool.status(),
            self.in_flight(),
            list(self._scalings()),
        )
        for each in self._workers:
            each.line.say("state", state)

    async def all_metrics(self, _worker: _Worker, _value: Raw) -> list[Family]:
        note_states(self._metrics, self.pool.status())
        answers = await self._ask_all("metrics?")
        for each, answer in answers:
            each.metrics = msgspec.json.decode(answer, type=list[Family])
        return merge([snapshot(self._metrics.registry), self._retired, *(each.metrics for each in self._workers)])

    async def all_live(self, asker: _Worker, _value: Raw) -> list[list[Any]]:
        """What the others have seen; the asker knows its own."""
        return [msgspec.json.decode(answer) for each, answer in await self._ask_all("live?") if each is not asker]

    async def _ask_all(self, kind: str) -> list[tuple[_Worker, Raw]]:
        """Answers of those that answer."""
        answers = await asyncio.gather(*(each.line.ask(kind, ASK_S) for each in self._workers), return_exceptions=True)
        known = (LineEnded, TimeoutError)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, known):
                raise answer
        return [
            (each, answer)
            for each, answer in zip(self._workers, answers, strict=True)
            if not isinstance(answer, BaseException)
        ]

    async def _push_regularly(self) -> None:
        while True:
            self._kill_hung()
            self.push()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PUSH_EVERY_S):
                    await self.pool.changed()

    def _kill_hung(self) -> None:
        """Connections that the kernel gives to a worker that hangs would wait, and so would what it is told."""
        for each in self._workers:
            if each.process is not None and each.process.returncode is None and each.is_hung(time.monotonic()):
                logger.error("gateway worker %d has said nothing for %g s and is killed", each.number, HUNG_S)
                each.process.kill()

    async def _keep_up(self, worker: _Worker) -> None:
        while True:
            began = time.monotonic()
            try:
                code: int | str = await self._run(worker)
            except OSError as err:
                code = str(err)
            if self._is_stopping:
                return
            self._retired = merge([self._retired, lasting(worker.metrics)])
            worker.metrics, worker.load, worker.waiting = [], {}, {}
            worker.is_ready.clear()
            lived_s = time.monotonic() - began
            worker.young_deaths = 0 if lived_s > STEADY_AFTER_S else worker.young_deaths + 1
            wait_s = pause_s(worker.young_deaths)
            logger.warning("gateway worker %d ended (%s); starting it again in %g s", worker.number, code, wait_s)
            await asyncio.sleep(wait_s)

    async def _run(self, worker: _Worker) -> int:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        log = self._logs_dir / f"gateway-{worker.number}.log"
        rotate(log)
        try:
            with log.open("ab") as file:
                worker.process = await asyncio.create_subprocess_exec(
                    *self._command(worker.number, worker.sock.fileno()),
                    stdin=theirs.fileno(),
                    stdout=file,
                    stderr=file,
                    pass_fds=(worker.sock.fileno(),),
                    env=dict(os.environ),
                    start_new_session=True,  # Ctrl-C in the terminal is for the main process, which stops them in order
                )
        finally:
            theirs.close()
        await worker.line.open(ours)
        following = asyncio.create_task(worker.line.follow())
        try:
            self.push()
            return await worker.process.wait()
        finally:
            worker.line.close()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _all_ended(processes: Iterable[asyncio.subprocess.Process]) -> None:
    await asyncio.gather(*(process.wait() for process in processes))


async def _signalled() -> None:
    await until_signal()


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)
