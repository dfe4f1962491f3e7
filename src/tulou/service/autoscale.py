"""How many replicas there should be: the algorithm of Kubernetes' HorizontalPodAutoscaler (autoscaling/v2), pure.

`decide` takes what was measured and what was decided before and returns a number with its reason and the history to
hand in next time; nothing is read from a clock or a machine. It follows the controller
(kubernetes/kubernetes, pkg/controller/podautoscaler/horizontal.go) to the digit, so it can be held against the
controller's own test tables, and what people know of it holds here.

Every metric makes a proposal (`demand.py`) and the largest wins; then it is stabilised over time and kept to the speed
that the behaviour allows and to minimum and maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tulou.service.demand import (
    CPU_INITIALIZATION_S,
    INITIAL_READINESS_S,
    MOST,
    TOLERANCE,
    Doubt,
    Metric,
    NotMeasured,
    Replica,
    ceiling,
    propose,
)

DOWNSCALE_STABILIZATION_S = 300.0  # --horizontal-pod-autoscaler-downscale-stabilization
SCALE_UP_FACTOR, SCALE_UP_MINIMUM = 2.0, 4.0  # at most this much at once where no behaviour is set


@dataclass(frozen=True)
class Policy:
    """At most `value` replicas, or per cent of them, in each `period_s`."""

    kind: Literal["pods", "percent"]
    value: int
    period_s: float


@dataclass(frozen=True)
class Rules:
    """How fast the number may change in one direction."""

    policies: tuple[Policy, ...]
    select: Literal["max", "min", "disabled"] = "max"  # of several policies the one that allows the most, or the least
    stabilization_s: float = 0.0  # the mildest recommendation within it is followed
    tolerance: float | None = None


@dataclass(frozen=True)
class Behaviour:
    up: Rules = Rules((Policy("pods", 4, 15), Policy("percent", 100, 15)))  # autoscaling/v2's own defaults
    down: Rules = Rules((Policy("percent", 100, 15),), stabilization_s=DOWNSCALE_STABILIZATION_S)


@dataclass(frozen=True)
class Limits:
    min: int = 1
    max: int = 10
    behaviour: Behaviour | None = field(default_factory=Behaviour)
    tolerance: float = TOLERANCE
    cpu_initialization_s: float = CPU_INITIALIZATION_S
    initial_readiness_s: float = INITIAL_READINESS_S
    downscale_stabilization_s: float = DOWNSCALE_STABILIZATION_S  # where no behaviour is set

    @property
    def doubt(self) -> Doubt:
        up = self.behaviour.up.tolerance if self.behaviour else None
        down = self.behaviour.down.tolerance if self.behaviour else None
        return Doubt(
            self.tolerance if up is None else up,
            self.tolerance if down is None else down,
            self.cpu_initialization_s,
            self.initial_readiness_s,
        )


@dataclass(frozen=True)
class Dated:
    """A recommendation, or by how many replicas the number was changed; and when."""

    count: int
    at: float


@dataclass(frozen=True)
class History:
    recommendations: tuple[Dated, ...] = ()
    added: tuple[Dated, ...] = ()
    removed: tuple[Dated, ...] = ()


@dataclass(frozen=True)
class Decision:
    wanted: int
    why: str
    history: History
    problem: str | None = None  # what could not be measured
    limited_by: str | None = None  # "TooManyReplicas", "ScaleUpLimit", ... as the controller calls it


def decide(
    now: float,
    current: int,
    replicas: Sequence[Replica],
    metrics: Sequence[Metric],
    limits: Limits,
    history: History | None = None,
) -> Decision:
    """The number of replicas wanted, why, and the history for the next decision.

    `current` is the number asked for now, `replicas` are those there are; `history` is None the first time. Metrics
    that fail are told in `problem`; if all do, or those left would take replicas away, nothing is changed.
    """
    if history is None:
        history = History((Dated(current, now),))  # the number found at the start counts as recommended then
    if current == 0 and limits.min != 0:
        return Decision(0, "scaling is disabled: no replica is wanted", history)
    if current > limits.max:
        return _changed(now, current, limits.max, "more replicas than the maximum", limits, history)
    if current < limits.min:
        return _changed(now, current, limits.min, "fewer replicas than the minimum", limits, history)
    proposed, reason, problem = largest_proposal(now, current, replicas, metrics, limits)
    if proposed is None:
        return Decision(current, "nothing could be measured", history, problem)
    if problem is not None and proposed < current:
        return Decision(current, "not every metric could be measured", history, problem)
    wanted, history = stabilise(now, current, proposed, limits, history)
    wanted, limited_by = limit(now, current, wanted, limits, history)
    why = f"{reason} above target" if proposed > current else "all metrics below target"
    if wanted == current:
        why = "as many as wanted" if proposed == current else f"{why}, held back"
    decision = _changed(now, current, wanted, why, limits, history)
    return replace(decision, problem=problem, limited_by=limited_by)


def largest_proposal(
    now: float, current: int, replicas: Sequence[Replica], metrics: Sequence[Metric], limits: Limits
) -> tuple[int | None, str, str | None]:
    """The largest proposal of all metrics with that metric's name, and the first thing that went wrong."""
    best, reason, problem = None, "", None
    for metric in metrics:
        try:
            count = propose(now, current, replicas, metric, limits.doubt)
        except NotMeasured as err:
            problem = problem or f"{metric.name}: {err}"
            continue
        if best is None or count > best:
            best, reason = count, metric.name
    return best, reason, problem


