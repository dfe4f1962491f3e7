"""The thin loop around `autoscale.decide`: measure the replicas, decide for each model, resize the fleet, say so.

Measured are the CPU time of replicas since the last look, the requests that the gateway has under way at each, those
that wait for one, and the GPUs where nvidia-smi is there. A step up is held back while there is no memory for another
copy of the model: here nobody else would find a machine for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import shutil
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import psutil

from tulou.core.errors import TulouError
from tulou.core.fleet_settings import PolicySettings, ReplicaSettings, RulesSettings
from tulou.core.telemetry import Metrics
from tulou.service.autoscale import Behaviour, History, Limits, Policy, Rules, decide
from tulou.service.demand import AverageValue, Metric, Replica, Sample, Utilisation, Value, ValuePerReplica
from tulou.service.fleet import Fleet
from tulou.service.pool import ReplicaStatus

KEPT_SCALINGS = 50
MEMORY_MARGIN = 1.2  # a copy that starts takes more than one that has settled

logger = logging.getLogger(__name__)

Load = Mapping[str, int]


@dataclass(frozen=True)
class Scaling:
    """One change of a number of replicas, as the console and `tulou status` show it."""

    model: str
    at: float  # seconds since the epoch
    before: int
    after: int
    why: str


@dataclass(frozen=True)
class Sight:
    """Where the loop looks. `in_flight` is by replica, `waiting` by model; `gpu` is a share of 1, None without one."""

    in_flight: Callable[[], Load]
    waiting: Callable[[], Load] = dict
    gpu: Callable[[], Awaitable[float | None]] | None = None
    free_bytes: Callable[[], int] = lambda: int(psutil.virtual_memory().available)


class Autoscaler:
    def __init__(
        self,
        fleet: Fleet,
        models: Sequence[str],
        settings: ReplicaSettings,
        cores: int,
        sight: Sight,
        metrics: Metrics | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = fleet
        self._models = models
        self._settings = settings
        self._limits = limits_of(settings, cores)
        self._sight = sight
        self._metrics = metrics
        self._now = now
        self._meter = CpuMeter(now)
        self._histories: dict[str, History | None] = dict.fromkeys(models)
        self._told: dict[str, str | None] = {}
        self.scalings: deque[Scaling] = deque(maxlen=KEPT_SCALINGS)

    @property
    def has_work(self) -> bool:
        """Whether there is anything to decide."""
        return self._limits.max > self._limits.min

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._settings.period_s)
            try:
                await self.step()
            except (OSError, TulouError, psutil.Error):
                logger.exception("the load could not be measured; nothing is changed")

    async def step(self) -> None:
        """Decide once for each model."""
        status = self._fleet.status()
        used = self._meter.read(status)
        gpu = await self._sight.gpu() if self._sight.gpu and self._settings.target_gpu else None
        for model in self._models:
            replicas = [each for each in status if each.model == model]
            await self._decide(model, replicas, self._metrics_of(model, replicas, used, gpu))

    async def _decide(self, model: str, status: Sequence[ReplicaStatus], measured: Sequence[Metric]) -> None:
        current = self._fleet.size(model)
        replicas = [_seen(each) for each in status]
        least = self._fleet.fewest(model)
        limits = replace(self._limits, min=max(self._limits.min, least), max=max(self._limits.max, least))
        decision = decide(self._now(), current, replicas, measured, limits, self._histories[model])
        self._histories[model] = decision.history
        if decision.problem and decision.problem != self._told.get(model):
            logger.info("autoscaling of %s: %s", model, decision.problem)
        self._told[model] = decision.problem
        wanted, why = decision.wanted, decision.why
        if wanted > current and (fits := current + self._room(status)) < wanted:
            logger.warning("model %s wants %d replicas, there is memory for %d", model, wanted, fits)
            wanted, why = fits, f"{why}, as many as there is memory for"
        if self._metrics is not None:
            self._metrics.replicas_wanted.labels(model).set(wanted)
        if wanted == current:
            return
        logger.info("model %s is scaled from %d to %d replicas: %s", model, current, wanted, why)
        self.scalings.append(Scaling(model, self._now(), current, wanted, why))
        if self._metrics is not None:
            self._metrics.scalings.labels(model, "up" if wanted > current else "down").inc()
        await self._fleet.resize(model, wanted)

    def _metrics_of(
        self, model: str, status: Sequence[ReplicaStatus], used: Mapping[str, Sample], gpu: float | None
    ) -> list[Metric]:
        """Those that have a target."""
        settings, found = self._settings, list[Metric]()
        if settings.target_cpu:
            samples = {each.name: used[each.name] for each in status if each.name in used}
            found.append(Utilisation("cpu", round(100 * settings.target_cpu), samples))
        if settings.target_in_flight:
            load = self._sight.in_flight()
            ready = [each for each in status if each.state == "ready"]
            samples = {each.name: Sample(1000 * load.get(each.name, 0), self._now()) for each in ready}
            found.append(AverageValue("requests in flight", round(1000 * settings.target_in_flight), samples))
        if settings.target_waiting:
            waiting = self._sight.waiting().get(model, 0)
            found.append(ValuePerReplica("waiting requests", round(1000 * settings.target_waiting), 1000 * waiting))
        if settings.target_gpu and gpu is not None:
            found.append(Value("gpu", round(1000 * settings.target_gpu), round(1000 * gpu)))
        return found

    def _room(self, status: Sequence[ReplicaStatus]) -> int:
        """How many more copies the free memory has room for."""
        largest = max((each.rss_bytes for each in status), default=0)
        return math.floor(self._sight.free_bytes() / (MEMORY_MARGIN * largest)) if largest else KEPT_SCALINGS


class CpuMeter:
    """CPU time of processes since the last reading, as what share of a core that was."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._last: dict[int, tuple[float, float]] = {}  # pid: seconds used, when

    def read(self, status: Sequence[ReplicaStatus]) -> dict[str, Sample]:
        """By replica; one that was not there the last time has no sample yet."""
        seen: dict[int, tuple[float, float]] = {}
        samples = {}
        for each in status:
            if each.pid is None or (used := _cpu_seconds(each.pid)) is None:
                continue
            at = self._now()
            seen[each.pid] = used, at
            before = self._last.get(each.pid)
            if before is not None and at > before[1]:
                window_s = at - before[1]
                samples[each.name] = Sample(round(1000 * max(used - before[0], 0) / window_s), at, window_s)
        self._last = seen
        return samples


