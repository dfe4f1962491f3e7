"""The last five minutes at a glance: requests, success rate and latencies, kept in memory for the console.

A ring of the latest requests, sorted when someone looks. Exact, and cheap as long as people look seldom; for history
there are the metrics and the `requests` table.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from tulou.service.gateway.entry import Row

WINDOW_S = 300.0
MAX_REQUESTS = 20_000


@dataclass(frozen=True)
class LiveFigures:
    """Of the requests that ended within the window. Without any, the rates and latencies are None."""

    window_s: float
    requests: int
    failures: int
    success_rate: float | None  # 0..1; a refused bad request is no failure of ours
    p50_ms: float | None
    p99_ms: float | None
    first_token_p50_ms: float | None  # of streamed answers
    tokens_per_second: float  # written


@dataclass(frozen=True)
class LivePoint:
    """The requests that ended within one interval."""

    at: float  # end of the interval, seconds since the epoch
    requests: int
    failures: int
    p50_ms: float | None
    p99_ms: float | None


class _Seen(Struct, gc=False):
    """What a row of the accounts tells, without the rest."""

    at: float
    model: str
    latency_ms: float
    first_token_ms: float | None
    status: int
    completion_tokens: int

    @classmethod
    def of(cls, row: Row) -> _Seen:
        return cls(row.at, row.model, row.latency_ms, row.first_token_ms, row.status, row.completion_tokens)


class Live:
    def __init__(self, window_s: float = WINDOW_S, now: Callable[[], float] = time.time) -> None:
        self._window_s = window_s
        self._now = now
        self._started_at = now()
        self._seen: deque[_Seen] = deque(maxlen=MAX_REQUESTS)
        self.before_reading: Callable[[], None] = lambda: None  # for whoever records in batches

    def record(
        self,
        model: str,
        status: int,
        latency_ms: float,
        first_token_ms: float | None = None,
        completion_tokens: int = 0,
    ) -> None:
        """Of a request that has just ended."""
        self._seen.append(_Seen(self._now(), model, latency_ms, first_token_ms, status, completion_tokens))

    def record_rows(self, rows: Iterable[Row]) -> None:
        """Of requests that have ended, many at once."""
        self._seen.extend(map(_Seen.of, rows))

    def seen(self) -> list[tuple[Any, ...]]:
        """The requests of the window, for another process to count in."""
        self.before_reading()
        return [astuple(each) for each in self._seen]

    def with_those_of(self, others: Iterable[Iterable[Sequence[Any]]]) -> Live:
        """Figures over these requests and those that other processes have seen."""
        together = Live(self._window_s, self._now)
        together._started_at = self._started_at
        self.before_reading()
        everything = [*self._seen, *(_Seen(*each) for other in others for each in other)]
        together._seen = deque(sorted(everything, key=lambda each: each.at))
        return together

    def figures(self, model: str | None = None) -> LiveFigures:
        """Of one model, or of all together."""
        self.before_reading()
        since = self._now() - self._window_s
        while self._seen and self._seen[0].at < since:
            self._seen.popleft()
        seen = [each for each in self._seen if model is None or each.model == model]
        window_s = max(min(self._window_s, self._now() - self._started_at), 1.0)
        failures = sum(each.status >= 500 for each in seen)
        latencies = sorted(each.latency_ms for each in seen)
        firsts = sorted(each.first_token_ms for each in seen if each.first_token_ms is not None)
        return LiveFigures(
            window_s=round(window_s, 1),
            requests=len(seen),
            failures=failures,
            success_rate=1 - failures / len(seen) if seen else None,
            p50_ms=_quantile(latencies, 0.5),
            p99_ms=_quantile(latencies, 0.99),
            first_token_p50_ms=_quantile(firsts, 0.5),
            tokens_per_second=sum(each.completion_tokens for each in seen) / window_s,
        )

    def points(self, width_s: float) -> list[LivePoint]:
        """The window cut into intervals of `width_s`, oldest first, the last one ending now."""
        self.before_reading()
        now, count = self._now(), round(self._window_s / width_s)
        intervals: list[list[_Seen]] = [[] for _ in range(count)]
        for each in self._seen:
            age = int((now - each.at) / width_s)
            if age < count:
                intervals[count - 1 - age].append(each)
        return [_point(seen, now - (count - 1 - i) * width_s) for i, seen in enumerate(intervals)]

    def by_model(self, models: Iterable[str]) -> dict[str, LiveFigures]:
        return {model: self.figures(model) for model in models}


def _point(seen: list[_Seen], at: float) -> LivePoint:
    latencies = sorted(each.latency_ms for each in seen)
    failures = sum(each.status >= 500 for each in seen)
    return LivePoint(at, len(seen), failures, _quantile(latencies, 0.5), _quantile(latencies, 0.99))


def _quantile(ordered: list[float], q: float) -> float | None:
    """Nearest-rank quantile, which is always a latency that someone met."""
    if not ordered:
        return None
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]
