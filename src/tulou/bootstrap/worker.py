"""One gateway worker of a project: `python -m tulou.bootstrap.worker`, started by the service's main process.

It has the gateway and the applications, and no replicas: what is ready it hears on the line that is its standard input.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from tulou.bootstrap.overview import ServiceOverview
from tulou.bootstrap.project import Project
from tulou.bootstrap.service import application_routes
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.ops.logs import log_to_file
from tulou.service.gateway.app import build_gateway
from tulou.service.gateway.keys import Keys
from tulou.service.gateway.linked import LinkedPool
from tulou.service.gateway.server import address, serve
from tulou.service.gateway.switchboard import Switchboard


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tulou.bootstrap.worker")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--encoder", type=Path, required=True, help="folder of the search encoder")
    args = parser.parse_args(argv)
    project = Project.open(args.project)
    log_to_file(project.logs, f"service-{args.number}")
    listener, line = socket.socket(fileno=args.listen_fd), socket.socket(fileno=0)
    settings, metrics, keys = project.settings.service, Metrics(), Keys(project.state)
    models: dict[str, ModelManifest] = {}
    pool = LinkedPool(line, models, metrics)
    switchboard = Switchboard(settings, pool, project.state, metrics, models, rollout=project.settings.rollout)
    pool.report(switchboard.live, switchboard.in_flight, switchboard.places.waiting)
    pool.switch = switchboard.set_variants
    overview = ServiceOverview(project, switchboard, address(listener), pool.scalings, pool.in_flight, pool.live)
    routes = application_routes(project, args.encoder, switchboard, keys, metrics, overview)

    async def when_started() -> None:
        pool.say_ready()

    gateway = build_gateway(settings, switchboard, keys, routes, pool.exposition)
    serve(gateway, listener, when_started, settings.drain_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())
