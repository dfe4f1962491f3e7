from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.policy.replicas import Clock

from tulou.service.gateway.policy.balance import RoundRobin
from tulou.service.gateway.policy.breaker import BreakerLimits, Breakers
from tulou.service.gateway.policy.retries import RetryBudget
from tulou.service.gateway.policy.rollout import VariantTable, split
from tulou.service.gateway.policy.steering import Steering
from tulou.service.pool import Endpoint

OLD, OLD_2, NEW, OLDER = (
    Endpoint(f"m-{i}", "m", f"http://{i}", version=version) for i, version in enumerate(("1", "1", "2", "0"))
)
ALL = [OLD, OLD_2, NEW, OLDER]


def steering(clock: Clock | None = None, **options: object) -> Steering:
    clock = clock or Clock()
    table = VariantTable()
    table.set("m", split("1", "2", 0.5))
    breakers = Breakers(BreakerLimits(), clock, random.Random(0))
    return Steering(RoundRobin, breakers, RetryBudget(now=clock), table, **options)  # type: ignore[arg-type]


def fail(steered: Steering, *endpoints: Endpoint) -> None:
    for endpoint in endpoints:
        for _ in range(5):
            steered.failed(endpoint, 0.1)


@pytest.mark.parametrize(
    ("ready", "versions", "tried", "expected"),
    [
        (ALL, (), (), ALL),
        (ALL, ("1", "2"), (), [OLD, OLD_2]),
        (ALL, ("2", "1"), (), [NEW]),
        (ALL, ("2", "1"), (NEW,), [OLD, OLD_2]),
        (ALL, ("2", "1"), (NEW, OLD), [OLD_2]),
        (ALL, ("2", "1"), (NEW, OLD, OLD_2), [OLDER]),
        ([OLDER], ("2", "1"), (), [OLDER]),  # at the moment of a promotion
        ([NEW], ("1",), (), []),  # "2" is named by the rollout, but has no share: it is tried out in the shadow
        ([], ("1",), (), []),
    ],
)
def test_the_version_that_was_chosen_comes_first_and_then_the_others(
    ready: list[Endpoint], versions: tuple[str, ...], tried: tuple[Endpoint, ...], expected: list[Endpoint]
) -> None:
    assert list(steering().candidates("m", ready, versions, tried)) == expected


def test_a_version_whose_replicas_are_all_ejected_gives_way_to_the_next() -> None:
    steered = steering()
    fail(steered, NEW)
    assert list(steered.candidates("m", ALL, ("2", "1"))) == [OLD, OLD_2]
    fail(steered, OLD)
    assert list(steered.candidates("m", ALL, ("2", "1"))) == [OLD_2]


def test_to_begin_an_answer_does_not_clear_a_replica_that_never_ends_one() -> None:
    steered = steering()
    for _ in range(5):
        steered.answered(OLD, 0.1)
        is_ejected = steered.failed(OLD, 0.1)
    assert is_ejected


def test_another_model_is_asked_only_where_one_cannot_answer() -> None:
    steered = steering(fallback={"m": "small"})
    assert list(steered.models("m")) == ["m", "small"]
    assert list(steered.models("small")) == ["small"]
    assert not steered.can_answer([])
    assert steered.can_answer([OLD])
    fail(steered, OLD)
    assert not steered.can_answer([OLD])
    assert steered.can_answer([OLD, OLD_2])


def test_attempts_and_budget_both_bound_retries() -> None:
    steered = steering(max_attempts=3)
    assert [steered.pause_before(retry) is not None for retry in (1, 2, 3)] == [True, True, False]
    spent = sum(steered.pause_before(1) is not None for _ in range(500))
    assert spent == 98


@given(st.sets(st.sampled_from(ALL)), st.sets(st.sampled_from(ALL)), st.sampled_from([(), ("1",), ("2", "1")]))
def test_what_was_tried_is_never_asked_again(
    ready: set[Endpoint], tried: set[Endpoint], versions: tuple[str, ...]
) -> None:
    found = steering().candidates("m", sorted(ready, key=str), versions, list(tried))
    assert set(found) <= ready - tried
