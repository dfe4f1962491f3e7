"""How a new version comes to serve: from the registry to a running service, step by step or at once.

The registry says who is champion and who is tried out. Whatever changes that also writes `.tulou/serving.json`, whole:
for each model the versions, their folders and shares. A running service looks at the time of that file four times a
second, which costs nothing, and needs neither MLflow nor a message to follow. Changes made on another machine through
an MLflow server are seen at the next start.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tulou.bootstrap.project import Project
from tulou.core.errors import ModelError
from tulou.core.manifest import read_manifest
from tulou.core.stage import read_json, write_json
from tulou.core.state import requests
from tulou.core.types import ModelManifest
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


def publish(project: Project) -> Serving:
    """Tell a running service, or the next one, what the registry wants served."""
    serving = serving_of(project.registry, list(project.settings.models), project.settings.rollout.keys)
    write_json(
        project.serving_file,
        {name: [asdict(each) | {"folder": str(each.folder)} for each in row] for name, row in serving.items()},
    )
    return serving


def read_serving(file: Path) -> Serving:
    """What `publish` wrote; empty where nothing was."""
    found = read_json(file) or {}
    return {
        name: tuple(
            ServedVersion(**each | {"folder": Path(each["folder"]), "keys": tuple(each["keys"])}) for each in row
        )
        for name, row in found.items()
    }


class ServingFile:
    """`.tulou/serving.json` as a running service sees it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = self._look()

    def changed(self) -> Serving | None:
        """What is wanted now, if that was written since the last call."""
        stamp = self._look()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        return read_serving(self._file)

    def _look(self) -> tuple[int, int]:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_mtime_ns, found.st_ino


def promote(project: Project, name: str, version: int) -> ModelVersion:
    project.registry.promote(name, version)
    publish(project)
    return project.registry.find(name)


def roll_back(project: Project, name: str) -> ModelVersion:
    """End the trial of a version if there is one, else return to the version that served before."""
    registry = project.registry
    if registry.canary(name) is not None:
        registry.try_out(name, None)
    else:
        registry.rollback(name)
    publish(project)
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
    publish(project)
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
    publish(project)
    return {"name": name, "version": canary.version, "share": share or 1.0, "verdict": verdict, "reason": reason}


def seen_of(state: sa.Engine, model: str, version: str, since: float) -> Seen:
    """What a version has answered since then; a request that the client got wrong or left is no failure."""
    asked = (
        sa.select(requests.c.status, requests.c.latency_ms)
        .where(requests.c.model == model, requests.c.model_version == version, requests.c.at >= since)
        .order_by(requests.c.at.desc())
        .limit(MAX_JUDGED)
    )
    with state.connect() as db:
        rows = db.execute(asked).all()
    answered = sorted(row.latency_ms for row in rows if row.status < 400)
    p99_ms = answered[min(int(0.99 * len(answered)), len(answered) - 1)] if answered else None
    return Seen(len(rows), sum(row.status >= 500 for row in rows), p99_ms)
