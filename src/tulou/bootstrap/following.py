"""A running service follows the registry: another champion takes over, a version is tried out, or it was all undone.

Four times a second it is looked whether the registry may have changed. For a version that is to serve, replicas are
started beside those that do, as many as its share needs; when they are ready the row of variants is switched, which the
next request sees whole. What serves no longer gets no further request, finishes what it has, and is kept for a while:
rolling back to it, or promoting it again, is then the switch alone. A version that does not come up changes nothing but
the log; one that is slow to come up keeps no other model waiting. The price: two versions are in memory until the old
one is let go.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

from tulou.bootstrap.rollout import ServedVersion, Serving
from tulou.core.errors import TulouError
from tulou.core.types import ModelManifest
from tulou.service.gateway.policy.rollout import Variant

LOOK_EVERY_S = 0.25
ASK_EVERY_S = 1.0  # a registry on a server
AFTER_TROUBLE_S = 5.0  # so that lasting trouble does not fill the log

logger = logging.getLogger(__name__)


class Fleet(Protocol):
    """Replicas by model and version; the service's own fleet is one."""

    def size(self, model: str, version: str | None = None) -> int: ...

    async def bring_up(self, model: str, version: str, folder: Path, count: int) -> None: ...

    def show(self, model: str, versions: Collection[str]) -> None: ...

    def retire(self, model: str, version: str) -> None: ...


Switch = Callable[[str, Sequence[Variant], ModelManifest], None]
"""`Switchboard.set_variants`, or what tells several of them."""


class Following:
    """`mark` changes when the registry may have; `wanted` reads it and may take its time."""

    def __init__(
        self,
        fleet: Fleet,
        serving: Serving,
        wanted: Callable[[], Serving],
        mark: Callable[[], object],
        switch: Switch,
        keep_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet = fleet
        self._serving = dict(serving)
        self._wanted = wanted
        self._mark = mark
        self._switch = switch
        self._keep_s = keep_s
        self._clock = clock
        self._kept: dict[tuple[str, str], float] = {}  # model and version, until when
        self._failed: dict[str, tuple[ServedVersion, ...]] = {}  # what did not come up, not to be tried again
        self._seen: object = None
        self._latest: Serving = {}  # that was wanted when the registry was read last
        self._under_way: dict[str, asyncio.Task[None]] = {}  # by model, changes that are being followed

    async def run(self) -> None:
        try:
            while True:
                pause_s = LOOK_EVERY_S
                try:
                    await self.look()
                except Exception:  # whatever a registry, its server or a disk may raise: the service must outlive it
                    logger.exception("the registry could not be followed; the service goes on with the versions it has")
                    pause_s = AFTER_TROUBLE_S
                await asyncio.sleep(pause_s)
        finally:
            under_way = list(self._under_way.values())
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def look(self) -> None:
        """Begin to follow what has changed, and let go of what was kept long enough."""
        self._let_go()
        mark = self._mark()
        if mark != self._seen:
            try:
                self._latest = await asyncio.to_thread(self._wanted)
            except TulouError as err:
                logger.warning("the service goes on with the versions it has: %s", err)
                return
            self._seen = mark  # as it was before it was read: what changed meanwhile is read the next time
        for name, row in self._latest.items():
            if name not in self._under_way and self._is_new(name, row):
                self._under_way[name] = asyncio.create_task(self._follow_alone(name, row))

    async def settled(self) -> None:
        """Wait until all that has begun to be followed is."""
        await asyncio.gather(*self._under_way.values())

    def _is_new(self, name: str, row: tuple[ServedVersion, ...]) -> bool:
        if self._failed.get(name) != row:
            self._failed.pop(name, None)  # it was taken back, and may be wanted again
        return name in self._serving and row != self._serving[name] and name not in self._failed

    async def _follow_alone(self, name: str, row: tuple[ServedVersion, ...]) -> None:
        try:
            await self._follow(name, row)
        except Exception:  # as in `run`
            logger.exception("model %s could not be followed; it goes on with the versions it has", name)
            self._failed[name] = row
        finally:
            del self._under_way[name]

    async def _follow(self, name: str, row: tuple[ServedVersion, ...]) -> None:
        before, began = self._serving[name], self._clock()
        whole = self._fleet.size(name, heaviest(before).version)
        try:
            for each in row:
                missing = replicas_for(each, whole) - self._fleet.size(name, each.version)
                if missing > 0:
                    await self._fleet.bring_up(name, each.version, each.folder, missing)
            manifest = heaviest(row).manifest(name)
        except TulouError as err:
            self._failed[name] = row
            for version in {each.version for each in row} - {each.version for each in before}:
                if self._fleet.size(name, version):  # came up beside one that did not
                    self._kept.setdefault((name, version), self._clock())
            logger.error("model %s goes on with %s; %s cannot serve: %s", name, told(before), told(row), err)
            return
        self._switch(name, [each.variant for each in row], manifest)
        self._fleet.show(name, {each.version for each in row})
        self._serving[name] = row
        until = self._clock() + self._keep_s
        for each in before:
            self._kept.setdefault((name, each.version), until)
        for each in row:
            self._kept.pop((name, each.version), None)
        logger.info("model %s: %s serves after %.1f s", name, told(row), self._clock() - began)

    def _let_go(self) -> None:
        now = self._clock()
        for (name, version), until in list(self._kept.items()):
            if now >= until and name not in self._under_way:  # or what it counts on would go
                del self._kept[name, version]
                self._fleet.retire(name, version)


def heaviest(row: tuple[ServedVersion, ...]) -> ServedVersion:
    """The version that answers most, by which the model is described to those who ask; the champion among equals."""
    return max(reversed(row), key=lambda each: each.weight)


def replicas_for(version: ServedVersion, whole: int) -> int:
    """How many a version needs where the whole of the requests needs `whole`."""
    return max(1, math.ceil(max(version.weight, version.shadow) * whole - 1e-9))


def told(row: tuple[ServedVersion, ...]) -> str:
    return ", ".join(f"version {each.version} ({each.weight:.0%})" for each in row)


def registry_mark(url: str, folder: Path) -> Callable[[], object]:
    """What changes with the registry: size and time of its file, or the clock for one that must be asked."""
    if not url.startswith("sqlite:///"):
        return lambda: int(time.monotonic() / ASK_EVERY_S)
    path = folder / url.removeprefix("sqlite:///")
    files = [path, path.with_name(path.name + "-wal")]

    return lambda: [_mark_of(each) for each in files]


def _mark_of(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:  # the log beside the database comes and goes with those who write
        return None
    return found.st_mtime_ns, found.st_size
