"""The fleet: the replicas of this machine by model and version, as many as are wanted.

What is wanted may change while it runs: `resize` adds replicas or drains some, `bring_up` starts another version beside
the one that serves, `show` lets requests go to other versions from the next one on, `retire` drains a version. A
replica that drains gets no more requests at once and is stopped when those it has are answered. How one replica is
kept alive is `supervise`'s business. Memory is the price: every replica holds its own copy of the model (its file pages
are shared).
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from tulou.core.errors import ServiceError
from tulou.core.telemetry import Metrics
from tulou.service.cpus import CpuShare, pin, plan_cpus
from tulou.service.launch import launcher
from tulou.service.pool import Endpoint, ReplicaStatus
from tulou.service.supervise import (
    MAX_PAUSE_S,
    PROBE_TIMEOUT_S,
    START_TIMEOUT_S,
    Replica,
    ReplicaSpec,
    Server,
    Supervisor,
    is_crash_loop,
    pause_s,
    status_of,
)

__all__ = ["MAX_PAUSE_S", "Fleet", "ReplicaSpec", "Server", "Sizing", "is_crash_loop", "pause_s", "specs_for"]

DRAIN_S = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sizing:
    """How replicas are fitted to the machine, and how long one that drains is given."""

    cores: tuple[int, ...] = ()  # of the machine; empty: nobody is pinned and each replica keeps its spec's threads
    threads: int = 0  # of each replica; 0: its share of the cores
    pin: bool = True
    drain_s: float = DRAIN_S


def specs_for(folders: Mapping[str, Path], replicas: int, threads: int = 1) -> list[ReplicaSpec]:
    """`replicas` of every model, named MODEL-0, MODEL-1, ..."""
    return [
        ReplicaSpec(f"{model}-{index}", model, folder, threads)
        for model, folder in folders.items()
        for index in range(replicas)
    ]


class Fleet:
    """A `Pool` of local processes. `start` returns at once; `wait_ready` waits."""

    def __init__(
        self,
        specs: Sequence[ReplicaSpec],
        logs_dir: Path,
        metrics: Metrics | None = None,
        python: str = sys.executable,
        sizing: Sizing | None = None,
    ) -> None:
        self._logs_dir = logs_dir
        self._metrics = metrics
        self._python = python
        self._sizing = sizing or Sizing()
        self._replicas = [self._new(spec) for spec in specs]
        self._shown: dict[str, frozenset[str]] = {}
        for spec in specs:
            self._shown[spec.model] = self._shown.get(spec.model, frozenset()) | {spec.version}
        self._supervisors: dict[str, Supervisor] = {}
        self._draining: set[asyncio.Task[None]] = set()
        self._ready: dict[str, tuple[Endpoint, ...]] = {}
        self._changed = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self.busy: Callable[[str], int] = lambda _name: 0  # requests that the gateway has under way at a replica

    async def start(self) -> None:
        if self._session is not None:
            return
        self._logs_dir.mkdir(parents=True, exist_ok=True)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S))
        self._fit()
        for each in self._replicas:
            self._look_after(each)

    async def stop(self) -> None:
        """Ask every replica to stop, and kill those that do not."""
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        await asyncio.gather(*(each.stop() for each in self._supervisors.values()))
        self._supervisors.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def wait_ready(self, timeout_s: float | None = None, version: str | None = None) -> None:
        """Return when every replica is ready, or every one of `version`; servers found at a URL are not waited for.

        Raises `ServiceError` with the reason in the replica's own words when one crash-loops, or when the time is over.
        """
        awaited = [each for each in self._replicas if version in (None, each.spec.version) and _is_ours(each.spec)]
        await self._wait_for(awaited, timeout_s)

    async def _wait_for(self, awaited: Sequence[Replica], timeout_s: float | None = None) -> None:
        limits_s = [each.spec.server.start_timeout_s for each in awaited if each.spec.server]
        timeout_s = timeout_s or max([START_TIMEOUT_S, *limits_s])
        try:
            async with asyncio.timeout(timeout_s):
                while not all(each.is_ready for each in awaited):
                    if broken := next((each for each in awaited if each.state == "crash_loop"), None):
                        raise ServiceError(
                            f"replica {broken.spec.name} does not stay up: {broken.last_exit}; its log is {broken.log}"
                        )
                    await self.changed()
        except TimeoutError:
            late = ", ".join(each.spec.name for each in awaited if not each.is_ready)
            raise ServiceError(f"not ready after {timeout_s:g} s: {late}; see the logs in {self._logs_dir}") from None

    def ready(self, model: str) -> Sequence[Endpoint]:
        """Endpoints to send requests to now. Asked for every request, so it only looks up."""
        return self._ready.get(model, ())

    async def changed(self) -> None:
        await self._changed.wait()

    def report_lost(self, endpoint: Endpoint) -> None:
        """A request lost this endpoint: look after it now instead of at the next probe."""
        for replica in self._replicas:
            if replica.endpoint == endpoint:
                replica.suspected.set()

    def status(self) -> list[ReplicaStatus]:
        return [status_of(replica) for replica in self._replicas]

    def size(self, model: str, version: str | None = None) -> int:
        """How many replicas of a model are wanted now, of one version or of those that serve."""
        versions = self._shown.get(model, frozenset()) if version is None else {version}
        return sum(each.spec.version in versions for each in self._staying(model))

    def fewest(self, model: str) -> int:
        """What `resize` leaves at least: one replica of each version that gets requests."""
        return len({each.spec.version for each in self._staying(model)} & self._shown.get(model, frozenset()))

    async def resize(self, model: str, count: int) -> None:
        """Have `count` replicas of the versions that serve; those to go are drained beside this. Not awaited: ready."""
        staying = [each for each in self._staying(model) if each.spec.version in self._shown.get(model, ())]
        if not staying:
            raise ServiceError(f"model {model!r} has no replica whose like could be started")
        for _ in range(count - len(staying)):
            self._add(staying[0].spec)
        left = Counter(each.spec.version for each in staying)
        for each in sorted(staying, key=_costs_least_to_lose):
            if left.total() <= count:
                break
            if left[each.spec.version] > 1:  # a version that is tried out keeps its last one
                left[each.spec.version] -= 1
                self._drain(each)
        self._fit()

    async def bring_up(self, model: str, version: str, folder: Path, count: int) -> None:
        """Start `count` replicas of another version, to get requests after `show` only, and wait until they are ready.

        Raises `ServiceError` if they do not get ready, and leaves none of them.
        """
        like = next((each.spec for each in self._replicas if each.spec.model == model), None)
        spec = replace(like, folder=folder, version=version) if like else ReplicaSpec("", model, folder, 1, (), version)
        added = [self._add(spec) for _ in range(count)]
        self._fit()
        try:
            await self._wait_for(added)
        except BaseException:
            for each in added:
                self._drain(each)
            raise

    def show(self, model: str, versions: Collection[str]) -> None:
        """Let requests go to the replicas of these versions, from the next request on."""
        self._shown[model] = frozenset(versions)
        self._note_change()

    def retire(self, model: str, version: str) -> None:
        """Drain all replicas of a version."""
        for each in self._staying(model):
            if each.spec.version == version:
                self._drain(each)
        self._fit()

    def _new(self, spec: ReplicaSpec) -> Replica:
        return Replica(spec, self._logs_dir / f"{spec.name}.log")

    def _add(self, like: ReplicaSpec) -> Replica:
        taken = {each.spec.name for each in self._replicas}
        name = next(name for i in range(len(taken) + 1) if (name := f"{like.model}-{i}") not in taken)
        replica = self._new(replace(like, name=name))
        self._replicas.append(replica)
        self._look_after(replica)
        return replica

    def _look_after(self, replica: Replica) -> None:
        if self._session is None:
            raise ServiceError("the fleet does not run")
        launch = launcher(self._session, self._python)
        supervisor = Supervisor(replica, launch, self._session, self._note_change, self._metrics)
        self._supervisors[replica.spec.name] = supervisor

    def _drain(self, replica: Replica) -> None:
        if self._session is None:
            return  # everything has been stopped
        replica.is_draining, replica.state = True, "draining"
        self._note_change()
        logger.info("replica %s drains", replica.spec.name)
        task = asyncio.create_task(self._drained(replica))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def _drained(self, replica: Replica) -> None:
        supervisor = self._supervisors[replica.spec.name]
        await supervisor.drain(self.busy, self._sizing.drain_s)
        del self._supervisors[replica.spec.name]
        self._replicas.remove(replica)
        self._note_change()

    def _staying(self, model: str) -> list[Replica]:
        return [each for each in self._replicas if each.spec.model == model and not each.is_draining]

    def _note_change(self) -> None:
        ready: dict[str, list[Endpoint]] = {}
        doubtful: dict[str, list[Endpoint]] = {}  # they failed a probe: better than none at all
        for each in self._replicas:
            is_shown = each.spec.version in self._shown.get(each.spec.model, ())
            if each.endpoint is not None and is_shown and not each.is_draining:
                (ready if each.is_ready else doubtful).setdefault(each.spec.model, []).append(each.endpoint)
        self._ready = {model: tuple(endpoints) for model, endpoints in {**doubtful, **ready}.items()}
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _fit(self) -> None:
        """Share out the machine among the replicas that stay; those that run already keep the threads they have."""
        if not self._sizing.cores:
            return
        staying = [each for each in self._replicas if not each.is_draining and _is_ours(each.spec)]
        shares = plan_cpus(self._sizing.cores, len(staying), self._sizing.threads, self._sizing.pin)
        for each, share in zip(staying, shares, strict=True):
            if share == CpuShare(each.spec.threads, each.spec.cores):
                continue
            had_cores = each.spec.cores
            each.spec = replace(each.spec, threads=share.threads, cores=share.cores)
            if each.pid is not None and had_cores != share.cores:
                pin(each.pid, share.cores)


def _is_ours(spec: ReplicaSpec) -> bool:
    """Whether it is a process that we start."""
    return spec.server is None or not spec.server.url


def _costs_least_to_lose(replica: Replica) -> tuple[bool, int]:
    """Those that are not ready first, then the youngest."""
    return replica.is_ready, -int(replica.spec.name.rpartition("-")[2])