def stabilise(now: float, current: int, proposed: int, limits: Limits, history: History) -> tuple[int, History]:
    """The mildest of the recent recommendations, and the history with this one in it."""
    behaviour = limits.behaviour
    up_s = behaviour.up.stabilization_s if behaviour else 0.0
    down_s = behaviour.down.stabilization_s if behaviour else limits.downscale_stabilization_s
    recent = history.recommendations
    highest = max([proposed, *(each.count for each in recent if _is_within(each, now, down_s, behaviour is None))])
    if behaviour is None:
        wanted = highest
    else:
        lowest = min([proposed, *(each.count for each in recent if _is_within(each, now, up_s))])
        wanted = min(max(current, lowest), highest)
    kept = [each for each in recent if each.at >= now - max(up_s, down_s)]
    return wanted, replace(history, recommendations=(*kept, Dated(proposed, now)))


def limit(now: float, current: int, wanted: int, limits: Limits, history: History) -> tuple[int, str | None]:
    """`wanted` within minimum, maximum and the speed allowed, and what limited it in the controller's words."""
    if limits.behaviour is None:
        fastest = int(max(SCALE_UP_FACTOR * current, SCALE_UP_MINIMUM))
        most, name = (fastest, "ScaleUpLimit") if limits.max > fastest else (limits.max, "TooManyReplicas")
        if wanted < limits.min:
            return limits.min, "TooFewReplicas"
        return (most, name) if wanted > most else (wanted, None)
    if wanted > current:
        fastest = max(up_limit(now, current, limits.behaviour.up, history), current)
        most, name = (fastest, "ScaleUpLimit") if limits.max > fastest else (limits.max, "TooManyReplicas")
        return (most, name) if wanted > most else (wanted, None)
    if wanted < current:
        fastest = min(down_limit(now, current, limits.behaviour.down, history), current)
        least, name = (fastest, "ScaleDownLimit") if limits.min < fastest else (limits.min, "TooFewReplicas")
        return (least, name) if wanted < least else (wanted, None)
    return wanted, None


def up_limit(now: float, current: int, rules: Rules, history: History) -> int:
    """The most replicas that the rules allow now."""
    if rules.select == "disabled":
        return current
    allowed = [
        start + each.value if each.kind == "pods" else ceiling(start * (1 + each.value / 100))
        for each in rules.policies
        for start in [_at_period_start(now, current, each.period_s, history)]
    ]
    return min(allowed, default=MOST) if rules.select == "min" else max(allowed, default=-MOST)


def down_limit(now: float, current: int, rules: Rules, history: History) -> int:
    """The fewest replicas that the rules allow now."""
    if rules.select == "disabled":
        return current
    allowed = [
        start - each.value if each.kind == "pods" else int(start * (1 - each.value / 100))
        for each in rules.policies
        for start in [_at_period_start(now, current, each.period_s, history)]
    ]
    return max(allowed, default=-MOST) if rules.select == "min" else min(allowed, default=MOST)


def note_change(now: float, before: int, after: int, behaviour: Behaviour, history: History) -> History:
    """The history with a change in it, and without those that no policy looks back at."""
    rules, kept = (behaviour.up, history.added) if after > before else (behaviour.down, history.removed)
    longest_s = max((each.period_s for each in rules.policies), default=0.0)
    events = (*(each for each in kept if each.at >= now - longest_s), Dated(abs(after - before), now))
    return replace(history, added=events) if after > before else replace(history, removed=events)


def _changed(now: float, current: int, wanted: int, why: str, limits: Limits, history: History) -> Decision:
    if wanted != current and limits.behaviour is not None:
        history = note_change(now, current, wanted, limits.behaviour, history)
    return Decision(wanted, why, history)


def _at_period_start(now: float, current: int, period_s: float, history: History) -> int:
    added = sum(each.count for each in history.added if _is_within(each, now, period_s))
    removed = sum(each.count for each in history.removed if _is_within(each, now, period_s))
    return current - added + removed


def _is_within(each: Dated, now: float, window_s: float, includes_edge: bool = False) -> bool:
    return each.at > now - window_s or (includes_edge and each.at == now - window_s)
