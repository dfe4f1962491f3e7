"""A pool: the replicas that answer for a model right now, wherever they run.

The fleet is one (processes on this machine); `FixedPool` is another (addresses that someone else looks after).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from tulou.core.types import ModelManifest


class Endpoint(Struct, frozen=True, cache_hash=True):  # every request asks for its hash several times
    """One running replica. A replica that was started again is another endpoint, at another URL."""

    name: str  # "assistant-0"
    model: str
    url: str  # "http://127.0.0.1:41235"
    can_resume: bool = False  # whether it understands `begun` and goes on behind the words of another replica
    version: str = ""  # of the model, as registered
    weight: float = 1.0  # how much more it gets than a replica of weight 1
    served_as: str = ""  # what a foreign server calls the model; empty: the same
    authorization: str = ""  # header that a foreign server wants

    def __repr__(self) -> str:  # without what is secret
        return f"Endpoint({self.name!r}, {self.model!r}, {self.url!r}, version={self.version!r})"


@dataclass(frozen=True)
class ReplicaStatus:
    """What the console and `tulou status` show of one replica."""

    name: str
    model: str
    state: str  # "starting", "ready", "unready", "draining", "restarting", "crash_loop", "stopped"
    pid: int | None
    port: int | None
    restarts: int
    rss_bytes: int
    cpu_percent: float  # of one core, since the last look
    started_at: float | None  # seconds since the epoch
    last_exit: str | None  # how it ended last time, in words
    version: str = ""
    ready_changed_at: float | None = None  # when it last became ready, or ceased to be
    is_draining: bool = False
    threads: int = 1


class Pool(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def ready(self, model: str) -> Sequence[Endpoint]: ...

    async def changed(self) -> None:
        """Return when a replica has become ready, or has ceased to be."""
        ...

    def report_lost(self, endpoint: Endpoint) -> None:
        """Be told that a request could not reach this endpoint, or lost it on the way."""
        ...

    def status(self) -> list[ReplicaStatus]: ...


class FixedPool:
    """Endpoints known beforehand; taken to be ready always."""

    def __init__(self, endpoints: Mapping[str, Sequence[Endpoint]]) -> None:
        self._endpoints = endpoints

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def ready(self, model: str) -> Sequence[Endpoint]:
        return self._endpoints.get(model, ())

    async def changed(self) -> None:
        await asyncio.sleep(1)

    def report_lost(self, endpoint: Endpoint) -> None:
        pass

    def status(self) -> list[ReplicaStatus]:
        return [
            ReplicaStatus(each.name, each.model, "ready", None, None, 0, 0, 0.0, None, None)
            for endpoints in self._endpoints.values()
            for each in endpoints
        ]


Manifests = Mapping[str, ModelManifest]
"""Manifest of each model served, by the name that clients use."""
