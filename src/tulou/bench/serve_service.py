"""The service that `tulou bench serve` tries: a gateway before a fleet of three replicas that echo.

Each SIGUSR1 promotes another version of the model: its replicas are started, switched to, and the old ones drained.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path

from tulou.bench.gateway.load import MODEL
from tulou.core.manifest import write_manifest
from tulou.core.service_settings import ServiceSettings
from tulou.core.state import open_state
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.service.fleet import Fleet
from tulou.service.gateway.app import build_gateway
from tulou.service.gateway.keys import Keys
from tulou.service.gateway.policy.rollout import split
from tulou.service.gateway.server import claim_port, serve
from tulou.service.gateway.switchboard import Switchboard
from tulou.service.supervise import ReplicaSpec

REPLICAS = 3
PROMOTED = "promotions"  # file with the number of promotions done


class Promotions:
    """One after another, as many as were asked for."""

    def __init__(self, fleet: Fleet, switchboard: Switchboard, manifest: ModelManifest, folder: Path) -> None:
        self._fleet, self._switchboard, self._manifest, self._folder = fleet, switchboard, manifest, folder
        self._wanted: asyncio.Queue[None] = asyncio.Queue()
        self._version = 1

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._wanted.put_nowait, None)
        await self._fleet.wait_ready(60)
        while True:
            await self._wanted.get()
            await self._promote()
            (self._folder / PROMOTED).write_text(str(self._version - 1))

    async def _promote(self) -> None:
        old, new = str(self._version), str(self._version + 1)
        await self._fleet.bring_up(MODEL, new, self._folder / MODEL, REPLICAS)
        self._fleet.show(MODEL, {old, new})
        self._switchboard.set_variants(MODEL, split(new), replace(self._manifest, version=new))
        self._fleet.show(MODEL, {new})
        self._fleet.retire(MODEL, old)
        self._version += 1


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    manifest = ModelManifest(MODEL, "chat", "echo", "fp32", "bench", "none", version="1", max_tokens=4096)
    write_manifest(args.folder / MODEL, manifest)
    settings = ServiceSettings(listen=f"127.0.0.1:{args.port}")
    state = open_state("sqlite:///state.db", args.folder)
    specs = [ReplicaSpec(f"{MODEL}-{n}", MODEL, args.folder / MODEL, version="1") for n in range(REPLICAS)]
    fleet = Fleet(specs, args.folder / "logs")
    fleet.show(MODEL, {"1"})
    switchboard = Switchboard(settings, fleet, state, Metrics(), {MODEL: manifest})
    promotions = Promotions(fleet, switchboard, manifest, args.folder)
    serve(build_gateway(settings, switchboard, Keys(state)), claim_port(settings), promotions.run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
