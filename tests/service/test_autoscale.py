"""The autoscaler's decisions as tables: figures worked out by hand from the rules that the module's docstring names."""

from __future__ import annotations

from typing import Any

import pytest

from tulou.service.autoscale import Behaviour, Dated, Decision, History, Limits, Policy, Rules, decide, limit, stabilise
from tulou.service.demand import (
    AverageValue,
    Doubt,
    Metric,
    NotMeasured,
    Replica,
    Sample,
    Utilisation,
    Value,
    ValuePerReplica,
    propose,
)

NOW = 10_000.0
LONG_AGO = 1_000.0
PENDING: dict[str, Any] = {"phase": "pending", "is_ready": False}
UNREADY: dict[str, Any] = {"is_ready": False, "ready_changed_at": LONG_AGO}  # and never was ready
JUST_STARTED: dict[str, Any] = {"started_at": NOW - 10, "ready_changed_at": NOW - 5}
ENDING: dict[str, Any] = {"is_ending": True}
FAILED: dict[str, Any] = {"phase": "failed"}


def fleet(*odd: dict[str, Any], count: int) -> list[Replica]:
    """`count` replicas of one core, the first of them as `odd` says, the others ready since long ago."""
    usual: dict[str, Any] = {"started_at": LONG_AGO, "ready_changed_at": LONG_AGO + 20}
    return [Replica(str(i), **{**usual, **(odd[i] if i < len(odd) else {})}) for i in range(count)]


def cpu(*percents: int | None, target: int = 50) -> Utilisation:
    """Replica i uses so many per cent of its core; None: no sample."""
    samples = {str(i): Sample(10 * each, NOW, 30) for i, each in enumerate(percents) if each is not None}
    return Utilisation("cpu", target, samples)


def in_flight(*counts: float | None, target: float = 4) -> AverageValue:
    samples = {str(i): Sample(round(1000 * each)) for i, each in enumerate(counts) if each is not None}
    return AverageValue("in_flight", round(1000 * target), samples)


@pytest.mark.parametrize(
    ("metric", "replicas", "proposed"),
    [
        (cpu(90, 100, 80), fleet(count=3), 6),  # 90 / 50 x 3 = 5.4
        (cpu(20, 30, 25), fleet(count=3), 2),  # 25 / 50 x 3 = 1.5
        (cpu(53, 54, 56), fleet(count=3), 3),  # 54 / 50 = 1.08, near enough
        (cpu(46, 46, 46), fleet(count=3), 3),
        (cpu(55, 55, 55), fleet(count=3), 3),  # the edge, 1.1, is near enough, too
        (cpu(56, 56, 56), fleet(count=3), 4),
        (cpu(33, 33, 34, target=30), fleet(count=3), 3),  # 100 / 3 is cut to 33 %, whose ratio is the edge
        (cpu(None, 100, 100), fleet(count=3), 4),  # up: 0 for the missing one, 66 / 50 x 3 = 3.96
        (cpu(None, 70, 70), fleet(count=3), 3),  # 46 / 50 after filling in: it would turn down
        (cpu(None, 10, 10), fleet(count=3), 3),  # down: 100 for the missing one, 40 / 50 x 3 = 2.4
        (cpu(None, None, 10, target=200), fleet(count=3), 3),  # above 100 % the target is filled in: 136 / 200 x 3
        (cpu(None, 50, 50), fleet(count=3), 3),  # exactly on target: nothing is filled in
        (cpu(90, 100, 80), fleet(UNREADY, count=3), 4),  # 0 for the unready one: 60 / 50 x 3
        (cpu(20, 30, 25), fleet(UNREADY, count=3), 2),  # down, it is left out: 27 / 50 x 2
        (cpu(0, 30, 25), fleet(JUST_STARTED, count=3), 2),  # its start-up is no sign of load
        (cpu(99, 90, 90), fleet(JUST_STARTED, count=3), 4),
        (cpu(None, 90, 90), fleet(PENDING, count=3), 4),
        (cpu(90, 90, 90), fleet(ENDING, count=3), 4),  # 90 / 50 x 2
        (cpu(90, 90, 90), fleet(FAILED, count=3), 4),
        (cpu(90, 10, 10, 10, 10), fleet(*[UNREADY] * 3, count=5), 1),  # 10 / 50 x 2
        (in_flight(8, 6, 7), fleet(count=3), 6),  # 7 / 4 x 3 = 5.25
        (in_flight(1, 1, 1), fleet(count=3), 1),
        (in_flight(4.2, 4.3, 4.4), fleet(count=3), 3),
        (in_flight(None, 1, 1), fleet(count=3), 2),  # the target, 4, for the missing one: 2 / 4 x 3
        (in_flight(None, 9, 9), fleet(count=3), 5),  # 6 / 4 x 3 = 4.5
        (in_flight(8, 8, 8), fleet(JUST_STARTED, count=3), 6),  # only CPU is distrusted at the start
        (Value("gpu", 500, 900), fleet(count=3), 6),  # 1.8 x 3
        (Value("gpu", 500, 900), fleet(UNREADY, count=3), 4),  # of those that are ready
        (Value("gpu", 500, 540), fleet(count=3), 3),
        (ValuePerReplica("queue", 4_000, 25_000), fleet(count=3), 7),
        (ValuePerReplica("queue", 4_000, 12_900), fleet(count=3), 3),
        (ValuePerReplica("queue", 4_000, 0), fleet(count=3), 0),
    ],
)
def test_what_one_metric_proposes(metric: Metric, replicas: list[Replica], proposed: int) -> None:
    assert propose(NOW, len(replicas), replicas, metric, Doubt()) == proposed


