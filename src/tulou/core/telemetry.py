"""Every metric Tulou exports, declared once, on a registry that is passed around and not global.

Names follow Prometheus conventions: base units, `_total` for counters. Labels are bounded (model names, replica ids,
status codes), never user input.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

# Seconds; from a cache hit to a long generation.
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Seconds(Histogram):
    """A histogram that many are put into at once."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """The same as `observe` with each, at a fifth of the cost."""
        if amounts:
            self._sum.inc(sum(amounts))
            for bucket, count in Tally(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
                self._buckets[bucket].inc(count)


class Metrics:
    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        r = self.registry
        self._first = _First()
        r.register(self._first)
        self.requests = Counter(
            "tulou_requests_total", "Requests answered by the gateway", ["route", "model", "status"], registry=r
        )
        self.request_seconds = Seconds(
            "tulou_request_seconds", "Time to the last byte", ["route", "model"], buckets=LATENCY_BUCKETS, registry=r
        )
        self.first_byte_seconds = Seconds(
            "tulou_first_byte_seconds",
            "Time to the first byte",
            ["route", "model"],
            buckets=LATENCY_BUCKETS,
            registry=r,
        )
        self.tokens = Counter("tulou_tokens_total", "Tokens read and written", ["model", "kind"], registry=r)
        self.money = Counter("tulou_money_total", "What answers cost by [service.prices]", ["model"], registry=r)
        self.retries = Counter("tulou_retries_total", "Requests tried on another replica", ["model"], registry=r)
        self.ejections = Counter(
            "tulou_replica_ejections_total",
            "Replicas left alone for a while because they failed",
            ["model"],
            registry=r,
        )
        self.breakers = Gauge(
            "tulou_replica_breakers",
            "Ready replicas by the state of their circuit breaker; the largest number that a gateway worker sees",
            ["model", "state"],
            registry=r,
        )
        self.shed = Counter("tulou_requests_shed_total", "Requests refused for want of a place", ["model"], registry=r)
        self.broken_streams = Counter(
            "tulou_streams_broken_total",
            "Streams that ended with an error after words were sent",
            ["model"],
            registry=r,
        )
        self.cached = Counter(
            "tulou_cache_lookups_total", "Answers looked for in the cache", ["model", "found"], registry=r
        )
        self.in_flight = Gauge("tulou_requests_in_flight", "Requests being answered", ["model"], registry=r)
        self.replicas = Gauge("tulou_replicas", "Replicas by state", ["model", "state"], registry=r)
        self.replicas_wanted = Gauge("tulou_replicas_wanted", "Replicas that there should be", ["model"], registry=r)
        self.scalings = Counter(
            "tulou_scalings_total", "Changes of the number of replicas", ["model", "direction"], registry=r
        )
        self.restarts = Counter("tulou_replica_restarts_total", "Replicas started again", ["model"], registry=r)
        self.answers = Counter(
            "tulou_support_answers_total", "Customer-service answers by how they were made", ["kind"], registry=r
        )
        self.feedback = Counter("tulou_feedback_total", "Thumbs given by users", ["rating"], registry=r)

    def before_reading(self, catch_up: Callable[[], None]) -> None:
        """Call `catch_up` whenever the metrics are about to be read: what counts in batches then counts what it has."""
        self._first.calls.append(catch_up)


class _First(Collector):
    """Registered before all others, so collected before them; has nothing to show itself."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def collect(self) -> Iterable[Metric]:
        for call in self.calls:
            call()
        return ()
