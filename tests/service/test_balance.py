from __future__ import annotations

import pytest

from tulou.core.errors import SettingsError
from tulou.service.gateway.balance import BALANCERS, make_balancer
from tulou.service.pool import Endpoint

A, B, C = (Endpoint(f"m-{i}", "m", f"http://127.0.0.1:{i}") for i in range(3))


@pytest.mark.parametrize("name", sorted(BALANCERS))
def test_every_balancer_spreads_equal_work_evenly(name: str) -> None:
    balancer = make_balancer(name)
    chosen = [balancer.choose([A, B, C], {}) for _ in range(9)]
    assert {endpoint: chosen.count(endpoint) for endpoint in (A, B, C)} == {A: 3, B: 3, C: 3}


@pytest.mark.parametrize("name", sorted(BALANCERS))
def test_every_balancer_follows_replicas_that_come_and_go(name: str) -> None:
    balancer = make_balancer(name)
    for candidates in ([A, B, C], [B], [B, C], [A], [A, C]):
        assert balancer.choose(candidates, {A: 1, B: 5}) in candidates


def test_least_connections_prefers_the_idlest() -> None:
    balancer = make_balancer("least_connections")
    assert balancer.choose([A, B, C], {A: 2, B: 1, C: 3}) == B
    assert balancer.choose([A, B, C], {A: 2, B: 1}) == C


def test_an_unknown_balancer_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(SettingsError, match="unknown balancer 'rr'; choose from least_connections, round_robin"):
        make_balancer("rr")