def limits_of(settings: ReplicaSettings, cores: int) -> Limits:
    usual = Behaviour()
    behaviour = Behaviour(_rules(settings.scale_up, usual.up), _rules(settings.scale_down, usual.down))
    return Limits(settings.min, settings.most(cores), behaviour, settings.tolerance)


async def gpu_use() -> float | None:
    """Mean use of the GPUs, 0 to 1; None where there is none, or nvidia-smi says nothing."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = await asyncio.create_subprocess_exec(
        "nvidia-smi",
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await asked.communicate()
    return gpu_share(said.decode(errors="replace"))


def gpu_share(said: str) -> float | None:
    """The mean of nvidia-smi's lines of per cent."""
    percents = [float(line) for line in said.split() if line.replace(".", "", 1).isdigit()]
    return sum(percents) / len(percents) / 100 if percents else None


def _rules(settings: RulesSettings, usual: Rules) -> Rules:
    return replace(
        usual,
        policies=tuple(map(_policy, settings.policies)) or usual.policies,
        select=settings.select,
        stabilization_s=usual.stabilization_s if settings.stabilization_s is None else settings.stabilization_s,
        tolerance=settings.tolerance,
    )


def _policy(settings: PolicySettings) -> Policy:
    return Policy(settings.kind, settings.value, settings.period_s)


def _seen(status: ReplicaStatus) -> Replica:
    """A replica as the algorithm sees pods: what is starting is pending, what keeps crashing has failed."""
    phases = {"ready": "running", "unready": "running", "crash_loop": "failed", "stopped": "failed"}
    return Replica(
        status.name,
        phases.get(status.state, "pending"),  # type: ignore[arg-type]  # the values above
        status.state == "ready",
        status.started_at,
        status.ready_changed_at or 0.0,
        status.is_draining,
        1000 * status.threads,
    )


def _cpu_seconds(pid: int) -> float | None:
    """Of a process and all that it started; None where it is gone."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        own = process.cpu_times()
        total = own.user + own.system
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                times = child.cpu_times()
                total += times.user + times.system
        return float(total)
    return None
