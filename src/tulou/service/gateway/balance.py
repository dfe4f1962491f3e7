"""Which of the ready replicas gets the next request: pure choices, by name.

`least_connections` sends it where the fewest are being answered, ties in turn; it needs no knowledge of the work and
never piles up behind one long generation. `round_robin` is for work that is all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tulou.core.errors import SettingsError
from tulou.service.pool import Endpoint


class Balancer(Protocol):
    def choose(self, endpoints: Sequence[Endpoint], in_flight: Mapping[Endpoint, int]) -> Endpoint:
        """One of `endpoints`, of which there is at least one."""
        ...


class RoundRobin:
    def __init__(self) -> None:
        self._turn = -1

    def choose(self, endpoints: Sequence[Endpoint], in_flight: Mapping[Endpoint, int]) -> Endpoint:
        self._turn += 1
        return endpoints[self._turn % len(endpoints)]


class LeastConnections:
    def __init__(self) -> None:
        self._turn = -1

    def choose(self, endpoints: Sequence[Endpoint], in_flight: Mapping[Endpoint, int]) -> Endpoint:
        fewest = min(in_flight.get(endpoint, 0) for endpoint in endpoints)
        idlest = [endpoint for endpoint in endpoints if in_flight.get(endpoint, 0) == fewest]
        self._turn += 1
        return idlest[self._turn % len(idlest)]


BALANCERS: dict[str, Callable[[], Balancer]] = {
    "least_connections": LeastConnections,
    "round_robin": RoundRobin,
}


def make_balancer(name: str) -> Balancer:
    if name not in BALANCERS:
        raise SettingsError(f"unknown balancer {name!r}; choose from {', '.join(sorted(BALANCERS))}")
    return BALANCERS[name]()
