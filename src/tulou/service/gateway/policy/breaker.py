"""Which replicas are left alone for a while because they fail: circuit breakers with ejection of outliers.

A replica that fails several times in a row, or far oftener than the others of its model, is ejected. When its time is
over, one request tries it; if that fails it is ejected again for twice as long, else it returns slowly: over some
seconds its share of requests grows to the whole. Never is more than a share of a model's replicas ejected, because then
the fault is likelier in the requests than in the replicas. The price: one request in each trial may have to be asked
anew elsewhere.

Sources: Nygard, Release It! (2007), for the breaker; Envoy's outlier detection (consecutive failures, success rate
against the others, `base_ejection_time`, `max_ejection_percent`) and slow start. Envoy compares success rates by
standard deviation, which needs five hosts; we have two or three, so a replica is held against all others together.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tulou.service.pool import Endpoint

MAX_EJECTION_S = 60.0
WINDOW_S = 10.0  # Envoy's interval
OUTLIER_REQUESTS = 20  # in the window, below which a share of failures is chance
OUTLIER_SHARE = 0.1  # of failures, below which nobody is called an outlier
OUTLIER_TIMES = 3.0  # oftener than the others together
FIRST_RETURN_SHARE = 0.1  # Envoy's min_weight_percent for slow start
MAX_KNOWN = 1024  # replicas, before those that are gone are forgotten


@dataclass(frozen=True)
class BreakerLimits:
    failures: int = 5  # in a row; Envoy's consecutive_5xx
    ejection_s: float = 1.0  # the first time; doubled each further time
    max_ejected_share: float = 0.7  # of a model's replicas: two of three, one of two, not the only one
    slow_return_s: float = 10.0


class _Circuit:
    __slots__ = ("before", "ejections", "failures", "now", "open_until", "period", "returns_since", "trial_until")

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self.ejections = 0  # in a row
        self.open_until: float | None = None  # None: not ejected
        self.trial_until = 0.0  # a trial is under way until then
        self.returns_since: float | None = None
        self.period = 0  # two half windows of [good, bad] answers
        self.now = [0, 0]
        self.before = [0, 0]

    def count(self, ok: bool, period: int) -> None:
        if period != self.period:
            self.before = self.now if period == self.period + 1 else [0, 0]
            self.now = [0, 0]
            self.period = period
        self.now[0 if ok else 1] += 1

    def seen(self, period: int) -> tuple[int, int]:
        """Answers and failures within the window that ends in `period`."""
        if period > self.period + 1:
            return 0, 0
        good, bad = self.now if period > self.period else (self.now[0] + self.before[0], self.now[1] + self.before[1])
        return good + bad, bad


class Breakers:
    """The breakers of all replicas, of whatever model."""

    def __init__(
        self,
        limits: BreakerLimits = BreakerLimits(),
        now: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._limits = limits
        self._now = now
        self._random = (rng or random.Random()).random
        self._circuits: dict[Endpoint, _Circuit] = {}
        self._troubled: dict[Endpoint, _Circuit] = {}  # those ejected or returning; mostly empty, which costs nothing

    def allowed(self, endpoints: Sequence[Endpoint], may_try: bool = True) -> Sequence[Endpoint]:
        """Those of `endpoints` (all of one model) that may be asked; never none where there were some.

        One whose trial is due comes alone, so that the trial takes place; not where `may_try` is false, as for a
        request that has failed once already.
        """
        if not self._troubled:
            return endpoints
        now = self._now()
        usable: list[Endpoint] = []
        resting: list[Endpoint] = []
        ejected: list[Endpoint] = []
        for endpoint in endpoints:
            circuit = self._troubled.get(endpoint)
            if circuit is None:
                usable.append(endpoint)
            elif circuit.open_until is None:
                (usable if self._random() < self._returned(endpoint, circuit, now) else resting).append(endpoint)
            elif may_try and self._is_due(circuit, now):
                circuit.trial_until = now + max(self._ejection_s(circuit), 1.0)
                return [endpoint]
            else:
                ejected.append(endpoint)
        let_back = len(ejected) - int(self._limits.max_ejected_share * len(endpoints))
        if let_back > 0:  # those first that are to be tried soonest
            ejected.sort(key=lambda endpoint: self._troubled[endpoint].open_until or 0.0)
            usable += ejected[:let_back]
        return usable or resting or endpoints

    def is_open(self, endpoints: Sequence[Endpoint]) -> bool:
        """Whether every one of `endpoints` is ejected and none is due for a trial: time for another model."""
        if not self._troubled or not endpoints:
            return False
        now = self._now()
        return all(
            (circuit := self._troubled.get(endpoint)) is not None
            and circuit.open_until is not None
            and not self._is_due(circuit, now)
            for endpoint in endpoints
        )

    def record(self, endpoint: Endpoint, ok: bool) -> bool:
        """Be told how a request to this replica ended, and tell whether it is ejected for that.

        What the client did wrong, or its leaving, is not told.
        """
        now = self._now()
        period = int(now / (WINDOW_S / 2))
        circuit = self._circuits.get(endpoint)
        if circuit is None:
            self._forget(period)
            circuit = self._circuits[endpoint] = _Circuit()
        circuit.count(ok, period)
        if ok:
            circuit.failures = 0
            if circuit.open_until is not None and circuit.trial_until > 0:  # however long its answer took
                circuit.open_until, circuit.returns_since, circuit.trial_until = None, now, 0.0
            return False
        circuit.failures += 1
        is_trial = circuit.open_until is not None and circuit.trial_until > 0
        if is_trial or (circuit.open_until is None and self._is_too_bad(endpoint, circuit, period)):
            self._eject(endpoint, circuit, now)
            return True
        return False

    def state(self, endpoint: Endpoint) -> str:
        """For people to see: closed, open, trying or returning."""
        circuit = self._troubled.get(endpoint)
        if circuit is None:
            return "closed"
        if circuit.open_until is None:
            is_back = self._returned(endpoint, circuit, self._now()) >= 1
            return "closed" if is_back else "returning"
        return "trying" if circuit.trial_until > self._now() else "open"

    def _is_too_bad(self, endpoint: Endpoint, circuit: _Circuit, period: int) -> bool:
        if circuit.failures >= self._limits.failures:
            return True
        requests, failures = circuit.seen(period)
        if requests < OUTLIER_REQUESTS or failures < OUTLIER_SHARE * requests:
            return False
        others = [
            each.seen(period)
            for other, each in self._circuits.items()
            if other.model == endpoint.model and other != endpoint
        ]
        their_requests, their_failures = sum(seen[0] for seen in others), sum(seen[1] for seen in others)
        if their_requests < OUTLIER_REQUESTS:
            return False
        return failures / requests > OUTLIER_TIMES * their_failures / their_requests

    def _eject(self, endpoint: Endpoint, circuit: _Circuit, now: float) -> None:
        circuit.open_until = now + self._ejection_s(circuit)
        circuit.ejections += 1
        circuit.failures, circuit.trial_until, circuit.returns_since = 0, 0.0, None
        circuit.now, circuit.before = [0, 0], [0, 0]
        self._troubled[endpoint] = circuit

    def _ejection_s(self, circuit: _Circuit) -> float:
        return min(self._limits.ejection_s * 2.0 ** min(circuit.ejections, 16), MAX_EJECTION_S)

    def _is_due(self, circuit: _Circuit, now: float) -> bool:
        return circuit.open_until is not None and circuit.open_until <= now and circuit.trial_until <= now

    def _returned(self, endpoint: Endpoint, circuit: _Circuit, now: float) -> float:
        """The share of its requests that a returning replica gets; it is forgotten to have left when that is all."""
        since = now if circuit.returns_since is None else circuit.returns_since
        share = (now - since) / self._limits.slow_return_s if self._limits.slow_return_s else 1.0
        if share >= 1:
            circuit.ejections, circuit.returns_since = 0, None
            self._troubled.pop(endpoint, None)
        return max(share, FIRST_RETURN_SHARE)

    def _forget(self, period: int) -> None:
        if len(self._circuits) < MAX_KNOWN:
            return
        self._circuits = {each: circuit for each, circuit in self._circuits.items() if circuit.seen(period)[0]}
        self._troubled = {each: circuit for each, circuit in self._troubled.items() if each in self._circuits}
