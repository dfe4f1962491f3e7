from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.policy.replicas import Clock

from tulou.service.gateway.policy.retries import BACKOFF_S, LONGEST_BACKOFF_S, RetryBudget, backoff_s


def test_a_quiet_service_may_retry_some() -> None:
    budget = RetryBudget(spare_a_second=1, now=Clock())
    assert [budget.allows() for _ in range(11)] == [True] * 10 + [False]


def test_a_busy_service_may_retry_a_fifth() -> None:
    budget = RetryBudget(share=0.2, spare_a_second=0, now=Clock())
    for _ in range(100):
        budget.request()
    assert sum(budget.allows() for _ in range(100)) == 20


def test_what_was_spent_is_forgotten_after_the_window() -> None:
    clock = Clock()
    budget = RetryBudget(spare_a_second=1, now=clock)
    assert sum(budget.allows() for _ in range(50)) == 10
    clock.now += 9
    assert not budget.allows()
    clock.now += 2.1
    assert budget.allows()
    clock.now += 1e6
    assert sum(budget.allows() for _ in range(50)) == 10


@given(
    st.floats(0, 1),
    st.floats(0, 5),
    st.lists(st.tuples(st.sampled_from(["request", "retry"]), st.floats(0, 3)), max_size=200),
)
def test_no_window_ever_holds_more_retries_than_its_share(
    share: float, spare: float, happened: list[tuple[str, float]]
) -> None:
    clock = Clock()
    budget = RetryBudget(share, spare, now=clock)
    requests, retries = [], []
    for kind, pause in happened:
        clock.now += pause
        if kind == "request":
            budget.request()
            requests.append(clock.now)
        elif budget.allows():
            retries.append(clock.now)
            within = sum(clock.now - at <= 10 for at in retries)
            asked = sum(clock.now - at <= 11 for at in requests)  # a slice more than the window may be remembered
            assert within <= 10 * spare + share * asked + 1e-6


@given(st.integers(1, 100), st.integers())
def test_pauses_grow_to_a_bound_and_are_random(retry: int, seed: int) -> None:
    longest = min(BACKOFF_S * 2.0 ** min(retry - 1, 16), LONGEST_BACKOFF_S)
    assert 0 <= backoff_s(retry, random.Random(seed)) <= longest


def test_pauses_use_the_whole_range() -> None:
    rng = random.Random(0)
    pauses = [backoff_s(3, rng) for _ in range(1000)]
    assert min(pauses) < 0.005
    assert max(pauses) == pytest.approx(0.1, abs=0.005)
