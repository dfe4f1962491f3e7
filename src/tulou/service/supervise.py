"""One replica's life: started, watched, started again when it ends, drained when it is no longer wanted.

A replica that was killed is started again at once; one that keeps dying young after growing pauses, and after a few
times it is called a crash loop and told with the last line of its log. Three probes look after it: it has started when
it says so (our own replicas on the line to us, a foreign server by its ready URL), one that fails a probe gets no
requests until it answers again, and one that fails three in a row is taken for hung and killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

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
TETHER_GRACE_S = 1.0
DRAIN_SETTLE_S = 0.3  # until everyone who chooses replicas has heard that this one is not to be chosen
DRAIN_POLL_S = 0.1
MAX_LOG_BYTES = 10 << 20
OLD_LOGS = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server:
    """Somebody else's server, started by us from a command (argument by argument, no shell) or found at a URL."""

    command: tuple[str, ...] = ()  # with {model}, {name} and {port} in it
    url: str = ""  # where it is, if it is not ours to start
    ready_path: str = "/health"
    served_as: str = ""
    authorization: str = field(default="", repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    start_timeout_s: float = START_TIMEOUT_S
    can_resume: bool = False  # it is a replica of ours that runs elsewhere


@dataclass(frozen=True)
class ReplicaSpec:
    """One replica to keep running."""

    name: str
    model: str
    folder: Path
    threads: int = 1
    cores: tuple[int, ...] = ()  # to stay on; empty: any
    version: str = ""
    server: Server | None = None  # None: one of our own


class Ended(Exception):  # noqa: N818 -- how a replica came to its end, in words
    pass


@dataclass
class Replica:
    """A replica as it is now."""

    spec: ReplicaSpec
    log: Path
    state: str = "stopped"
    process: asyncio.subprocess.Process | None = None
    line: socket.socket | None = None  # our end of the line; closing it ends the replica
    endpoint: Endpoint | None = None
    port: int | None = None
    started_at: float | None = None
    ready_changed_at: float | None = None
    restarts: int = 0
    young_deaths: int = 0
    was_ever_ready: bool = False
    is_draining: bool = False
    in_flight: int = 0  # requests, as it said itself when it was last asked
    last_exit: str | None = None
    suspected: asyncio.Event = field(default_factory=asyncio.Event)
    seen: psutil.Process | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None

    @property
    def is_ready(self) -> bool:
        return self.endpoint is not None and self.state == "ready"


Launch = Callable[[Replica], Awaitable[Endpoint]]
"""Starts the replica's process and returns when it can be asked; raises `Ended` if that never comes."""


def is_crash_loop(young_deaths: int, was_ever_ready: bool) -> bool:
    return young_deaths >= (CRASH_LOOP_AFTER if was_ever_ready else CRASH_LOOP_AT_START)


def pause_s(young_deaths: int) -> float:
    """How long to wait before starting a replica that died young so many times in a row."""
    return 0.0 if young_deaths <= 1 else min(0.5 * 2.0 ** (young_deaths - 2), MAX_PAUSE_S)


class Supervisor:
    """Keeps one replica running until it is drained or stopped. `changed` is called at every change of its state."""

    def __init__(
        self,
        replica: Replica,
        launch: Launch,
        session: aiohttp.ClientSession,
        changed: Callable[[], None],
        metrics: Metrics | None = None,
    ) -> None:
        self.replica = replica
        self._launch = launch
        self._session = session
        self._changed = changed
        self._metrics = metrics
        self._task = asyncio.create_task(self._supervise())

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Ask the replica to stop, and kill it if it has not within `grace_s`."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._end(grace_s)
        self._set("stopped")

    async def drain(self, busy: Callable[[str], int], deadline_s: float) -> None:
        """Let no more requests in, wait until those under way have ended or the deadline has passed, then stop."""
        self.replica.is_draining = True
        self._set("draining")
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.sleep(DRAIN_SETTLE_S)
                while await self._is_busy(busy):  # noqa: ASYNC110 -- another process knows, and is asked
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            logger.warning("replica %s still answers after %g s and is killed", self.replica.spec.name, deadline_s)
            await self.stop(0)  # a lost connection is tried elsewhere; what a server says when it is stopped is not
        else:
            await self.stop()

    def _set(self, state: str) -> None:
        replica = self.replica
        if replica.is_draining and state != "stopped":
            state = "draining"
        was_ready = replica.state == "ready"
        replica.state = state
        if was_ready != (state == "ready"):
            replica.ready_changed_at = time.time()
        self._changed()

    async def _supervise(self) -> None:
        replica = self.replica
        while not replica.is_draining:
            self._set("restarting" if replica.restarts else "starting")
            try:
                await self._start()
                logger.info("replica %s is ready: process %s, port %s", replica.spec.name, replica.pid, replica.port)
                await self._watch()
            except Ended as ended:
                replica.last_exit = str(ended)
            except (OSError, ValueError) as err:  # no memory, file handles or disk for one more process; it may pass
                replica.last_exit = f"could not be started: {err}"
            replica.endpoint = None
            self._set("restarting")
            await self._end(0)
            if not replica.is_draining:
                await self._pause()

    async def _start(self) -> None:
        replica = self.replica
        rotate(replica.log)
        replica.suspected.clear()
        replica.started_at = time.time()
        replica.endpoint = await self._launch(replica)
        replica.was_ever_ready = True
        self._set("ready")

    async def _pause(self) -> None:
        """Note how the replica ended and wait as long as that calls for."""
        replica = self.replica
        lived_s = time.time() - (replica.started_at or 0)
        replica.young_deaths = 0 if lived_s > STEADY_AFTER_S else replica.young_deaths + 1
        replica.restarts += 1
        if self._metrics is not None:
            self._metrics.restarts.labels(replica.spec.model).inc()
        wait_s = pause_s(replica.young_deaths)
        is_looping = is_crash_loop(replica.young_deaths, replica.was_ever_ready)
        name, ended = replica.spec.name, replica.last_exit
        if is_looping:
            logger.error("replica %s keeps crashing (%s); see %s; next try in %g s", name, ended, replica.log, wait_s)
        else:
            logger.warning("replica %s: %s; starting it again in %g s", name, ended, wait_s)
        self._set("crash_loop" if is_looping else "restarting")
        await asyncio.sleep(wait_s)

    async def _watch(self) -> None:
        """Return never; raise `Ended` when the process ends or hangs."""
        replica = self.replica
        probing = asyncio.ensure_future(self._probe())
        tasks = {probing}
        if replica.process is not None:
            tasks.add(asyncio.ensure_future(_ended(replica.process)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if replica.process is None or replica.process.returncode is None:
            raise Ended(f"hung: {PROBES_FAILED} health checks in a row got no answer")
        raise Ended(await how_it_ended(replica))

    async def _probe(self) -> None:
        """Return when health checks have failed so often that the replica must be taken for hung."""
        replica = self.replica
        failed = 0
        while failed < PROBES_FAILED:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(replica.suspected.wait(), PROBE_EVERY_S)
            was_suspected = replica.suspected.is_set()
            replica.suspected.clear()
            failed = 0 if await self._is_alive() else failed + 1
            if (failed == 0) != (replica.state == "ready") and not replica.is_draining:
                self._set("unready" if failed else "ready")
            rotate(replica.log)
            if was_suspected:
                await asyncio.sleep(0.1)  # many requests may suspect it at once

    async def _is_alive(self) -> bool:
        replica = self.replica
        if replica.endpoint is None:
            return False
        path = replica.spec.server.ready_path if replica.spec.server else "/healthz"
        headers = {"authorization": replica.endpoint.authorization} if replica.endpoint.authorization else {}
        try:
            async with self._session.get(replica.endpoint.url + path, headers=headers) as response:
                if response.status == 200 and replica.spec.server is None:
                    replica.in_flight = int((await response.json()).get("in_flight", 0))
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False

    async def _is_busy(self, busy: Callable[[str], int]) -> bool:
        """Whether requests are under way, as the gateway knows or the replica itself says."""
        replica = self.replica
        if replica.endpoint is None:
            return False
        if busy(replica.spec.name):
            return True
        return replica.spec.server is None and await self._is_alive() and replica.in_flight > 0

    async def _end(self, grace_s: float) -> None:
        replica = self.replica
        process, line = replica.process, replica.line
        replica.endpoint = replica.port = replica.line = None
        replica.in_flight = 0
        if process is not None and process.returncode is None:
            if grace_s:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
                if not await _has_ended(process, grace_s):
                    logger.warning("replica %s did not stop within %g s and is killed", replica.spec.name, grace_s)
            if line is not None and replica.spec.server is not None:
                line.close()  # its tether kills the server and all that came of it
                await _has_ended(process, TETHER_GRACE_S)
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if line is not None:
            line.close()


async def _has_ended(process: asyncio.subprocess.Process, within_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), within_s)
    return process.returncode is not None


async def _ended(process: asyncio.subprocess.Process) -> None:
    await process.wait()


async def how_it_ended(replica: Replica) -> str:
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


def rotate(log: Path) -> None:
    """Put a log that has grown large aside and keep `OLD_LOGS` such; the replica goes on writing to the same file."""
    try:
        if log.stat().st_size <= MAX_LOG_BYTES:
            return
        for number in range(OLD_LOGS - 1, 0, -1):
            old = log.with_suffix(f".log.{number}")
            if old.exists():
                old.replace(log.with_suffix(f".log.{number + 1}"))
        shutil.copyfile(log, log.with_suffix(".log.1"))
        with log.open("r+b") as file:  # it is open for appending elsewhere, so that it begins anew
            file.truncate()
    except OSError:
        return  # a full disk; the probes matter more


def status_of(replica: Replica) -> ReplicaStatus:
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
        version=replica.spec.version,
        ready_changed_at=replica.ready_changed_at,
        is_draining=replica.is_draining,
        threads=replica.spec.threads,
    )
