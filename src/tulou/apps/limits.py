"""Token buckets by visitor: a burst is fine, a flood is told when to come back.

Buckets live in this process. The least recently seen are forgotten beyond `max_keys`, so that made-up visitors cannot
fill the memory; whoever is forgotten starts with a full bucket.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class TokenBuckets:
    burst: int
    per_minute: float
    max_keys: int = 10_000
    now: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)  # key: tokens, seen at

    def wait_s(self, key: str) -> float:
        """Take one token of `key`: 0 if there was one, else the seconds until there will be."""
        at = self.now()
        tokens, seen = self._buckets.pop(key, (float(self.burst), at))
        tokens = min(float(self.burst), tokens + (at - seen) * self.per_minute / 60)
        taken = tokens >= 1
        self._buckets[key] = (tokens - 1 if taken else tokens, at)
        if len(self._buckets) > self.max_keys:
            self._buckets.popitem(last=False)
        return 0.0 if taken else (1 - tokens) * 60 / self.per_minute
