"""Replicas and a clock for the tests of what the gateway decides."""

from __future__ import annotations

from tulou.service.pool import Endpoint


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def replicas(count: int, weights: list[float] | None = None) -> list[Endpoint]:
    return [
        Endpoint(f"m-{i}", "m", f"http://127.0.0.1:{i}", weight=weights[i] if weights else 1.0) for i in range(count)
    ]
