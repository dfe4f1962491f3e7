"""Gateway workers over echo replicas: the main process, and with `--worker` one of its workers.

Prints one JSON line with its address and key once everything is ready, and serves until it is interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import socket
import sys
from pathlib import Path

from tulou.core.manifest import read_manifest, write_manifest
from tulou.core.service_settings import ServiceSettings
from tulou.core.state import open_state
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.service.fleet import Fleet, specs_for
from tulou.service.gateway import workers as gateway_workers
from tulou.service.gateway.app import build_gateway
from tulou.service.gateway.keys import Keys
from tulou.service.gateway.linked import LinkedPool
from tulou.service.gateway.server import address, serve, until_signal
from tulou.service.gateway.switchboard import Switchboard
from tulou.service.gateway.workers import Workers, shared_port

MODELS = (
    ModelManifest("assistant", "chat", "echo", "fp32", "f1", "none", max_tokens=400, details={"token_delay_s": 0.02}),
    ModelManifest("encoder", "embed", "echo", "int8", "f3", "none", dimensions=8, version="7"),
)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--listen-fd", type=int)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    if args.listen_fd is not None:
        work(args.folder, socket.socket(fileno=args.listen_fd), socket.socket(fileno=0))
    else:
        asyncio.run(oversee(args.folder, args.workers))
    return 0


def work(folder: Path, listener: socket.socket, line: socket.socket) -> None:
    settings, metrics = ServiceSettings(), Metrics()
    state = open_state("sqlite:///state.db", folder)
    models: dict[str, ModelManifest] = {}
    pool = LinkedPool(line, models, metrics)
    board = Switchboard(settings, pool, state, metrics, models)
    pool.report(board.live, board.in_flight)

    async def tell() -> None:
        pool.say_ready()

    serve(build_gateway(settings, board, Keys(state), exposition=pool.exposition), listener, tell, settings.drain_s)


async def oversee(folder: Path, count: int) -> None:
    for manifest in MODELS:
        write_manifest(folder / manifest.name, manifest)
    keys = Keys(open_state("sqlite:///state.db", folder))
    key = keys.create("test", "admin")[1]
    gateway_workers.HUNG_S = 3.0
    sockets = shared_port(ServiceSettings(listen="127.0.0.1:0"), count)
    metrics = Metrics()
    fleet = Fleet(specs_for({each.name: folder / each.name for each in MODELS}, 2), folder / "logs", metrics)
    models = {each.name: read_manifest(folder / each.name) for each in MODELS}

    def command(_number: int, fd: int) -> list[str]:
        return [sys.executable, __file__, "--folder", str(folder), "--listen-fd", str(fd)]

    workers = Workers(fleet, models, sockets, command, metrics, folder / "logs")
    fleet.busy = lambda name: workers.in_flight().get(name, 0)
    drain_s: float | None = None
    try:
        await fleet.start()
        await workers.start()
        await fleet.wait_ready(30)
        await workers.wait_ready()
        sys.stdout.write(json.dumps({"url": address(sockets[0]), "key": key}) + "\n")
        sys.stdout.flush()
        if await until_signal() == signal.SIGTERM:
            drain_s = ServiceSettings().drain_s
    finally:
        await workers.stop(drain_s)
        await fleet.stop()


if __name__ == "__main__":
    sys.exit(main())
