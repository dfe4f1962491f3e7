"""Metrics as Prometheus reads them, of one process or of several together.

Counters, histograms and requests in flight of gateway workers add up; what only the main process knows (replicas, how
many are wanted) is taken from it alone. What each worker sees of the same replicas does not add up: the largest number
is told, so that a replica that one worker leaves alone shows. A worker that died keeps its place in the counters, so
that they never fall.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from tulou.core.telemetry import Metrics
from tulou.service.pool import ReplicaStatus

OF_THE_FLEET = ("tulou_replicas", "tulou_replicas_wanted")
SEEN_BY_EACH = ("tulou_replica_breakers",)


class Sampled(Struct):
    name: str
    labels: dict[str, str]
    value: float


class Family(Struct):
    name: str
    help: str
    type: str
    samples: list[Sampled]


def note_states(metrics: Metrics, status: Sequence[ReplicaStatus]) -> None:
    """Set the gauge of replicas to what they are now."""
    metrics.replicas.clear()
    for (model, state), count in Counter((replica.model, replica.state) for replica in status).items():
        metrics.replicas.labels(model, state).set(count)


def snapshot(registry: CollectorRegistry) -> list[Family]:
    return [
        Family(each.name, each.documentation, each.type, [Sampled(s.name, s.labels, s.value) for s in each.samples])
        for each in registry.collect()
    ]


def of_worker(families: Iterable[Family]) -> list[Family]:
    return [family for family in families if family.name not in OF_THE_FLEET]


def lasting(families: Iterable[Family]) -> list[Family]:
    """What of a process that has ended still counts."""
    return [family for family in families if family.type in ("counter", "histogram")]


def merge(snapshots: Iterable[Iterable[Family]]) -> list[Family]:
    """One family of each name; of equal samples the sum, or the largest where all look at the same (`SEEN_BY_EACH`)."""
    families: dict[str, Family] = {}
    totals: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in (family for each in snapshots for family in each):
        families.setdefault(family.name, family)
        total = totals.setdefault(family.name, {})
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            if sample.name.endswith("_created"):  # a time, of which the first counts
                total[key] = min(sample.value, total.get(key, sample.value))
            elif family.name in SEEN_BY_EACH:
                total[key] = max(sample.value, total.get(key, sample.value))
            else:
                total[key] = total.get(key, 0.0) + sample.value
    return [
        Family(name, family.help, family.type, [Sampled(key[0], dict(key[1]), value) for key, value in found.items()])
        for name, found in totals.items()
        for family in [families[name]]
    ]


def exposed(families: Iterable[Family]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Fixed(families))
    return generate_latest(registry)


class _Fixed(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.help, family.type)
            for sample in family.samples:
                metric.add_sample(sample.name, sample.labels, sample.value)
            yield metric
