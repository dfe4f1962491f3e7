"""Which version of a model answers a request, and whether a new one may have more of them.

The table says for each model which versions serve and with what weight. One assignment replaces a model's row, so the
next request sees the new row whole and those under way finish where they are: that is all that promoting and rolling
back do on the path. What a request is known by (its conversation, else its key) is hashed to a point between 0 and 1,
and the newcomer owns the points from 0 up: when its share grows, conversations move to it and none moves back.

Sources: Envoy's and Istio's weighted clusters with a hash policy; Argo Rollouts and Flagger for steps and gates.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from tulou.core.errors import ServiceError

Verdict = Literal["wait", "pass", "fail"]
Sticky = Literal["conversation", "key", "none"]


@dataclass(frozen=True)
class Variant:
    """A version of a model that serves: its part of the requests, and the part of which it gets copies."""

    version: str
    weight: float = 1.0
    shadow: float = 0.0  # share of all requests that it is sent besides, its answers thrown away
    keys: frozenset[str] = frozenset()  # ids of keys whose requests it always gets


class VariantTable:
    """Model name -> variants, the newest first. A model without a row is served by whatever is ready."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Variant, ...]] = {}

    def set(self, model: str, variants: Sequence[Variant]) -> None:
        """Replace a model's row at once. Raises `ServiceError` for one that nothing could be served by."""
        row = tuple(variants)
        if not any(variant.weight > 0 for variant in row):
            raise ServiceError(f"model {model!r} would be served by no version; give one of its variants a weight")
        if any(variant.weight < 0 or not 0 <= variant.shadow <= 1 for variant in row):
            raise ServiceError(f"model {model!r}: weights must not be negative, and shadow must lie between 0 and 1")
        self._rows[model] = row

    def row(self, model: str) -> tuple[Variant, ...]:
        return self._rows.get(model, ())

    def rows(self) -> Mapping[str, tuple[Variant, ...]]:
        return self._rows

    def order(self, model: str, point: float, key_id: str | None = None) -> list[str]:
        """Versions to ask: the one that the point falls to first, then the others, the heaviest first.

        The others are for when no replica of the first is ready. Those of weight 0 are not asked.
        """
        row = self._rows.get(model, ())
        if len(row) == 1:
            return [row[0].version]
        chosen = owner(row, point, key_id)
        if chosen is None:
            return []
        others = [variant for variant in row if variant is not chosen and variant.weight > 0]
        others.sort(key=lambda variant: variant.weight, reverse=True)
        return [chosen.version, *(variant.version for variant in others)]

    def shadows(self, model: str, asked: str, rng: random.Random) -> list[str]:
        """Versions that get a copy of a request which `asked` answers; mostly none."""
        return [
            variant.version
            for variant in self._rows.get(model, ())
            if variant.shadow > 0 and variant.version != asked and rng.random() < variant.shadow
        ]


def owner(variants: Sequence[Variant], point: float, key_id: str | None = None) -> Variant | None:
    """The variant that a point between 0 (included) and 1 falls to; a key named by a variant comes before that."""
    if key_id is not None:
        for variant in variants:
            if key_id in variant.keys:
                return variant
    reach = point * sum(variant.weight for variant in variants)
    last = None
    for variant in variants:
        if variant.weight <= 0:
            continue
        last = variant
        if reach < variant.weight:
            return variant
        reach -= variant.weight
    return last  # by rounding only


def point_of(model: str, known_by: str | None, rng: random.Random) -> float:
    """Where a request falls between 0 and 1: always the same for what it is known by, else anywhere."""
    if not known_by:
        return rng.random()
    digest = blake2b(known_by.encode(errors="replace"), digest_size=8, person=model.encode(errors="replace")[:16])
    return int.from_bytes(digest.digest(), "little") / (1 << 64)


def known_by(sticky: Sticky, conversation: str | None, key_id: str | None) -> str | None:
    """What a request is hashed by."""
    if sticky == "none":
        return None
    return (conversation or key_id) if sticky == "conversation" else key_id


def split(champion: str, challenger: str | None = None, share: float = 0.0, shadow: float = 0.0) -> list[Variant]:
    """The row of a champion, and a challenger with a share of the requests and copies of a share."""
    if challenger is None or challenger == champion:
        return [Variant(champion)]
    return [Variant(challenger, share, shadow), Variant(champion, 1 - share)]


def step_after(share: float, steps: Sequence[float]) -> float | None:
    """The next larger step; None where there is none, which means that the version serves alone."""
    return next((step for step in sorted(steps) if step > share), None)


@dataclass(frozen=True)
class Seen:
    """What a version has answered since its last step."""

    requests: int
    failures: int
    p99_ms: float | None


@dataclass(frozen=True)
class Gate:
    """What a version must keep to take the next step."""

    min_success_rate: float
    max_p99_ms: float
    min_requests: int

    def judge(self, seen: Seen) -> tuple[Verdict, str]:
        """The verdict, and why in words. What has failed too much already has failed, however few requests it saw."""
        allowed = (1 - self.min_success_rate) * max(seen.requests, self.min_requests)
        if seen.failures > allowed + 1e-9:
            return "fail", f"{seen.failures} of {seen.requests} requests failed"
        if seen.requests < self.min_requests:
            return "wait", f"{seen.requests} requests so far, {self.min_requests} are needed to judge"
        if seen.p99_ms is not None and seen.p99_ms > self.max_p99_ms:
            return "fail", f"its p99 is {seen.p99_ms:.0f} ms, more than {self.max_p99_ms:g} ms"
        return "pass", f"{seen.failures} of {seen.requests} requests failed, p99 {seen.p99_ms or 0:.0f} ms"
