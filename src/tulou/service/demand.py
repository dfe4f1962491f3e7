"""What one metric alone would have: from samples of replicas to a proposed number, as Kubernetes computes it, pure.

The first half of the autoscaler (see `autoscale.py`), after kubernetes/kubernetes,
pkg/controller/podautoscaler/replica_calculator.go: whole thousandths, percentages cut to whole ones, a ceiling at the
end. A sample that is missing counts as the target (at least 100 %) on the way down and as nothing on the way up, a
replica not ready yet as nothing on the way up: doubt slows both ways.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

TOLERANCE = 0.1  # the controller's --horizontal-pod-autoscaler-tolerance
CPU_INITIALIZATION_S = 300.0  # --horizontal-pod-autoscaler-cpu-initialization-period
INITIAL_READINESS_S = 30.0  # --horizontal-pod-autoscaler-initial-readiness-delay
MOST = 2**31 - 1  # the controller counts in 32 bits


@dataclass(frozen=True)
class Replica:
    """What a decision knows of one replica. Times are seconds of one clock; None: not known."""

    name: str
    phase: Literal["running", "pending", "failed"] = "running"
    is_ready: bool | None = True
    started_at: float | None = 0.0
    ready_changed_at: float = 0.0  # when it last became ready, or ceased to be
    is_ending: bool = False
    request_milli: int | None = 1000  # what counts as 100 % of it, such as 1000 for one core


@dataclass(frozen=True)
class Sample:
    value_milli: int
    at: float = 0.0
    window_s: float = 0.0  # over which it was measured


@dataclass(frozen=True)
class Utilisation:
    """Use of each replica in per cent of what it may use; the target is a percentage, too."""

    name: str
    target_percent: int
    samples: Mapping[str, Sample]
    is_cpu: bool = True  # starting costs CPU, so samples of replicas that just started are no sign of load


@dataclass(frozen=True)
class AverageValue:
    """A figure of each replica, such as requests in flight, and what it should be on average."""

    name: str
    target_milli: int
    samples: Mapping[str, Sample]
    is_cpu: bool = False


@dataclass(frozen=True)
class Value:
    """One figure for all of them, which should be the target: twice the figure wants twice the replicas."""

    name: str
    target_milli: int
    value_milli: int


@dataclass(frozen=True)
class ValuePerReplica:
    """One figure to be shared by all, such as the length of a queue, and how much of it one replica can take."""

    name: str
    target_milli: int
    value_milli: int


Metric = Utilisation | AverageValue | Value | ValuePerReplica


@dataclass(frozen=True)
class Doubt:
    """When a figure is near enough to its target, and how long a replica that starts is given."""

    tolerance_up: float = TOLERANCE
    tolerance_down: float = TOLERANCE
    cpu_initialization_s: float = CPU_INITIALIZATION_S
    initial_readiness_s: float = INITIAL_READINESS_S

    def is_near(self, ratio: float) -> bool:
        return 1.0 - self.tolerance_down <= ratio <= 1.0 + self.tolerance_up


class NotMeasured(ValueError):  # noqa: N818 -- what happened
    """A metric that says nothing now."""


def propose(now: float, current: int, replicas: Sequence[Replica], metric: Metric, doubt: Doubt) -> int:
    """What one metric alone would have. Raises `NotMeasured`."""
    if isinstance(metric, Value):
        ratio = metric.value_milli / metric.target_milli
        if current == 0:
            return ceiling(ratio)
        if doubt.is_near(ratio):
            return current
        return ceiling(ratio * sum(each.phase == "running" and each.is_ready is True for each in replicas))
    if isinstance(metric, ValuePerReplica):
        share = metric.target_milli * current
        if share and doubt.is_near(metric.value_milli / share):
            return current
        return ceiling(metric.value_milli / metric.target_milli)
    return _propose_by_samples(now, current, replicas, metric, doubt)


def _propose_by_samples(
    now: float, current: int, replicas: Sequence[Replica], metric: Utilisation | AverageValue, doubt: Doubt
) -> int:
    if not replicas:
        raise NotMeasured("there is no replica")
    groups = group(now, replicas, metric.samples, metric.is_cpu, doubt)
    left_out = groups.ignored | groups.unready
    values = {name: each.value_milli for name, each in metric.samples.items() if name not in left_out}
    if not values:
        raise NotMeasured("no sample of any ready replica")
    measure = _utilisation_of(replicas, metric) if isinstance(metric, Utilisation) else _average_of(metric)
    ratio = measure.ratio(values)
    fills_unready = bool(groups.unready) and ratio > 1.0
    if not fills_unready and not groups.missing:
        return current if doubt.is_near(ratio) else ceiling(ratio * groups.ready)
    if ratio < 1.0:
        values |= {name: measure.full(name) for name in groups.missing}
    elif ratio > 1.0:
        values |= dict.fromkeys(groups.missing, 0)
    if fills_unready:
        values |= dict.fromkeys(groups.unready, 0)
    again = measure.ratio(values)
    turned = (ratio < 1.0 < again) or (again < 1.0 < ratio)
    if doubt.is_near(again) or turned:
        return current
    count = ceiling(again * len(values))
    if (again < 1.0 and count > current) or (again > 1.0 and count < current):
        return current
    return count


@dataclass(frozen=True)
class _Measure:
    """How far from the target samples are; without requests their average, with requests their share of these."""

    target: int
    requests: Mapping[str, int] | None = None

    def ratio(self, values: Mapping[str, int]) -> float:
        if self.requests is None:
            return _cut(sum(values.values()), len(values)) / self.target
        known = [name for name in values if name in self.requests]
        available = sum(self.requests[name] for name in known)
        if not available:
            raise NotMeasured("no sample of a known replica")
        return _cut(100 * sum(values[name] for name in known), available) / self.target

    def full(self, name: str) -> int:
        """What a replica without a sample is taken to use on the way down."""
        if self.requests is None:
            return self.target
        return self.requests[name] * max(100, self.target) // 100


def _utilisation_of(replicas: Sequence[Replica], metric: Utilisation) -> _Measure:
    requests = {}
    for each in replicas:
        if each.request_milli is None:
            raise NotMeasured(f"it is not known what replica {each.name} may use")
        requests[each.name] = each.request_milli
    return _Measure(metric.target_percent, requests)


def _average_of(metric: AverageValue) -> _Measure:
    return _Measure(metric.target_milli)


@dataclass(frozen=True)
class Groups:
    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


def group(now: float, replicas: Sequence[Replica], samples: Mapping[str, Sample], is_cpu: bool, doubt: Doubt) -> Groups:
    """Sort replicas by what their samples are worth."""
    ready, unready, missing, ignored = 0, set(), set(), set()
    for each in replicas:
        if each.is_ending or each.phase == "failed":
            ignored.add(each.name)
        elif each.phase == "pending":
            unready.add(each.name)
        elif each.name not in samples:
            missing.add(each.name)
        elif is_cpu and _is_warming_up(now, each, samples[each.name], doubt):
            unready.add(each.name)
        else:
            ready += 1
    return Groups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def _is_warming_up(now: float, replica: Replica, sample: Sample, doubt: Doubt) -> bool:
    if replica.is_ready is None or replica.started_at is None:
        return True
    if replica.started_at + doubt.cpu_initialization_s > now:  # a whole window must lie behind its getting ready
        return not replica.is_ready or sample.at < replica.ready_changed_at + sample.window_s
    was_never_ready = replica.started_at + doubt.initial_readiness_s > replica.ready_changed_at
    return not replica.is_ready and was_never_ready


def _cut(numerator: int, denominator: int) -> int:
    """Division of whole numbers that cuts towards zero, as Go's."""
    return int(math.copysign(abs(numerator) // denominator, numerator))


def ceiling(value: float) -> int:
    return MOST if value > MOST else math.ceil(value)
