"""The service, wired: claim the port, read the champions, start replicas, put gateway and applications on one port.

In this order, so that whatever can be wrong is said before anything heavy starts. While it runs, `service.json` says
where; the first start makes the admin key and keeps it in `admin.key`, readable by its owner alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.routing import BaseRoute

from tulou.apps.content.writer import Writer
from tulou.apps.overview import Overview
from tulou.apps.ports import Account
from tulou.apps.routes import Applications
from tulou.apps.sessions import Sessions
from tulou.apps.support.assistant import Assistant
from tulou.bootstrap.overview import ServiceOverview
from tulou.bootstrap.project import Project, write_private
from tulou.bootstrap.replicas import Backstage, remote_manifests
from tulou.bootstrap.retrieval import open_retrieval
from tulou.bootstrap.serving import served_models
from tulou.core.errors import BusyError, ModelError, ServiceError
from tulou.core.service_settings import ServiceSettings
from tulou.core.stage import write_json
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.ops.logs import log_to_file
from tulou.service.cpus import usable_cores
from tulou.service.gateway.app import build_gateway
from tulou.service.gateway.keys import Key, Keys
from tulou.service.gateway.server import address, claim_port, serve, until_signal
from tulou.service.gateway.switchboard import GatewayModels, Switchboard
from tulou.service.gateway.workers import Workers, shared_port
from tulou.service.replica import main as replica_main


def require_free_port(settings: ServiceSettings) -> None:
    """Raises `ServiceError` if the service could not listen where the settings say."""
    claim_port(settings).close()


def serve_project(project: Project, on_ready: Callable[[dict[str, Any]], None], *, has_replicas: bool = True) -> None:
    """Serve until Ctrl-C; blocks. `on_ready` is told the URL, and the admin key if it was made just now.

    Without replicas of its own, it asks those at `service.endpoints`. Raises `BusyError` if the project is being served
    already, `ServiceError` if the port is taken or a replica does not start, `ModelError` or `DataError` if the project
    was not run yet.
    """
    if running := project.running_service():
        raise BusyError(f"this project is being served already at {running['url']} (process {running['pid']})")
    settings = project.settings.service
    sockets = shared_port(settings, settings.workers) if settings.workers > 1 else [claim_port(settings)]
    try:
        url = address(sockets[0])
        served = served_models(project)
        log_to_file(project.logs, "service")
        keys = Keys(project.state)
        admin_key = first_admin_key(project, keys)
        metrics = Metrics()
        manifests = {name: each.manifest for name, each in served.items()} | remote_manifests(settings)
        backstage = Backstage(project, served, metrics, has_replicas=has_replicas)

        def tell_ready() -> None:
            write_json(project.service_file, {"url": url, "pid": os.getpid(), "started_at": time.time()})
            on_ready({"url": url, "admin_key": admin_key, "admin_key_file": str(project.admin_key_file)})

        encoder = served[project.settings.encoder].folder
        if len(sockets) > 1:
            asyncio.run(oversee(project, backstage, manifests, sockets, metrics, encoder, tell_ready))
            return
        switchboard = Switchboard(
            settings, backstage.pool, project.state, metrics, manifests, rollout=project.settings.rollout
        )
        backstage.load, backstage.waiting = switchboard.in_flight, switchboard.places.waiting
        backstage.switch = switchboard.set_variants
        overview = ServiceOverview(project, switchboard, url, backstage.scalings)
        routes = application_routes(project, encoder, switchboard, keys, metrics, overview)

        async def when_started() -> None:
            await backstage.wait_ready()
            tell_ready()
            await backstage.watch()

        serve(build_gateway(settings, switchboard, keys, routes), sockets[0], when_started, settings.drain_s)
    finally:
        for sock in sockets:
            sock.close()
        project.service_file.unlink(missing_ok=True)


def serve_replica(project: Project, model: str) -> int:
    """Serve the champion of one model on `service.listen`, without gateway and keys; returns the exit code.

    Raises `ModelError` for a model that the project does not have, or has not made.
    """
    served = served_models(project)
    if model not in served:
        raise ModelError(f"the project has no model {model!r} to serve; there are: {', '.join(served)}")
    settings = project.settings.service
    where = [
        "--host",
        settings.host,
        "--port",
        str(settings.port),
        "--threads",
        str(settings.threads or len(usable_cores())),
        "--drain-s",
        str(settings.drain_s),
    ]
    return replica_main(["--folder", str(served[model].folder), "--model", model, *where])


async def oversee(
    project: Project,
    backstage: Backstage,
    manifests: dict[str, ModelManifest],
    sockets: Sequence[socket.socket],
    metrics: Metrics,
    encoder: Path,
    tell_ready: Callable[[], None],
) -> None:
    """The main process where gateway workers answer: it keeps replicas and workers, and serves nothing itself."""

    def command(number: int, descriptor: int) -> list[str]:
        arguments = ["--project", str(project.folder), "--number", str(number), "--listen-fd", str(descriptor)]
        return [sys.executable, "-m", "tulou.bootstrap.worker", *arguments, "--encoder", str(encoder)]

    pool = backstage.pool
    workers = Workers(pool, manifests, sockets, command, metrics, project.logs, backstage.scalings)
    backstage.load, backstage.waiting, backstage.switch = workers.in_flight, workers.waiting, workers.set_variants
    watching: asyncio.Task[None] | None = None
    stopping = asyncio.create_task(until_signal())
    drain_s: float | None = None
    try:
        await pool.start()
        await workers.start()
        watching = asyncio.create_task(_start_and_watch(backstage, workers, tell_ready))
        await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()  # why it ended
        if await stopping == signal.SIGTERM:
            drain_s = project.settings.service.drain_s
    finally:
        for task in (watching, stopping):
            if task is not None:
                task.cancel()
        await workers.stop(drain_s)
        await pool.stop()


async def _start_and_watch(backstage: Backstage, workers: Workers, tell_ready: Callable[[], None]) -> None:
    await backstage.wait_ready()
    await workers.wait_ready()
    tell_ready()
    await backstage.watch()


def application_routes(
    project: Project,
    encoder: Path,
    switchboard: Switchboard,
    keys: Keys,
    metrics: Metrics,
    overview: Overview,
) -> list[BaseRoute]:
    settings = project.settings
    models = GatewayModels(switchboard)
    support = project.support
    retrieval = open_retrieval(project, models, encoder)

    def version(model: str) -> str:
        return switchboard.models[model].version if model in switchboard.models else ""

    return Applications(
        assistant=Assistant(models, retrieval, support, project.state, metrics, version),
        writer=Writer(models, retrieval, settings.apps.content, project.folder, project.state, version),
        overview=overview,
        sessions=Sessions(KeyAccounts(keys), project.secret("session")),
        state=project.state,
        metrics=metrics,
    ).routes()


def first_admin_key(project: Project, keys: Keys) -> str | None:
    """Make the first admin key and return it, or None where there is one already."""
    if any(key.is_admin and key.state(time.time()) in ("valid", "disabled") for key in keys.list()):
        return None
    _, secret = keys.create(
        "first admin", "admin", before=lambda secret: write_private(project.admin_key_file, secret.encode() + b"\n")
    )
    return secret


class KeyAccounts:
    """The gateway's keys as the applications' accounts."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def by_key(self, key: str) -> Account | None:
        return _account(self._keys.find(key))

    def by_id(self, key_id: str) -> Account | None:
        try:
            key = self._keys.get(key_id)
        except ServiceError:
            return None
        return _account(key) if key.state(time.time()) == "valid" else None


def _account(key: Key | None) -> Account | None:
    return Account(key.id, key.name, key.role) if key else None
