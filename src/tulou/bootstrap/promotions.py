"""A promotion reaches the running service: another champion in the registry, and its replicas take over.

The registry's file is looked at four times a second (one on a server is asked once a second). For a new champion as
many replicas are started as the old one has; when all of them are ready, requests go to them from one to the next, and
the old ones are drained: nothing under way is lost, streams included. A version that does not come up changes nothing
but the log. The price: both versions are in memory until the old one is gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from tulou.bootstrap.serving import Served
from tulou.core.errors import TulouError
from tulou.core.types import ModelManifest
from tulou.service.fleet import Fleet

LOOK_EVERY_S = 0.25
ASK_EVERY_S = 1.0  # a registry on a server

logger = logging.getLogger(__name__)


class Promotions:
    """`mark` changes when the registry may have; `takes_over` gets the manifest of a version that serves from now."""

    def __init__(
        self,
        fleet: Fleet,
        serving: dict[str, Served],
        champions: Callable[[], dict[str, Served]],
        mark: Callable[[], object],
        takes_over: Callable[[ModelManifest], None],
    ) -> None:
        self._fleet = fleet
        self._serving = dict(serving)
        self._champions = champions
        self._mark = mark
        self._takes_over = takes_over
        self._failed: dict[str, str] = {}  # model: version that did not come up
        self._seen: object = None

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:  # whatever the registry's library raises: what serves goes on
                logger.exception("the registry could not be looked at")
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Let new champions take over, if there are any."""
        mark = self._mark()
        if mark == self._seen:
            return
        try:
            champions = await asyncio.to_thread(self._champions)
        except TulouError as err:
            logger.warning("the service goes on with the versions it has: %s", err)
            return
        self._seen = mark  # as it was before it was read: what changed meanwhile is read the next time
        changed = [name for name, each in champions.items() if self._is_new(name, each)]
        await asyncio.gather(*(self._switch(name, champions[name]) for name in changed))

    def _is_new(self, name: str, champion: Served) -> bool:
        version = champion.manifest.version
        if self._failed.get(name) != version:
            self._failed.pop(name, None)  # it was taken back, and may be promoted again
        return version != self._serving[name].manifest.version and version != self._failed.get(name)

    async def _switch(self, name: str, champion: Served) -> None:
        before, version = self._serving[name].manifest.version, champion.manifest.version
        logger.info("model %s: version %s takes over from %s", name, version, before)
        began = time.monotonic()
        try:
            await self._fleet.bring_up(name, version, champion.folder, self._fleet.size(name, before))
        except TulouError as err:
            self._failed[name] = version
            logger.error("model %s goes on with version %s; version %s did not come up: %s", name, before, version, err)
            return
        self._takes_over(champion.manifest)
        self._fleet.show(name, {version})
        self._fleet.retire(name, before)
        self._serving[name] = champion
        self._failed.pop(name, None)
        logger.info("model %s: version %s serves after %.1f s", name, version, time.monotonic() - began)


def registry_mark(url: str, folder: Path) -> Callable[[], object]:
    """What changes with the registry: size and time of its file, or the clock for one that must be asked."""
    if not url.startswith("sqlite:///"):
        return lambda: int(time.monotonic() / ASK_EVERY_S)
    path = folder / url.removeprefix("sqlite:///")
    files = [path, path.with_name(path.name + "-wal")]

    def mark() -> object:
        return [(found.st_mtime_ns, found.st_size) for each in files if each.exists() for found in [each.stat()]]

    return mark
