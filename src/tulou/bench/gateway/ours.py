"""Our gateway in a process of its own, before servers that someone else runs: key check, accounting, metrics, retries.

python -m tulou.bench.gateway.ours --folder DIR --port PORT --upstream MODEL=URL [--upstream ...] [--workers N]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
from pathlib import Path

from tulou.core.service_settings import PriceSettings, ServiceSettings
from tulou.core.state import open_state
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.service.gateway.app import build_gateway
from tulou.service.gateway.keys import Keys
from tulou.service.gateway.server import claim_port, serve, until_signal
from tulou.service.gateway.switchboard import Switchboard
from tulou.service.pool import Endpoint, FixedPool

# Which no load uses up, so that all of them are counted.
BUDGETS = {"requests/minute": 1e9, "tokens/minute": 1e12, "tokens/day": 1e13, "money/month": 1e9}


def make_key(folder: Path) -> str:
    """A key for the load, in the state database that the gateway will open."""
    _, secret = Keys(open_state("sqlite:///state.db", folder)).create("load", "app", budgets=BUDGETS)
    return secret


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", action="append", default=[], help="MODEL=URL")
    parser.add_argument("--workers", type=int, default=0, help="processes that share the port; 0: this one answers")
    parser.add_argument("--listen-fd", type=int, help="of a worker, which hears from the main process on its input")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    urls = dict(each.split("=", 1) for each in args.upstream)
    prices = dict.fromkeys(urls, PriceSettings(prompt=1.0, completion=4.0))
    settings = ServiceSettings(listen=f"127.0.0.1:{args.port}", prices=prices)
    pool = FixedPool({model: [Endpoint(f"{model}-0", model, url)] for model, url in urls.items()})
    models = {model: ModelManifest(model, "chat", "remote", "none", "bench", "") for model in urls}
    if args.workers:
        asyncio.run(_oversee(settings, pool, models, args.workers, args.folder))
    elif args.listen_fd is not None:
        _work(settings, socket.socket(fileno=args.listen_fd), args.folder)
    else:
        state = open_state("sqlite:///state.db", args.folder)
        switchboard = Switchboard(settings, pool, state, Metrics(), models)
        serve(build_gateway(settings, switchboard, Keys(state)), claim_port(settings))
    return 0


async def _oversee(
    settings: ServiceSettings, pool: FixedPool, models: dict[str, ModelManifest], count: int, folder: Path
) -> None:
    from tulou.service.gateway.workers import Workers, shared_port  # 10 MB that one process alone does not need

    def command(_number: int, descriptor: int) -> list[str]:
        return [sys.executable, "-m", "tulou.bench.gateway.ours", *sys.argv[1:-2], "--listen-fd", str(descriptor)]

    workers = Workers(pool, models, shared_port(settings, count), command, Metrics(), folder / "logs")
    await workers.start()
    try:
        await until_signal()
    finally:
        await workers.stop()


def _work(settings: ServiceSettings, listener: socket.socket, folder: Path) -> None:
    from tulou.service.gateway.linked import LinkedPool

    metrics, state = Metrics(), open_state("sqlite:///state.db", folder)
    models: dict[str, ModelManifest] = {}
    pool = LinkedPool(socket.socket(fileno=0), models, metrics)
    switchboard = Switchboard(settings, pool, state, metrics, models)
    pool.report(switchboard.live, switchboard.in_flight)

    async def when_started() -> None:
        pool.say_ready()

    serve(build_gateway(settings, switchboard, Keys(state), exposition=pool.exposition), listener, when_started)


if __name__ == "__main__":
    sys.exit(main())
