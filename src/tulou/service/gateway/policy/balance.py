"""Which of the ready replicas gets the next request: pure choices, by name.

`least_connections` sends it where the fewest are being answered; it needs no knowledge of the work and never piles up
behind one long generation. `round_robin` is for work that is all alike. `peak_ewma` also knows how long each replica
lately took, so a slow one gets less; it looks at two replicas a request, however many there are. `prefix_affinity`
sends a conversation where its beginning lies warm, unless that replica is busier than its share by more than a quarter.

A replica of weight 2 gets twice as much. Sources: nginx's smooth weighted round robin; Mitzenmacher, The Power of Two
Choices in Randomized Load Balancing (2001), with Finagle's Peak EWMA as the load; Thaler and Ravishankar's rendezvous
hashing (1998), weighted by Schindelhauer and Schomaker (2005), with the bound of Mirrokni, Thorup and Zadimoghaddam,
Consistent Hashing with Bounded Loads (2018).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from tulou.core.errors import SettingsError

if TYPE_CHECKING:
    from tulou.service.pool import Endpoint

DECAY_S = 10.0  # Finagle's default: in this time a latency seen once has faded to a third
FAILED_S = 1.0  # what a failed answer counts as, at least: failing fast is not being fast
LONGEST_S = 60.0  # beyond which a latency says nothing more
UNSEEN_S = 1e6  # Finagle's penalty: a replica that is yet to give its first answer gets one request at a time
LOAD_BOUND = 1.25  # times the fair share; Mirrokni et al. prove few moves at this value, HAProxy suggests it too
SPARE_ENTRIES = 64  # kept of replicas that are gone, before they are forgotten

_MASK = (1 << 64) - 1

Clock = Callable[[], float]


class Balancer(Protocol):
    wants_affinity: bool  # whether it makes use of it: to find it costs more than to choose

    def choose(
        self, endpoints: Sequence[Endpoint], load: Mapping[Endpoint, int], affinity: bytes | None = None
    ) -> Endpoint:
        """One of `endpoints`, of which there is at least one.

        `load` counts the requests that each is answering now. Equal `affinity` means work that shares a beginning.
        """
        ...

    def observe(self, endpoint: Endpoint, seconds: float, ok: bool) -> None:
        """Be told how long an answer took to come (a stream: to begin), or a failure to show."""
        ...


class RoundRobin:
    """Each in turn, heavier ones oftener and evenly spread: of weights 5, 1, 1 the turns are a a b a c a a."""

    wants_affinity = False

    def __init__(self) -> None:
        self._credit: dict[Endpoint, float] = {}

    def choose(
        self, endpoints: Sequence[Endpoint], load: Mapping[Endpoint, int], affinity: bytes | None = None
    ) -> Endpoint:
        credit, total = self._credit, 0.0
        chosen, most = endpoints[0], -math.inf
        for endpoint in endpoints:
            total += endpoint.weight
            has = credit[endpoint] = credit.get(endpoint, 0.0) + endpoint.weight
            if has > most:
                chosen, most = endpoint, has
        credit[chosen] -= total
        if len(credit) > len(endpoints) + SPARE_ENTRIES:
            self._credit = {endpoint: credit[endpoint] for endpoint in endpoints}
        return chosen

    def observe(self, endpoint: Endpoint, seconds: float, ok: bool) -> None:
        pass


class LeastConnections:
    """The least loaded for its weight; equally idle ones in turn."""

    wants_affinity = False

    def __init__(self) -> None:
        self._turn = -1

    def choose(
        self, endpoints: Sequence[Endpoint], load: Mapping[Endpoint, int], affinity: bytes | None = None
    ) -> Endpoint:
        if len(endpoints) == 1:
            return endpoints[0]
        least, idlest = math.inf, []
        for endpoint in endpoints:
            each = (load.get(endpoint, 0) + 1) / endpoint.weight
            if each < least:
                least, idlest = each, [endpoint]
            elif each == least:
                idlest.append(endpoint)
        self._turn += 1
        return idlest[self._turn % len(idlest)]

    def observe(self, endpoint: Endpoint, seconds: float, ok: bool) -> None:
        pass


@dataclass(slots=True)
class _Latency:
    seconds: float
    at: float


class PeakEwma:
    """The cheaper of two picked at random; the cost is recent latency times requests in flight.

    A slower answer than expected counts at once and fully (the peak), a faster one by and by. What is not asked is
    forgotten in some `DECAY_S`, so a replica that was slow is tried again.
    """

    wants_affinity = False

    def __init__(self, now: Clock = time.monotonic, rng: random.Random | None = None) -> None:
        self._now = now
        self._random = (rng or random.Random()).random
        self._latencies: dict[Endpoint, _Latency] = {}

    def choose(
        self, endpoints: Sequence[Endpoint], load: Mapping[Endpoint, int], affinity: bytes | None = None
    ) -> Endpoint:
        count = len(endpoints)
        if count == 1:
            return endpoints[0]
        first = int(self._random() * count)
        second = (first + 1 + int(self._random() * (count - 1))) % count
        one, other = endpoints[first], endpoints[second]
        now = self._now()
        return one if self._cost(one, load, now) <= self._cost(other, load, now) else other

    def observe(self, endpoint: Endpoint, seconds: float, ok: bool) -> None:
        now = self._now()
        known = self._latencies.get(endpoint)
        if known is None:
            self._forget(now)
            self._latencies[endpoint] = _Latency(seconds if ok else max(seconds, FAILED_S), now)
            return
        if not ok:
            seconds = max(seconds, 2 * known.seconds, FAILED_S)
        seconds = min(seconds, LONGEST_S)
        kept = math.exp(-max(now - known.at, 0.0) / DECAY_S)
        if seconds < known.seconds:
            seconds = known.seconds * kept + seconds * (1 - kept)
        known.seconds, known.at = seconds, now

    def _cost(self, endpoint: Endpoint, load: Mapping[Endpoint, int], now: float) -> float:
        in_flight = load.get(endpoint, 0)
        known = self._latencies.get(endpoint)
        if known is None:
            return UNSEEN_S * in_flight / endpoint.weight
        faded = known.seconds * math.exp(-max(now - known.at, 0.0) / DECAY_S)
        return faded * (in_flight + 1) / endpoint.weight

    def _forget(self, now: float) -> None:
        if len(self._latencies) > SPARE_ENTRIES:
            self._latencies = {each: seen for each, seen in self._latencies.items() if now - seen.at < 10 * DECAY_S}


class PrefixAffinity:
    """Where its hash leads, unless that replica is over its bound: then where the hash leads next.

    Nothing is remembered, so several gateways agree without talking, and a replica that comes or goes moves only the
    conversations that it gets or had. Requests without a key go to the idlest.
    """

    wants_affinity = True

    def __init__(self, bound: float = LOAD_BOUND) -> None:
        self._bound = bound
        self._idlest = LeastConnections()
        self._seeds: dict[str, int] = {}

    def choose(
        self, endpoints: Sequence[Endpoint], load: Mapping[Endpoint, int], affinity: bytes | None = None
    ) -> Endpoint:
        if affinity is None or len(endpoints) == 1:
            return self._idlest.choose(endpoints, load)
        total_weight = sum(endpoint.weight for endpoint in endpoints)
        per_weight = self._bound * (sum(load.get(endpoint, 0) for endpoint in endpoints) + 1) / total_weight
        key = _hash(affinity)
        ranked = sorted(endpoints, key=lambda endpoint: self._rank(key, endpoint), reverse=True)
        for endpoint in ranked:
            if load.get(endpoint, 0) < math.ceil(per_weight * endpoint.weight):
                return endpoint
        return ranked[0]  # cannot be: the bounds add up to more than there is to carry

    def observe(self, endpoint: Endpoint, seconds: float, ok: bool) -> None:
        pass

    def _rank(self, key: int, endpoint: Endpoint) -> float:
        seed = self._seeds.get(endpoint.name)
        if seed is None:
            if len(self._seeds) > 16 * SPARE_ENTRIES:
                self._seeds.clear()
            seed = self._seeds[endpoint.name] = _hash(endpoint.name.encode())
        return endpoint.weight / -math.log(_uniform(key ^ seed))


def _hash(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def _uniform(mixed: int) -> float:
    """A number strictly between 0 and 1 by the finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & _MASK
    mixed ^= mixed >> 31
    return ((mixed >> 11) + 0.5) / (1 << 53)


BALANCERS: dict[str, Callable[[Clock, random.Random], Balancer]] = {
    "least_connections": lambda _now, _rng: LeastConnections(),
    "peak_ewma": PeakEwma,
    "prefix_affinity": lambda _now, _rng: PrefixAffinity(),
    "round_robin": lambda _now, _rng: RoundRobin(),
}


def make_balancer(name: str, now: Clock = time.monotonic, rng: random.Random | None = None) -> Balancer:
    if name not in BALANCERS:
        raise SettingsError(f"unknown balancer {name!r}; choose from {', '.join(sorted(BALANCERS))}")
    return BALANCERS[name](now, rng or random.Random())