def test_one_replica_more_than_asked_for_does_not_turn_the_direction() -> None:
    """During a roll-out there are three of two: 73 / 100 x 3 = 2.2 would add one while there is too little to do."""
    assert propose(NOW, 2, fleet(count=3), cpu(60, 60, None, target=100), Doubt()) == 2


@pytest.mark.parametrize(("current", "proposed"), [(0, 2), (3, 4)])
def test_none_can_become_some_by_one_figure(current: int, proposed: int) -> None:
    assert propose(NOW, current, fleet(count=2), Value("queue", 1_000, 2_000), Doubt()) == proposed


def test_what_cannot_be_measured_is_told() -> None:
    with pytest.raises(NotMeasured, match="no sample of any ready replica"):
        propose(NOW, 2, fleet(count=2), cpu(), Doubt())
    with pytest.raises(NotMeasured, match="no sample of any ready replica"):
        propose(NOW, 2, fleet(UNREADY, UNREADY, count=2), cpu(90, 90), Doubt())
    with pytest.raises(NotMeasured, match="there is no replica"):
        propose(NOW, 2, [], cpu(90, 90), Doubt())
    with pytest.raises(NotMeasured, match="not known what replica 0 may use"):
        propose(NOW, 2, fleet({"request_milli": None}, count=2), cpu(90, 90), Doubt())


FAST = Behaviour(down=Rules((Policy("percent", 100, 15),)))  # without the wait of five minutes


def decided(current: int, *metrics: Metric, limits: Limits | None = None, history: History | None = None) -> Decision:
    return decide(NOW, current, fleet(count=current), metrics, limits or Limits(1, 10, FAST), history or History())


def test_the_largest_proposal_wins_and_is_named() -> None:
    decision = decided(3, cpu(20, 20, 20), in_flight(8, 8, 8))
    assert (decision.wanted, decision.why) == (6, "in_flight above target")
    decision = decided(3, cpu(10, 10, 10), in_flight(2, 2, 2))
    assert (decision.wanted, decision.why) == (2, "all metrics below target")


def test_a_metric_that_fails_stops_the_way_down_only() -> None:
    decision = decided(3, cpu(), in_flight(1, 1, 1))
    assert (decision.wanted, decision.problem) == (3, "cpu: no sample of any ready replica")
    assert decided(3, cpu(), in_flight(8, 8, 8)).wanted == 6
    assert decided(3, cpu()).why == "nothing could be measured"


def test_minimum_and_maximum_hold_whatever_is_measured() -> None:
    assert decided(3, cpu(90, 90, 90), limits=Limits(1, 4, FAST)).limited_by == "TooManyReplicas"
    assert decided(3, cpu(1, 1, 1), limits=Limits(2, 4, FAST)).wanted == 2
    assert decided(12, limits=Limits(1, 10)).wanted == 10
    assert decided(1, limits=Limits(2, 10)).wanted == 2
    assert decided(0, cpu(), limits=Limits(1, 10)).wanted == 0  # switched off by hand


def test_the_number_at_the_start_is_kept_for_the_stabilisation_window() -> None:
    first = decide(NOW, 4, fleet(count=4), [cpu(1, 1, 1, 1)], Limits(1, 10))
    assert (first.wanted, first.why) == (4, "all metrics below target, held back")
    later = decide(NOW + 301, 4, fleet(count=4), [cpu(1, 1, 1, 1)], Limits(1, 10), first.history)
    assert later.wanted == 1


