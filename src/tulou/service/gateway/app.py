"""The gateway's one ASGI callable: model requests take the hot path, everything else the application behind it.

Starlette's request and response objects cost 75 us a request, so model requests do without. Models, metrics, health and
whatever routes the applications bring (which are their own masters) are served by it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from tulou.core.service_settings import ServiceSettings
from tulou.core.urls import expand
from tulou.service.gateway.cold import build_cold
from tulou.service.gateway.counters import open_counters
from tulou.service.gateway.exchange import Exchange, Services
from tulou.service.gateway.keyring import Keyring
from tulou.service.gateway.keys import Keys
from tulou.service.gateway.limiter import Limiter
from tulou.service.gateway.operations import OPERATIONS
from tulou.service.gateway.path import walk
from tulou.service.gateway.switchboard import Switchboard


def build_gateway(
    settings: ServiceSettings,
    switchboard: Switchboard,
    keys: Keys,
    extra_routes: Sequence[BaseRoute] = (),
    exposition: Callable[[], Awaitable[bytes]] | None = None,
) -> ASGIApp:
    """The ASGI application; its lifespan starts and stops the switchboard and its replicas."""
    counters = open_counters(expand(settings.limits), switchboard.accountant.books.spent)
    services = Services(settings, switchboard, Keyring(keys), Limiter(counters, settings.prices), exposition=exposition)
    cold = build_cold(services, extra_routes)
    operations = {operation.path: operation for operation in OPERATIONS}

    async def gateway(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            operation = operations.get(scope["path"])
            if operation is not None:
                await walk(Exchange(services, operation, scope, receive, send))
                return
        await cold(scope, receive, send)

    return gateway
