"""`tulou bench balance`: the balancers of the gateway under simulated work, the same for each.

A seeded discrete-event simulation: requests arrive at random (Poisson), each replica works on some at once and lets the
next wait. Four kinds of work, each adding one difficulty: `even` (all requests alike), `heavy_tail` (log-normal times,
the slowest hundredth some 16 times the median), `slow_replica` (one of them takes three times as long), `warm_prefix`
(conversations, popular ones oftener; a replica that still has one warm takes half as long). The balancers are the
gateway's own, with the simulation's clock. It models queues, not processors: what a policy does to waiting is real, a
replica's speed under load is not.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tulou.service.gateway.policy.balance import BALANCERS, make_balancer
from tulou.service.pool import Endpoint

MEAN_S = 0.5  # of one request on a replica of ordinary speed
TAIL_SIGMA = 1.2  # of the log-normal: p99 / p50 = exp(2.33 x 1.2) = 16, as of answers between a word and a page
SLOW_FACTOR = 3.0
WARM_FACTOR = 0.5
CONVERSATIONS = 400
WARM_CONVERSATIONS = 100  # that one replica keeps; together they keep all, if each is kept once
POPULARITY = 0.8  # exponent of Zipf's law


@dataclass(frozen=True)
class Work:
    """What makes one scenario harder than the last."""

    name: str
    sigma: float = 0.0  # of the log-normal times; 0: all alike
    slow_replicas: int = 0
    has_conversations: bool = False


SCENARIOS = (
    Work("even"),
    Work("heavy_tail", TAIL_SIGMA),
    Work("slow_replica", TAIL_SIGMA, 1),
    Work("warm_prefix", TAIL_SIGMA, 1, True),
)


@dataclass(frozen=True)
class Request:
    at: float
    seconds: float  # of work for a replica of ordinary speed that does not have it warm
    conversation: int


@dataclass
class Replica:
    endpoint: Endpoint
    slots: int
    factor: float
    working: int = 0
    waiting: deque[Request] = field(default_factory=deque)
    warm: OrderedDict[int, None] = field(default_factory=OrderedDict)
    busy_s: float = 0.0

    def warms(self, conversation: int) -> bool:
        """Whether it had the conversation warm; it has now."""
        was_warm = conversation in self.warm
        self.warm[conversation] = None
        self.warm.move_to_end(conversation)
        if len(self.warm) > WARM_CONVERSATIONS:
            self.warm.popitem(last=False)
        return was_warm


def bench_balance(
    requests: int = 20_000, replicas: int = 4, slots: int = 4, load: float = 0.75, seed: int = 0
) -> dict[str, Any]:
    """`load` is the share of what the replicas could do that is asked of them, with nothing warm."""
    scenarios = []
    for work in SCENARIOS:
        asked = list(arrivals(work, requests, replicas, slots, load, seed))
        rows = [{"policy": name, **Simulation(work, name, replicas, slots, seed).run(asked)} for name in BALANCERS]
        scenarios.append({"name": work.name, "rows": rows})
    return {
        "requests": requests,
        "replicas": replicas,
        "slots": slots,
        "load": load,
        "seed": seed,
        "scenarios": scenarios,
    }


def arrivals(work: Work, requests: int, replicas: int, slots: int, load: float, seed: int) -> Iterator[Request]:
    rng = random.Random(seed)
    speed = replicas - work.slow_replicas + work.slow_replicas / SLOW_FACTOR  # in ordinary replicas
    rate = load * speed * slots / MEAN_S
    weights = [1 / (rank + 1) ** POPULARITY for rank in range(CONVERSATIONS)]
    conversations = rng.choices(range(CONVERSATIONS), weights, k=requests)
    now = 0.0
    for conversation in conversations:
        now += rng.expovariate(rate)
        seconds = MEAN_S * rng.lognormvariate(-(work.sigma**2) / 2, work.sigma) if work.sigma else MEAN_S
        yield Request(now, seconds, conversation)


class Simulation:
    """One policy under one scenario's work."""

    def __init__(self, work: Work, policy: str, replicas: int, slots: int, seed: int) -> None:
        self._work = work
        self._now = 0.0
        self._balancer = make_balancer(policy, lambda: self._now, random.Random(seed))
        self._replicas = {
            endpoint: Replica(endpoint, slots, SLOW_FACTOR if i < work.slow_replicas else 1.0)
            for i in range(replicas)
            for endpoint in [Endpoint(f"m-{i}", "m", f"http://{i}")]
        }
        self._load: Counter[Endpoint] = Counter()
        self._ends: list[tuple[float, int, Replica, Request]] = []  # what is being worked on, soonest end first
        self._latencies: list[float] = []
        self._warm = 0
        self._begun = 0

    def run(self, requests: Sequence[Request]) -> dict[str, float | None]:
        for request in requests:
            self._end_until(request.at)
            self._now = request.at
            self._begin(request)
        last_arrival = self._now
        self._end_until(float("inf"))
        latencies = sorted(self._latencies)
        use = [each.busy_s / (each.slots * max(self._now, last_arrival)) for each in self._replicas.values()]
        return {
            "p50_ms": 1000 * latencies[len(latencies) // 2],
            "p99_ms": 1000 * latencies[int(0.99 * len(latencies))],
            "utilisation": sum(use) / len(use),
            "idlest": min(use),
            "busiest": max(use),
            "warm_share": self._warm / len(latencies) if self._work.has_conversations else None,
        }

    def _begin(self, request: Request) -> None:
        affinity = str(request.conversation).encode() if self._work.has_conversations else None
        endpoint = self._balancer.choose(list(self._replicas), self._load, affinity)
        self._load[endpoint] += 1
        replica = self._replicas[endpoint]
        if replica.working < replica.slots:
            self._work_on(replica, request)
        else:
            replica.waiting.append(request)

    def _work_on(self, replica: Replica, request: Request) -> None:
        seconds = request.seconds * replica.factor
        if self._work.has_conversations and replica.warms(request.conversation):
            seconds *= WARM_FACTOR
            self._warm += 1
        replica.working += 1
        replica.busy_s += seconds
        self._begun += 1  # two ends at one time come in the order they began
        heapq.heappush(self._ends, (self._now + seconds, self._begun, replica, request))

    def _end_until(self, until: float) -> None:
        while self._ends and self._ends[0][0] <= until:
            self._now, _, replica, request = heapq.heappop(self._ends)
            replica.working -= 1
            self._load[replica.endpoint] -= 1
            self._latencies.append(self._now - request.at)
            self._balancer.observe(replica.endpoint, self._now - request.at, True)
            if replica.waiting:
                self._work_on(replica, replica.waiting.popleft())
