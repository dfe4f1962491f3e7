from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.policy.replicas import Clock, replicas

from tulou.core.errors import SettingsError
from tulou.service.gateway.policy.balance import (
    BALANCERS,
    LOAD_BOUND,
    PeakEwma,
    PrefixAffinity,
    RoundRobin,
    make_balancer,
)
from tulou.service.pool import Endpoint

A, B, C = replicas(3)
loads = st.lists(st.integers(0, 50), min_size=1, max_size=12)
weights = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=1, max_size=8)


@pytest.mark.parametrize("name", ["least_connections", "round_robin"])
def test_equal_work_is_spread_in_turns(name: str) -> None:
    balancer = make_balancer(name)
    chosen = Counter(balancer.choose([A, B, C], {}) for _ in range(9))
    assert chosen == {A: 3, B: 3, C: 3}


@pytest.mark.parametrize("name", sorted(BALANCERS))
@given(data=st.data())
def test_every_balancer_follows_replicas_that_come_and_go(name: str, data: st.DataObject) -> None:
    clock = Clock()
    balancer = make_balancer(name, clock, random.Random(0))
    everyone = replicas(6, data.draw(st.lists(st.sampled_from([0.1, 1.0, 7.0]), min_size=6, max_size=6)))
    for _ in range(6):
        candidates = data.draw(st.lists(st.sampled_from(everyone), min_size=1, unique=True))
        load = data.draw(st.dictionaries(st.sampled_from(everyone), st.integers(0, 9)))
        chosen = balancer.choose(candidates, load, data.draw(st.none() | st.binary(max_size=4)))
        assert chosen in candidates
        balancer.observe(chosen, data.draw(st.floats(0, 100)), data.draw(st.booleans()))
        clock.now += data.draw(st.floats(0, 30))


@pytest.mark.parametrize("name", sorted(BALANCERS))
def test_heavier_replicas_carry_more_by_their_weight(name: str) -> None:
    """Every request stays for a while, as in a service; each answer takes the same time."""
    clock, rng = Clock(), random.Random(1)
    balancer = make_balancer(name, clock, rng)
    endpoints = replicas(3, [1.0, 1.0, 2.0])
    load: Counter[Endpoint] = Counter()
    under_way: list[Endpoint] = []
    chosen: Counter[Endpoint] = Counter()
    for i in range(4000):
        endpoint = balancer.choose(endpoints, load, str(i).encode())
        chosen[endpoint] += 1
        load[endpoint] += 1
        under_way.append(endpoint)
        if len(under_way) > 40:
            done = under_way.pop(0)
            load[done] -= 1
            balancer.observe(done, 0.1, True)
        clock.now += 0.01
    assert chosen[endpoints[2]] / 4000 == pytest.approx(0.5, abs=0.06)
    assert chosen[endpoints[0]] / 4000 == pytest.approx(0.25, abs=0.06)


def test_round_robin_spreads_a_heavy_replicas_turns() -> None:
    a, b, c = replicas(3, [5.0, 1.0, 1.0])
    balancer = RoundRobin()
    assert [balancer.choose([a, b, c], {}) for _ in range(7)] == [a, a, b, a, c, a, a]  # nginx's own example


@given(loads)
def test_least_connections_never_chooses_a_busier_one(each: list[int]) -> None:
    endpoints = replicas(len(each))
    load = dict(zip(endpoints, each, strict=True))
    assert load[make_balancer("least_connections").choose(endpoints, load)] == min(each)


def test_a_slow_replica_gets_less_and_is_tried_again_later() -> None:
    clock = Clock()
    balancer = PeakEwma(clock, random.Random(0))
    for endpoint, seconds in ((A, 0.1), (B, 0.1), (C, 2.0)):
        balancer.observe(endpoint, seconds, True)
    chosen = Counter(balancer.choose([A, B, C], {}) for _ in range(300))
    assert chosen[C] == 0
    for _ in range(60):  # the others keep answering, C is forgotten by and by
        clock.now += 1.0
        balancer.observe(A, 0.1, True)
        balancer.observe(B, 0.1, True)
    assert Counter(balancer.choose([A, B, C], {}) for _ in range(300))[C] > 0


