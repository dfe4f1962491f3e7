"""Whether a failed attempt may be made again, and after what pause.

Retries are what turns a small outage into a large one, so they come out of a budget: within some seconds at most a
fifth as many as there were requests, and a few more, so that a quiet service can retry at all. The pause before one is
random and grows, so that requests which failed together do not come back together.

Sources: Finagle's RetryBudget (ttl 10 s, 10 retries a second, 20 %); AWS, Exponential Backoff and Jitter ("full
jitter"), with Envoy's 25 ms as the base and ten times that as the longest.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

WINDOW_S = 10.0
RETRY_SHARE = 0.2
SPARE_A_SECOND = 10.0
BACKOFF_S = 0.025
LONGEST_BACKOFF_S = 0.25


class RetryBudget:
    """Counted in ten slices of the window, so that what is old is forgotten a slice at a time."""

    def __init__(
        self,
        share: float = RETRY_SHARE,
        spare_a_second: float = SPARE_A_SECOND,
        window_s: float = WINDOW_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share = share
        self._spare = spare_a_second * window_s
        self._slice_s = window_s / 10
        self._now = now
        self._slices = [[0, 0] for _ in range(11)]  # [requests, retries]; ten whole ones and the one under way
        self._at = int(now() / self._slice_s)
        self._slice = self._slices[self._at % len(self._slices)]
        self._until = (self._at + 1) * self._slice_s

    def request(self) -> None:
        """A client asked something; be told once, however many attempts it takes."""
        if self._now() >= self._until:
            self._turn()
        self._slice[0] += 1

    def allows(self) -> bool:
        """Whether one more retry is within the budget; if so it is spent."""
        self._turn()
        requests = sum(each[0] for each in self._slices)
        retries = sum(each[1] for each in self._slices)
        if retries + 1 > self._spare + self._share * requests:
            return False
        self._slice[1] += 1
        return True

    def _turn(self) -> None:
        """Go on to the slice that is now, and forget those that are too old."""
        at = int(self._now() / self._slice_s)
        if at != self._at:
            for passed in range(self._at + 1, min(at, self._at + len(self._slices)) + 1):
                self._slices[passed % len(self._slices)] = [0, 0]
            if at - self._at >= len(self._slices):
                self._slices = [[0, 0] for _ in self._slices]
            self._at, self._until = at, (at + 1) * self._slice_s
            self._slice = self._slices[at % len(self._slices)]


def backoff_s(retry: int, rng: random.Random) -> float:
    """How long to wait before the retry with this number, from 1 on."""
    return rng.uniform(0, min(BACKOFF_S * 2.0 ** min(retry - 1, 16), LONGEST_BACKOFF_S))
