"""The project's settings as a fleet: replicas of its champions, servers of others, and how they fit the machine."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tulou.bootstrap.serving import Served
from tulou.core.fleet_settings import RemoteSettings
from tulou.core.settings import ServiceSettings
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.core.urls import expand
from tulou.service.cpus import usable_cores
from tulou.service.fleet import Fleet, ReplicaSpec, Server, Sizing
from tulou.service.scaling import Autoscaler, Load, Sight, gpu_use


@dataclass(frozen=True)
class Crew:
    """A fleet and what resizes it."""

    fleet: Fleet
    autoscaler: Autoscaler


def make_crew(
    settings: ServiceSettings, served: Mapping[str, Served], logs: Path, metrics: Metrics, in_flight: Callable[[], Load]
) -> Crew:
    """Raises `SettingsError` where a remote server's key is not in the environment."""
    cores = tuple(usable_cores())
    specs = [
        ReplicaSpec(f"{name}-{index}", name, each.folder, version=each.manifest.version)
        for name, each in served.items()
        for index in range(settings.replicas.min)
    ]
    specs += [spec for name, remote in settings.remote.items() for spec in remote_specs(name, remote)]
    fleet = Fleet(specs, logs, metrics, sizing=Sizing(cores, settings.threads, settings.pin_cores, settings.drain_s))
    fleet.busy = lambda name: in_flight().get(name, 0)
    sight = Sight(in_flight, gpu=gpu_use)
    return Crew(fleet, Autoscaler(fleet, list(served), settings.replicas, len(cores), sight, metrics))


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