def test_failing_fast_is_not_being_fast() -> None:
    balancer = PeakEwma(Clock(), random.Random(0))
    balancer.observe(A, 0.2, True)
    balancer.observe(B, 0.001, False)
    assert {balancer.choose([A, B], {}) for _ in range(50)} == {A}


def test_a_replica_without_a_first_answer_gets_one_request_at_a_time() -> None:
    balancer = PeakEwma(Clock(), random.Random(0))
    balancer.observe(A, 0.2, True)
    assert {balancer.choose([A, B], {}) for _ in range(20)} == {B}
    assert {balancer.choose([A, B], {B: 1}) for _ in range(20)} == {A}


@given(st.lists(st.tuples(st.floats(0, 1e4), st.booleans(), st.floats(0, 100)), max_size=40))
def test_a_latency_never_leaves_what_was_observed(seen: list[tuple[float, bool, float]]) -> None:
    clock = Clock()
    balancer = PeakEwma(clock)
    for seconds, ok, pause in seen:
        balancer.observe(A, seconds, ok)
        clock.now += pause
        cost = balancer._cost(A, {}, clock.now)
        assert 0 <= cost <= max(1e4, 60)


@given(loads, weights, st.binary())
def test_affinity_never_exceeds_the_bound(each: list[int], heavy: list[float], key: bytes) -> None:
    count = min(len(each), len(heavy))
    endpoints = replicas(count, heavy[:count])
    load = dict(zip(endpoints, each[:count], strict=True))
    chosen = PrefixAffinity().choose(endpoints, load, key)
    fair = (sum(load.values()) + 1) * chosen.weight / sum(endpoint.weight for endpoint in endpoints)
    if count > 1:
        assert load[chosen] + 1 <= math.ceil(LOAD_BOUND * fair)


@given(st.lists(st.binary(min_size=1), min_size=1, max_size=30, unique=True), st.integers(2, 8), st.data())
def test_a_replica_that_goes_moves_only_its_own_conversations(
    keys: list[bytes], count: int, data: st.DataObject
) -> None:
    endpoints = replicas(count)
    gone = data.draw(st.sampled_from(endpoints))
    left = [endpoint for endpoint in endpoints if endpoint != gone]
    for key in keys:
        before = PrefixAffinity().choose(endpoints, {}, key)
        after = PrefixAffinity().choose(left, {}, key)
        assert after == before or before == gone


def test_two_gateways_agree_on_a_conversations_replica_whatever_the_order() -> None:
    one, other = PrefixAffinity(), PrefixAffinity()
    for i in range(100):
        key = f"conversation {i}".encode()
        assert one.choose([A, B, C], {}, key) == other.choose([C, A, B], {}, key)


def test_conversations_are_spread_over_replicas() -> None:
    balancer = PrefixAffinity()
    chosen = Counter(balancer.choose([A, B, C], {}, f"c{i}".encode()) for i in range(3000))
    assert all(count == pytest.approx(1000, abs=120) for count in chosen.values())


@pytest.mark.parametrize("name", sorted(BALANCERS))
def test_replicas_that_are_gone_are_forgotten(name: str) -> None:
    clock = Clock()
    balancer = make_balancer(name, clock)
    for i in range(2000):
        endpoint = Endpoint(f"m-{i}", "m", f"http://{i}")
        balancer.choose([endpoint, A], {}, b"key")
        balancer.observe(endpoint, 0.1, True)
        clock.now += 1.0
    kept = [len(value) for value in vars(balancer).values() if isinstance(value, dict)]
    assert all(count <= 1100 for count in kept)


def test_an_unknown_balancer_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(SettingsError, match="unknown balancer 'rr'; choose from least_connections, peak_ewma"):
        make_balancer("rr")
