"""Which versions serve, and when one that is tried out may have more: what the registry says, and its gates.

A version is tried out with a share of the requests, or with copies of them. What it has answered since lies in the
accounts; by that it is judged before it takes the next of `rollout.steps`. A running service follows (`following.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tulou.bootstrap.project import Project
from tulou.core.errors import ModelError
from tulou.core.manifest import read_manifest
from tulou.core.state import requests
from tulou.core.types import ModelManifest
from tulou.service.gateway.entry import FALLBACK, INSTEAD
from tulou.service.gateway.policy.rollout import Gate, Seen, Variant, step_after

if TYPE_CHECKING:
    from tulou.model.registry import ModelVersion, Registry

MAX_JUDGED = 100_000  # of the latest requests


@dataclass(frozen=True)
class ServedVersion:
    """A version that serves: where it lies, and its part of the requests."""

    version: str
    folder: Path
    weight: float
    shadow: float = 0.0
    keys: tuple[str, ...] = ()

    @property
    def variant(self) -> Variant:
        return Variant(self.version, self.weight, self.shadow, frozenset(self.keys))

    def manifest(self, model: str) -> ModelManifest:
        return replace(read_manifest(self.folder), name=model, version=self.version)


Serving = dict[str, tuple[ServedVersion, ...]]
"""Model name -> the versions that serve, one that is tried out first."""


def serving_of(registry: Registry, models: list[str], keys: tuple[str, ...] = ()) -> Serving:
    """What the registry wants served; `keys` always get what is tried out. Models not yet made are left out."""
    found: Serving = {}
    for name in models:
        champion = registry.champion(name)
        if champion is None:
            continue
        row = [ServedVersion(str(champion.version), champion.folder, 1.0)]
        if canary := registry.canary(name):
            folder = registry.find(name, canary.version).folder
            row = [
                ServedVersion(str(canary.version), folder, canary.share, canary.shadow, keys if canary.share else ()),
                replace(row[0], weight=1 - canary.share),
            ]
        found[name] = tuple(row)
    return found


def wanted(project: Project) -> Serving:
    """What the registry of a project wants served."""
    return serving_of(project.registry, list(project.settings.models), project.settings.rollout.keys)


def roll_back(project: Project, name: str) -> ModelVersion:
    """End the trial of a version if there is one, else return to the version that served before."""
    registry = project.registry
    if registry.canary(name) is not None:
        registry.try_out(name, None)
    else:
        registry.rollback(name)
    return registry.find(name)


def try_out(
    project: Project,
    name: str,
    version: int | None = None,
    share: float | None = None,
    shadow: float = 0.0,
    now: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """Give a version (by default the challenger) a share of the requests (by default the first step), or copies."""
    from tulou.model.registry import CHALLENGER, Canary

    registry = project.registry
    found = registry.find(name, CHALLENGER if version is None else version)
    if share is None:
        share = 0.0 if shadow else project.settings.rollout.steps[0]
    if not share and not shadow:
        raise ModelError(f"version {found.version} of model {name!r} would get nothing; give it a share or a shadow")
    if share >= 1:
        raise ModelError(f"a share of {share:g} is all requests: `tulou models promote {name} {found.version}`")
    registry.try_out(name, Canary(found.version, share, shadow, now()))
    return {"name": name, "version": found.version, "share": share, "shadow": shadow}


def advance(
    project: Project, name: str, is_forced: bool = False, now: Callable[[], float] = time.time
) -> dict[str, Any]:
    """Judge the version that is tried out by what it has answered, and give it the next step's share.

    Raises `ModelError` where none is tried out, and, unless forced, where it is too early or not good enough.
    """
    from tulou.model.registry import Canary

    registry, rollout = project.registry, project.settings.rollout
    canary = registry.canary(name)
    if canary is None:
        raise ModelError(f"no version of model {name!r} is tried out; begin with `tulou models canary {name}`")
    gate = Gate(rollout.min_success_rate, rollout.max_p99_ms, rollout.min_requests)
    verdict, reason = gate.judge(seen_of(project.state, name, str(canary.version), canary.since))
    if verdict != "pass" and not is_forced:
        what = "may not take the next step yet" if verdict == "wait" else "is not good enough"
        raise ModelError(
            f"version {canary.version} of model {name!r} {what}: {reason}; "
            f"`tulou models rollback {name}` ends its trial, --force goes on all the same"
        )
    share = step_after(canary.share, rollout.steps)
    if share is None or share >= 1:
        registry.promote(name, canary.version)
    else:
        registry.try_out(name, Canary(canary.version, share, canary.shadow, now()))
    return {"name": name, "version": canary.version, "share": share or 1.0, "verdict": verdict, "reason": reason}


def seen_of(state: sa.Engine, model: str, version: str, since: float) -> Seen:
    """What a version has answered since then, and what another had to answer in its place, which is a failure.

    A request that the client got wrong or left is none. Answers in place of another model are not this model's.
    """
    its_own = sa.and_(requests.c.model_version == version, requests.c.variant.not_like(f"{FALLBACK}%"))
    failed = requests.c.variant == INSTEAD + version
    asked = (
        sa.select(requests.c.status, requests.c.latency_ms, failed.label("has_failed"))
        .where(requests.c.model == model, requests.c.at >= since, sa.or_(its_own, failed))
        .order_by(requests.c.at.desc())
        .limit(MAX_JUDGED)
    )
    with state.connect() as db:
        rows = db.execute(asked).all()
    answered = sorted(row.latency_ms for row in rows if row.status < 400 and not row.has_failed)
    p99_ms = answered[min(int(0.99 * len(answered)), len(answered) - 1)] if answered else None
    return Seen(len(rows), sum(row.status >= 500 or row.has_failed for row in rows), p99_ms)
