from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.policy.replicas import Clock, replicas

from tulou.service.gateway.policy.breaker import MAX_EJECTION_S, BreakerLimits, Breakers
from tulou.service.pool import Endpoint

A, B, C = replicas(3)
ALL = [A, B, C]


def breakers(clock: Clock, **limits: float) -> Breakers:
    return Breakers(BreakerLimits(**limits), clock, random.Random(0))  # type: ignore[arg-type]


def fail(some: Breakers, endpoint: Endpoint, times: int = 5) -> None:
    for _ in range(times):
        some.record(endpoint, False)


def test_one_that_fails_in_a_row_is_ejected_until_its_time_is_over() -> None:
    clock = Clock()
    some = breakers(clock)
    fail(some, A, 4)
    assert some.allowed(ALL) == ALL
    some.record(A, True)
    fail(some, A, 4)
    assert some.allowed(ALL) == ALL
    fail(some, A, 1)
    assert some.allowed(ALL) == [B, C]
    assert some.state(A) == "open"
    clock.now += 0.99
    assert some.allowed(ALL) == [B, C]


def test_one_request_tries_it_and_the_others_go_elsewhere_meanwhile() -> None:
    clock = Clock()
    some = breakers(clock)
    fail(some, A)
    clock.now += 1.01
    assert some.allowed(ALL, may_try=False) == [B, C]
    assert some.allowed(ALL) == [A]
    assert some.state(A) == "trying"
    assert some.allowed(ALL) == [B, C]


def test_each_failed_trial_doubles_the_time_up_to_a_bound() -> None:
    clock = Clock()
    some = breakers(clock)
    fail(some, A)
    for times in range(1, 10):
        clock.now += min(2.0 ** (times - 1), MAX_EJECTION_S) - 0.01
        assert some.allowed(ALL) == [B, C]
        clock.now += 0.02
        assert some.allowed(ALL) == [A]
        assert some.record(A, False)


def test_a_trial_whose_outcome_never_comes_is_followed_by_another() -> None:
    clock = Clock()
    some = breakers(clock)
    fail(some, A)
    clock.now += 1.01
    assert some.allowed(ALL) == [A]
    clock.now += 10
    assert some.allowed(ALL) == [A]


def test_one_that_passes_its_trial_returns_slowly() -> None:
    clock = Clock()
    some = breakers(clock, slow_return_s=10)
    fail(some, A)
    clock.now += 1.01
    some.allowed(ALL)
    some.record(A, True)
    assert some.state(A) == "returning"
    shares = []
    for seconds in (1, 4, 4):
        clock.now += seconds
        shares.append(sum(A in some.allowed(ALL) for _ in range(1000)) / 1000)
    assert shares == pytest.approx([0.1, 0.5, 0.9], abs=0.05)
    clock.now += 1.01
    assert all(some.allowed(ALL) == ALL for _ in range(100))
    assert some.state(A) == "closed"


def test_answers_to_requests_from_before_do_not_end_an_ejection() -> None:
    some = breakers(Clock())
    fail(some, A)
    some.record(A, True)
    assert some.allowed(ALL) == [B, C]


def test_one_that_fails_far_oftener_than_the_others_is_an_outlier() -> None:
    some = breakers(Clock())
    for i in range(40):
        some.record(A, i % 3 != 0)  # a third fails, never two in a row
        some.record(B, True)
        some.record(C, True)
    assert some.allowed(ALL) == [B, C]


def test_what_fails_everywhere_alike_is_nobodys_fault() -> None:
    some = breakers(Clock())
    for i in range(60):
        for endpoint in ALL:
            some.record(endpoint, i % 3 != 0)
    assert some.allowed(ALL) == ALL


@pytest.mark.parametrize(("count", "most"), [(1, 0), (2, 1), (3, 2), (4, 2), (10, 7)])
def test_never_more_than_a_share_is_ejected(count: int, most: int) -> None:
    endpoints = replicas(count)
    some = breakers(Clock(), max_ejected_share=0.7)
    for endpoint in endpoints:
        fail(some, endpoint)
    assert len(some.allowed(endpoints)) == count - most


def test_a_model_is_open_when_every_replica_is_and_none_is_due() -> None:
    clock = Clock()
    some = breakers(clock)
    fail(some, A)
    assert not some.is_open([A, B])
    fail(some, B)
    assert some.is_open([A, B])
    assert not some.is_open([])
    clock.now += 1.01
    assert not some.is_open([A, B])
    assert some.allowed([A, B]) == [A]
    assert not some.is_open([A, B])  # B is due, too
    assert some.allowed([A, B]) == [B]
    assert some.is_open([A, B])


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.floats(0, 20)), max_size=60))
def test_there_is_always_somebody_to_ask(happened: list[tuple[int, bool, float]]) -> None:
    clock = Clock()
    some = breakers(clock)
    for index, ok, pause in happened:
        some.record(ALL[index], ok)
        clock.now += pause
        allowed = some.allowed(ALL)
        assert allowed
        assert set(allowed) <= set(ALL)
        assert some.state(ALL[index]) in ("closed", "open", "trying", "returning")


@given(st.integers(0, 2**32))
def test_a_replica_that_always_fails_gets_ever_fewer_requests(seed: int) -> None:
    clock, rng = Clock(), random.Random(seed)
    some = Breakers(BreakerLimits(), clock, rng)
    asked: Counter[Endpoint] = Counter()
    for _ in range(1200):  # two minutes
        chosen = rng.choice(some.allowed(ALL))
        asked[chosen] += 1
        some.record(chosen, chosen != A)
        clock.now += 0.1
    assert asked[A] <= 5 + 8 + 20  # to be found out, its trials, and what was asked at random before


def test_replicas_that_are_gone_are_forgotten() -> None:
    clock = Clock()
    some = breakers(clock)
    for i in range(5000):
        fail(some, Endpoint("m-0", "m", f"http://{i}"))
        clock.now += 1
    assert len(some._circuits) <= 1100
    assert len(some._troubled) <= 1100


def test_a_trial_that_takes_longer_than_the_ejection_did_counts_all_the_same() -> None:
    clock = Clock()
    some = breakers(clock)
    fail(some, A)
    clock.now += 1.01
    assert some.allowed(ALL) == [A]
    clock.now += 30  # a long generation
    some.record(A, True)
    assert some.state(A) == "returning"
