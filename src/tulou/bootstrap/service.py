"""The service, wired: claim the port, read the champions, start replicas, put gateway and applications on one port.

In this order, so that whatever can be wrong is said before anything heavy starts. While it runs, `service.json` says
where; the first start makes the admin key and keeps it in `admin.key`, readable by its owner alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from starlette.routing import BaseRoute

from tulou.apps.content.writer import Writer
from tulou.apps.ports import Account
from tulou.apps.routes import Applications
from tulou.apps.sessions import Sessions
from tulou.apps.support.assistant import Assistant
from tulou.bootstrap.overview import ServiceOverview
from tulou.bootstrap.project import Project, write_private
from tulou.bootstrap.retrieval import open_retrieval
from tulou.bootstrap.serving import Served, served_models
from tulou.core.errors import BusyError, ServiceError
from tulou.core.settings import ServiceSettings
from tulou.core.stage import write_json
from tulou.core.telemetry import Metrics
from tulou.ops.logs import log_to_file
from tulou.service.fleet import Fleet, specs_for
from tulou.service.gateway.app import build_gateway
from tulou.service.gateway.keys import Key, Keys
from tulou.service.gateway.server import address, claim_port, serve
from tulou.service.gateway.switchboard import GatewayModels, Switchboard


def require_free_port(settings: ServiceSettings) -> None:
    """Raises `ServiceError` if the service could not listen where the settings say."""
    claim_port(settings).close()


def serve_project(project: Project, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Serve until Ctrl-C; blocks. `on_ready` is told the URL, and the admin key if it was made just now.

    Raises `BusyError` if the project is being served already, `ServiceError` if the port is taken or a replica does not
    start, `ModelError` or `DataError` if the project was not run yet.
    """
    if running := project.running_service():
        raise BusyError(f"this project is being served already at {running['url']} (process {running['pid']})")
    sock = claim_port(project.settings.service)
    try:
        url = address(sock)
        served = served_models(project)
        log_to_file(project.logs, "service")
        keys = Keys(project.state)
        admin_key = first_admin_key(project, keys)
        metrics = Metrics()
        replicas = project.settings.service.replicas.min
        fleet = Fleet(specs_for({name: each.folder for name, each in served.items()}, replicas), project.logs, metrics)
        manifests = {name: each.manifest for name, each in served.items()}
        switchboard = Switchboard(project.settings.service, fleet, project.state, metrics, manifests)
        routes = application_routes(project, served, switchboard, keys, metrics, url)
        app = build_gateway(project.settings.service, switchboard, keys, routes)

        async def when_started() -> None:
            await fleet.wait_ready()
            write_json(project.service_file, {"url": url, "pid": os.getpid(), "started_at": time.time()})
            on_ready({"url": url, "admin_key": admin_key, "admin_key_file": str(project.admin_key_file)})

        serve(app, sock, when_started)
    finally:
        sock.close()
        project.service_file.unlink(missing_ok=True)


def application_routes(
    project: Project, served: dict[str, Served], switchboard: Switchboard, keys: Keys, metrics: Metrics, url: str
) -> list[BaseRoute]:
    settings = project.settings
    models = GatewayModels(switchboard)
    support = project.support
    encoder = served[settings.encoder].folder
    retrieval = open_retrieval(project, models, encoder)

    def version(model: str) -> str:
        return served[model].manifest.version if model in served else ""

    return Applications(
        assistant=Assistant(models, retrieval, support, project.state, metrics, version),
        writer=Writer(models, retrieval, settings.apps.content, project.folder, project.state, version),
        overview=ServiceOverview(project, switchboard, url),
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
