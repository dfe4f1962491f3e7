"""The fleet: replica processes on this machine, started, watched, and started again when they end.

Each replica has a supervisor task: start, wait for the report that it listens, watch process and health, and begin
anew with growing pauses. The first restart is immediate, for a process that was killed; one that keeps dying young is
called a crash loop, told with the last line of its log, and tried ever more seldom. Memory is the price: every replica
holds its own copy of the model (its file pages are shared).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from tulou.core.errors import ServiceError
from tulou.core.telemetry import Metrics
from tulou.service.pool import Endpoint, ReplicaStatus

START_TIMEOUT_S = 120.0  # a large model read from a cold disk
STEADY_AFTER_S = 10.0  # a replica that lived this long is started again at once
CRASH_LOOP_AFTER = 5  # young deaths in a row
CRASH_LOOP_AT_START = 2  # the same, for a replica that has never been ready: what is wrong is wrong from the beginning
MAX_PAUSE_S = 30.0
PROBE_EVERY_S = 2.0
PROBE_TIMEOUT_S = 5.0
PROBES_FAILED = 3  # in a row, until a replica counts as hung and is killed
STOP_GRACE_S = 1.5
MAX_LOG_BYTES = 10 << 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReplicaSpec:
    """One replica to keep running."""

    name: str
    model: str
    folder: Path
    threads: int = 1


def specs_for(folders: Mapping[str, Path], replicas: int, threads: int = 1) -> list[ReplicaSpec]:
    """`replicas` of every model, named MODEL-0, MODEL-1, ..."""
    return [
        ReplicaSpec(f"{model}-{index}", model, folder, threads)
        for model, folder in folders.items()
        for index in range(replicas)
    ]


def is_crash_loop(young_deaths: int, was_ever_ready: bool) -> bool:
    return young_deaths >= (CRASH_LOOP_AFTER if was_ever_ready else CRASH_LOOP_AT_START)


def pause_s(young_deaths: int) -> float:
    """How long to wait before starting a replica that died young so many times in a row."""
    return 0.0 if young_deaths <= 1 else min(0.5 * 2.0 ** (young_deaths - 2), MAX_PAUSE_S)


@dataclass
class _Replica:
    spec: ReplicaSpec
    log: Path
    state: str = "stopped"
    process: asyncio.subprocess.Process | None = None
    line: socket.socket | None = None  # our end of the line; closing it ends the replica
    endpoint: Endpoint | None = None
    port: int | None = None
    started_at: float | None = None
    restarts: int = 0
    young_deaths: int = 0
    was_ever_ready: bool = False
    last_exit: str | None = None
    suspected: asyncio.Event = field(default_factory=asyncio.Event)
    seen: psutil.Process | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None


class Fleet:
    """A `Pool` of local processes. `start` returns at once; `wait_ready` waits."""

    def __init__(
        self, specs: Sequence[ReplicaSpec], logs_dir: Path, metrics: Metrics | None = None, python: str = sys.executable
    ) -> None:
        self._replicas = [_Replica(spec, logs_dir / f"{spec.name}.log") for spec in specs]
        self._metrics = metrics
        self._python = python
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        if self._tasks:
            return
        for replica in self._replicas:
            replica.log.parent.mkdir(parents=True, exist_ok=True)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S))
        self._tasks = [asyncio.create_task(self._supervise(replica)) for replica in self._replicas]

    async def stop(self) -> None:
        """Ask every replica to stop, and kill those that have not within `STOP_GRACE_S`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await asyncio.gather(*(self._end(replica) for replica in self._replicas))
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when every replica is ready.

        Raises `ServiceError` with the reason in the replica's own words when one crash-loops, or when the time is over.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not all(replica.state == "ready" for replica in self._replicas):
                    if broken := next((each for each in self._replicas if each.state == "crash_loop"), None):
                        raise ServiceError(
                            f"replica {broken.spec.name} does not stay up: {broken.last_exit}; its log is {broken.log}"
                        )
                    await self.changed()
        except TimeoutError:
            late = ", ".join(each.spec.name for each in self._replicas if each.state != "ready")
            raise ServiceError(f"not ready after {timeout_s:g} s: {late}; see the logs in {self._logs_dir}") from None

    def ready(self, model: str) -> Sequence[Endpoint]:
        return [each.endpoint for each in self._replicas if each.endpoint is not None and each.spec.model == model]

    async def changed(self) -> None:
        await self._changed.wait()

    def report_lost(self, endpoint: Endpoint) -> None:
        """A request lost this endpoint: look after it now instead of at the next probe."""
        for replica in self._replicas:
            if replica.endpoint == endpoint:
                replica.suspected.set()

    def status(self) -> list[ReplicaStatus]:
        return [_status_of(replica) for replica in self._replicas]

    @property
    def _logs_dir(self) -> Path:
        return self._replicas[0].log.parent if self._replicas else Path()

    def _set(self, replica: _Replica, state: str) -> None:
        replica.state = state
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _supervise(self, replica: _Replica) -> None:
        while True:
            self._set(replica, "restarting" if replica.restarts else "starting")
            try:
                await self._start(replica)
                replica.was_ever_ready = True
                self._set(replica, "ready")
                logger.info("replica %s is ready: process %s, port %s", replica.spec.name, replica.pid, replica.port)
                await self._watch(replica)
            except _Ended as ended:
                replica.last_exit = str(ended)
            except (OSError, ValueError) as err:  # no memory, file handles or disk for one more process; it may pass
                replica.last_exit = f"could not be started: {err}"
            replica.endpoint = None
            await self._end(replica, grace_s=0)
            lived_s = time.time() - (replica.started_at or 0)
            replica.young_deaths = 0 if lived_s > STEADY_AFTER_S else replica.young_deaths + 1
            replica.restarts += 1
            if self._metrics is not None:
                self._metrics.restarts.labels(replica.spec.model).inc()
            wait_s = pause_s(replica.young_deaths)
            is_looping = is_crash_loop(replica.young_deaths, replica.was_ever_ready)
            self._set(replica, "crash_loop" if is_looping else "restarting")
            logger.warning("replica %s: %s; starting it again in %g s", replica.spec.name, replica.last_exit, wait_s)
            await asyncio.sleep(wait_s)

    async def _start(self, replica: _Replica) -> None:
        """Start the process and wait until it listens. Raises `_Ended` if it never does."""
        spec = replica.spec
        ours, theirs = socket.socketpair()
        replica.line = ours
        ours.setblocking(False)
        command = [self._python, "-m", "tulou.service.replica", "--folder", str(spec.folder), "--model", spec.model]
        command += ["--name", spec.name, "--threads", str(spec.threads), "--parent-fd", "0"]
        _rotate(replica.log)
        replica.suspected.clear()
        replica.started_at = time.time()
        try:
            with replica.log.open("ab") as log:
                replica.process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=theirs.fileno(),
                    stdout=log,
                    stderr=log,
                    env=os.environ | {"OMP_NUM_THREADS": str(spec.threads), "TOKENIZERS_PARALLELISM": "false"},
                    start_new_session=True,  # Ctrl-C in the terminal is for us alone; we stop the fleet in order
                )
        finally:
            theirs.close()
        report = await self._report(replica, ours)
        replica.port = report["port"]
        replica.endpoint = Endpoint(spec.name, spec.model, f"http://127.0.0.1:{replica.port}", can_resume=True)

    async def _report(self, replica: _Replica, line: socket.socket) -> dict[str, int]:
        """What the replica says once it listens: `{"port": 41235, "pid": 77}`."""
        loop = asyncio.get_running_loop()
        received = b""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not received.endswith(b"\n"):
                    chunk = await loop.sock_recv(line, 4096)
                    if not chunk:
                        raise _Ended(await _how_it_ended(replica))
                    received += chunk
        except TimeoutError:
            raise _Ended(f"did not get ready within {START_TIMEOUT_S:g} s") from None
        except ConnectionError:
            raise _Ended(await _how_it_ended(replica)) from None
        report: dict[str, int] = json.loads(received)
        if "error" in report:
            raise _Ended(str(report["error"]))
        return report

    async def _watch(self, replica: _Replica) -> None:
        """Return never; raise `_Ended` when the process ends or hangs."""
        if replica.process is None:
            raise _Ended("was never started")
        ended = asyncio.ensure_future(replica.process.wait())
        probing = asyncio.ensure_future(self._probe(replica))
        try:
            await asyncio.wait({ended, probing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ended, probing):
                task.cancel()
            await asyncio.gather(ended, probing, return_exceptions=True)
        if replica.process.returncode is None:
            raise _Ended(f"hung: {PROBES_FAILED} health checks in a row got no answer")
        raise _Ended(await _how_it_ended(replica))

    async def _probe(self, replica: _Replica) -> None:
        """Return when health checks have failed so often that the replica must be taken for hung."""
        failed = 0
        while failed < PROBES_FAILED:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(replica.suspected.wait(), PROBE_EVERY_S)
            was_suspected = replica.suspected.is_set()
            replica.suspected.clear()
            failed = 0 if await self._is_alive(replica) else failed + 1
            if was_suspected:
                await asyncio.sleep(0.1)  # many requests may suspect it at once

    async def _is_alive(self, replica: _Replica) -> bool:
        if self._session is None or replica.endpoint is None:
            return False
        try:
            async with self._session.get(replica.endpoint.url + "/healthz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _end(self, replica: _Replica, grace_s: float = STOP_GRACE_S) -> None:
        process, line = replica.process, replica.line
        replica.endpoint = replica.port = replica.line = None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM if grace_s else signal.SIGKILL)
            try:
                await asyncio.wait_for(process.wait(), grace_s or None)
            except TimeoutError:
                logger.warning("replica %s did not stop within %g s and is killed", replica.spec.name, grace_s)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if line is not None:
            line.close()
        replica.state = "stopped"


class _Ended(Exception):  # noqa: N818 -- how a replica came to its end, in words
    pass


async def _how_it_ended(replica: _Replica) -> str:
    if replica.process is None:
        return "was never started"
    code = await replica.process.wait()
    if code < 0:
        return f"was killed by signal {signal.Signals(-code).name}"
    last = _last_line(replica.log)
    return f"ended with exit code {code}" + (f": {last}" if last else "")


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))


def _status_of(replica: _Replica) -> ReplicaStatus:
    rss_bytes, cpu_percent = 0, 0.0
    if replica.pid is not None:
        with contextlib.suppress(psutil.Error):
            if replica.seen is None or replica.seen.pid != replica.pid:
                replica.seen = psutil.Process(replica.pid)
            rss_bytes, cpu_percent = replica.seen.memory_info().rss, replica.seen.cpu_percent()
    return ReplicaStatus(
        name=replica.spec.name,
        model=replica.spec.model,
        state=replica.state,
        pid=replica.pid,
        port=replica.port,
        restarts=replica.restarts,
        rss_bytes=rss_bytes,
        cpu_percent=cpu_percent,
        started_at=replica.started_at if replica.pid else None,
        last_exit=replica.last_exit,
    )
