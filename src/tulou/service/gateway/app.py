"""The gateway's HTTP face: OpenAI's endpoints, health, metrics, and whatever routes the applications bring.

`PATH` is the whole way of a model request through the gateway, in order. Routes of applications are their own masters;
only the size of a body is limited for them too.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from tulou.core.settings import ServiceSettings
from tulou.core.types import ModelManifest
from tulou.service.gateway import path, refusals, wire
from tulou.service.gateway.keys import Keys
from tulou.service.gateway.operations import OPERATIONS, Operation, json_response
from tulou.service.gateway.switchboard import Switchboard

PATH: Sequence[path.Step] = (
    path.authenticate,
    path.authorise,
    path.read_body,
    path.decode,
    path.find_model,
    path.answer,
)


def build_gateway(
    settings: ServiceSettings, switchboard: Switchboard, keys: Keys, extra_routes: Sequence[BaseRoute] = ()
) -> Starlette:
    """The ASGI application; its lifespan starts and stops the switchboard and its replicas."""
    gateway = _Gateway(settings, switchboard, keys)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        try:
            await switchboard.start()
            yield
        finally:
            await switchboard.stop()

    routes: list[BaseRoute] = [
        *(Route(operation.path, gateway.endpoint(operation), methods=["POST"]) for operation in OPERATIONS),
        Route("/v1/models", gateway.list_models),
        Route("/v1/models/{model:path}", gateway.show_model),
        Route("/metrics", gateway.show_metrics),
        Route("/healthz", gateway.healthz),
        Route("/readyz", gateway.readyz),
    ]
    if extra_routes:
        routes.append(Mount("/", routes=extra_routes, max_body_size=settings.max_body_bytes))
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error})
    app.state.switchboard = switchboard
    return app


class _Gateway:
    def __init__(self, settings: ServiceSettings, switchboard: Switchboard, keys: Keys) -> None:
        self._settings = settings
        self._switchboard = switchboard
        self._keys = keys
        self._created = int(time.time())

    def endpoint(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            exchange = path.Exchange(request, operation, self._switchboard, self._settings.max_body_bytes, self._keys)
            response = await path.walk(exchange, PATH)
            if exchange.call is None:  # refused before it reached a model
                self._switchboard.accountant.refused(operation.path, response.status_code)
            return response

        return handle

    async def list_models(self, request: Request) -> Response:
        if refusal := await self._refusal(request):
            return refusal
        cards = [self._card(name, manifest) for name, manifest in self._switchboard.models.items()]
        return json_response(wire.ModelList(cards))

    async def show_model(self, request: Request) -> Response:
        if refusal := await self._refusal(request):
            return refusal
        name = request.path_params["model"]
        manifest = self._switchboard.models.get(name)
        if manifest is None:
            return path.refused(refusals.model_unknown(name))
        return json_response(self._card(name, manifest))

    async def show_metrics(self, _request: Request) -> Response:
        metrics = self._switchboard.metrics
        states = Counter((replica.model, replica.state) for replica in self._switchboard.pool.status())
        metrics.replicas.clear()
        for (model, state), count in states.items():
            metrics.replicas.labels(model, state).set(count)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def healthz(self, _request: Request) -> Response:
        """This process lives."""
        return JSONResponse({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """Every model has a replica that answers."""
        ready = {model: len(self._switchboard.pool.ready(model)) for model in self._switchboard.models}
        is_ready = all(ready.values())
        body = {"status": "ready" if is_ready else "starting", "replicas": ready}
        return JSONResponse(body, 200 if is_ready else 503)

    async def _refusal(self, request: Request) -> Response | None:
        try:
            await path.bearer(request, self._keys)
        except refusals.ApiError as err:
            self._switchboard.accountant.refused("/v1/models", err.status)
            return path.refused(err)
        return None

    def _card(self, name: str, manifest: ModelManifest) -> wire.ModelCard:
        version = manifest.version or manifest.fingerprint
        return wire.ModelCard(name, self._created, manifest.task, manifest.precision, version)


async def _http_error(request: Request, err: Exception) -> Response:
    """Errors that Starlette raises itself, in the same shape as ours."""
    if not isinstance(err, HTTPException):
        raise err
    known = {404: refusals.url_unknown, 405: refusals.method_wrong}
    if err.status_code in known:
        return path.refused(known[err.status_code](request.method, request.url.path))
    return path.refused(refusals.ApiError(err.status_code, err.detail))