def test_without_a_behaviour_it_may_double_at_once() -> None:
    assert decided(2, cpu(500, 500), limits=Limits(1, 100, None)).wanted == 4
    assert decided(3, cpu(500, 500, 500), limits=Limits(1, 100, None)).wanted == 6


@pytest.mark.parametrize(
    ("recent", "current", "proposed", "wanted"),
    [
        ([(6, 100), (4, 20)], 9, 2, 6),  # down: the highest of the last 120 s
        ([(6, 130), (4, 20)], 9, 2, 4),
        ([(6, 40), (4, 70)], 3, 9, 6),  # up: the lowest of the last 60 s
        ([(6, 40), (4, 70)], 5, 3, 5),  # between both there is nothing to do
        ([], 5, 8, 8),
    ],
)
def test_the_mildest_recent_recommendation_is_followed(
    recent: list[tuple[int, float]], current: int, proposed: int, wanted: int
) -> None:
    behaviour = Behaviour(up=Rules((), stabilization_s=60), down=Rules((), stabilization_s=120))
    history = History(tuple(Dated(count, NOW - age_s) for count, age_s in recent))
    found, after = stabilise(NOW, current, proposed, Limits(1, 20, behaviour), history)
    assert found == wanted
    assert after.recommendations[-1] == Dated(proposed, NOW)
    assert all(each.at >= NOW - 120 for each in after.recommendations)


PODS_2, PERCENT_50 = Policy("pods", 2, 60), Policy("percent", 50, 60)


@pytest.mark.parametrize(
    ("current", "asked", "rules", "history", "wanted", "limited_by"),
    [
        (10, 30, Rules((PODS_2, PERCENT_50)), History(), 15, "ScaleUpLimit"),
        (10, 30, Rules((PODS_2, PERCENT_50), "min"), History(), 12, "ScaleUpLimit"),
        (10, 30, Rules((PODS_2,), "disabled"), History(), 10, "ScaleUpLimit"),
        (10, 11, Rules((PODS_2,)), History(), 11, None),
        (10, 30, Rules((PODS_2,)), History(added=(Dated(1, NOW - 59),)), 11, "ScaleUpLimit"),
        (10, 30, Rules((PODS_2,)), History(added=(Dated(1, NOW - 61),)), 12, "ScaleUpLimit"),
        (10, 30, Rules((PODS_2,)), History(added=(Dated(5, NOW - 10),)), 10, "ScaleUpLimit"),
        (10, 30, Rules((PODS_2,)), History(removed=(Dated(3, NOW - 10),)), 15, "ScaleUpLimit"),
        (3, 30, Rules((Policy("percent", 10, 60),)), History(), 4, "ScaleUpLimit"),  # rounded up, or it never grows
        (10, 2, Rules((PODS_2, PERCENT_50)), History(), 5, "ScaleDownLimit"),
        (10, 2, Rules((PODS_2, PERCENT_50), "min"), History(), 8, "ScaleDownLimit"),
        (10, 2, Rules((PODS_2,), "disabled"), History(), 10, "ScaleDownLimit"),
        (10, 2, Rules((PODS_2,)), History(removed=(Dated(1, NOW - 59),)), 9, "ScaleDownLimit"),
        (10, 2, Rules((PODS_2,)), History(removed=(Dated(6, NOW - 59),)), 10, "ScaleDownLimit"),
        (9, 2, Rules((PERCENT_50,)), History(), 4, "ScaleDownLimit"),  # 4.5, cut
        (9, 0, Rules((Policy("percent", 100, 60),)), History(), 1, "TooFewReplicas"),
        (9, 90, Rules((Policy("percent", 900, 60),)), History(), 40, "TooManyReplicas"),
    ],
)
def test_the_behaviour_limits_the_speed(
    current: int, asked: int, rules: Rules, history: History, wanted: int, limited_by: str | None
) -> None:
    limits = Limits(1, 40, Behaviour(up=rules, down=rules))
    assert limit(NOW, current, asked, limits, history) == (wanted, limited_by)


def test_steps_that_follow_each_other_keep_to_the_policy_together() -> None:
    limits = Limits(1, 40, Behaviour(up=Rules((Policy("pods", 4, 60),))))
    current, history, seen = 4, History(), []
    for second in range(0, 150, 15):
        decision = decide(NOW + second, current, fleet(count=current), [Value("gpu", 1_000, 9_000)], limits, history)
        current, history = decision.wanted, decision.history
        seen.append(current)
    assert seen == [8, 8, 8, 8, 12, 12, 12, 12, 16, 16]
    assert len(history.added) <= 2
