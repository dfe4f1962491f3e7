"""The project's settings as a fleet: replicas of its champions, servers of others, and how they fit the machine."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tulou.bootstrap.following import Following, Switch, registry_mark
from tulou.bootstrap.project import Project
from tulou.bootstrap.rollout import ServedVersion, Serving, wanted
from tulou.bootstrap.serving import Served
from tulou.core.errors import SettingsError
from tulou.core.fleet_settings import RemoteSettings
from tulou.core.service_settings import ServiceSettings
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.core.urls import expand
from tulou.service.cpus import usable_cores
from tulou.service.fleet import Fleet, ReplicaSpec, Server, Sizing
from tulou.service.pool import Pool
from tulou.service.scaling import Autoscaler, Load, Scaling, Sight, gpu_use


class Backstage:
    """What stands behind the gateway: the pool of replicas, and what changes it while the service runs.

    `load` is to be set by whoever knows the requests under way at each replica, `waiting` by whoever knows those that
    wait for one of a model's, `switch` by whoever sends them there.
    """

    def __init__(
        self,
        project: Project,
        served: dict[str, Served],
        metrics: Metrics,
        *,
        has_replicas: bool = True,
    ) -> None:
        """Raises `SettingsError` where replicas that run elsewhere, or a remote server's key, are not to be found."""
        self.load: Callable[[], Load] = dict
        self.waiting: Callable[[], Load] = dict
        self.switch: Switch = lambda _model, _variants, _manifest: None
        self._fleet: Fleet | None = None
        self._autoscaler: Autoscaler | None = None
        self._following: Following | None = None
        if not has_replicas:
            self.pool: Pool = Fleet(specs_elsewhere(project.settings.service, list(served)), project.logs, metrics)
            return
        fleet = make_fleet(project.settings.service, served, project.logs, metrics)
        fleet.busy = lambda name: self.load().get(name, 0)
        self.pool = self._fleet = fleet
        sight = Sight(lambda: self.load(), lambda: self.waiting(), gpu_use)
        replicas = project.settings.service.replicas
        self._autoscaler = Autoscaler(fleet, list(served), replicas, len(usable_cores()), sight, metrics)
        mark = registry_mark(project.settings.registry.url, project.folder)
        serving: Serving = {
            name: (ServedVersion(each.manifest.version, each.folder, 1.0),) for name, each in served.items()
        }
        keep_s = project.settings.rollout.keep_s
        self._following = Following(
            fleet, serving, lambda: wanted(project), mark, lambda *change: self.switch(*change), keep_s
        )

    async def wait_ready(self) -> None:
        """Raises `ServiceError` when a replica does not come up."""
        if self._fleet is not None:
            await self._fleet.wait_ready()

    async def watch(self) -> None:
        """Follow the registry and the load, until cancelled."""
        async with asyncio.TaskGroup() as watching:
            if self._following is not None:
                watching.create_task(self._following.run())
            if self._autoscaler is not None and self._autoscaler.has_work:
                watching.create_task(self._autoscaler.run())

    def scalings(self) -> list[Scaling]:
        return list(self._autoscaler.scalings) if self._autoscaler else []


def make_fleet(settings: ServiceSettings, served: Mapping[str, Served], logs: Path, metrics: Metrics) -> Fleet:
    """Raises `SettingsError` where a remote server's key is not in the environment."""
    specs = [
        ReplicaSpec(f"{name}-{index}", name, each.folder, version=each.manifest.version)
        for name, each in served.items()
        for index in range(settings.replicas.min)
    ]
    specs += [spec for name, remote in settings.remote.items() for spec in remote_specs(name, remote)]
    sizing = Sizing(tuple(usable_cores()), settings.threads, settings.pin_cores, settings.drain_s)
    return Fleet(specs, logs, metrics, sizing=sizing)


def specs_elsewhere(settings: ServiceSettings, models: Sequence[str]) -> list[ReplicaSpec]:
    """Replicas that somebody else looks after, found at their URLs; none of them is started, all are probed.

    Raises `SettingsError` for a model that has none.
    """
    found = {
        name: [_elsewhere(name, index, url) for index, url in enumerate(urls)]
        for name, urls in settings.endpoints.items()
    }
    for name, remote in settings.remote.items():
        if remote.url:
            found[name] = remote_specs(name, remote)
    for name in [*models, *settings.remote]:
        if not found.get(name):
            raise SettingsError(
                f"the gateway alone has no replica of model {name!r}; set service.endpoints.{name} to their URLs, "
                "or start it with its replicas: tulou serve all"
            )
    return [spec for specs in found.values() for spec in specs]


def _elsewhere(name: str, index: int, url: str) -> ReplicaSpec:
    server = Server(url=url.rstrip("/"), ready_path="/healthz", can_resume=True)
    return ReplicaSpec(f"{name}-{index}", name, Path(), server=server)


def remote_specs(name: str, remote: RemoteSettings) -> list[ReplicaSpec]:
    """One for each process to start, or the one that is there already."""
    key = expand(remote.api_key)
    server = Server(
        command=tuple(shlex.split(remote.command)),
        url=remote.url,
        ready_path=remote.ready,
        served_as=remote.model if remote.model != name else "",
        authorization=f"Bearer {key}" if key else "",
        env={variable: expand(value) for variable, value in remote.env.items()},
        start_timeout_s=remote.start_timeout_s,
    )
    count = remote.replicas if remote.command else 1
    return [ReplicaSpec(f"{name}-{index}", name, Path(), server=server) for index in range(count)]


def remote_manifests(settings: ServiceSettings) -> dict[str, ModelManifest]:
    """What clients and applications know of models that are served elsewhere."""
    return {
        name: ModelManifest(
            name,
            remote.task,
            "remote",
            precision="",
            fingerprint="",
            base=remote.model or name,
            labels=remote.labels,
            dimensions=remote.dimensions,
            max_tokens=remote.max_tokens,
            version="remote",
        )
        for name, remote in settings.remote.items()
    }
