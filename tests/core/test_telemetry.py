from __future__ import annotations

from tulou.core.telemetry import LATENCY_BUCKETS, Metrics


def samples(metrics: Metrics) -> dict[str, float]:
    found = (sample for family in metrics.request_seconds.collect() for sample in family.samples)
    return {each.name + each.labels.get("le", ""): each.value for each in found if not each.name.endswith("_created")}


def test_many_seconds_count_as_they_would_one_by_one() -> None:
    one_by_one, at_once = Metrics(), Metrics()
    amounts = [0.0, 0.0005, *LATENCY_BUCKETS, 0.3, 61.0, 1e9]
    for amount in amounts:
        one_by_one.request_seconds.labels("/v1/x", "m").observe(amount)
    at_once.request_seconds.labels("/v1/x", "m").observe_all(amounts)
    at_once.request_seconds.labels("/v1/x", "m").observe_all([])
    told = [samples(each) for each in (one_by_one, at_once)]
    assert told[0] == told[1]
    assert told[0]["tulou_request_seconds_count"] == len(amounts)
