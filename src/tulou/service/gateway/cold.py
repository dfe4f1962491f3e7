"""What is asked of the gateway seldom: models, metrics, health, and the routes of the applications."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tulou.core.types import ModelManifest
from tulou.service.gateway import refusals, wire
from tulou.service.gateway.call import json_response
from tulou.service.gateway.exchange import Services
from tulou.service.gateway.exposition import note_states
from tulou.service.gateway.keys import Key
from tulou.service.gateway.openapi import document
from tulou.service.gateway.operations import OPERATIONS
from tulou.service.gateway.path import secret_in


def build_cold(services: Services, extra_routes: Sequence[BaseRoute] = ()) -> ASGIApp:
    """The application for all of it; behind a proxy on this machine, it believes what that says of the client."""
    desk = _Desk(services)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        try:
            await services.patrol.start()
            await services.limiter.counters.start()
            await services.switchboard.start()
            yield
        finally:
            await services.switchboard.stop()
            await services.limiter.counters.stop()
            await services.patrol.stop()

    routes: list[BaseRoute] = [
        *(Route(operation.path, desk.only_posted, methods=["POST"]) for operation in OPERATIONS),
        Route("/openapi.json", desk.show_document),
        Route("/v1/models", desk.list_models),
        Route("/v1/models/{model:path}", desk.show_model),
        Route("/metrics", desk.show_metrics),
        Route("/healthz", desk.healthz),
        Route("/readyz", desk.readyz),
    ]
    if extra_routes:
        routes.append(Mount("/", routes=extra_routes, max_body_size=services.settings.max_body_bytes))
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error})
    return cast("ASGIApp", ProxyHeadersMiddleware(cast("Any", app), os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")))


class _Desk:
    def __init__(self, services: Services) -> None:
        self._settings = services.settings
        self._switchboard = services.switchboard
        self._keys = services.keys
        self._exposition = services.exposition
        self._created = int(time.time())

    async def only_posted(self, request: Request) -> Response:
        """Reached by no request: those that POST are on the hot path, and others get a 405 from the route."""
        raise HTTPException(405)

    async def list_models(self, request: Request) -> Response:
        try:
            key = await self._key(request)
        except refusals.ApiError as err:
            return refused(err)
        models = self._switchboard.models.items()
        return json_response(wire.ModelList([self._card(*each) for each in models if key.may_use(each[0])]))

    async def show_model(self, request: Request) -> Response:
        name = request.path_params["model"]
        try:
            key = await self._key(request)
        except refusals.ApiError as err:
            return refused(err)
        manifest = self._switchboard.models.get(name)
        if manifest is None or not key.may_use(name):
            return refused(refusals.model_unknown(name))
        return json_response(self._card(name, manifest))

    async def show_document(self, _request: Request) -> Response:
        return json_response(document(self._switchboard.models))

    async def show_metrics(self, _request: Request) -> Response:
        if self._exposition is not None:
            return Response(await self._exposition(), media_type=CONTENT_TYPE_LATEST)
        metrics = self._switchboard.metrics
        note_states(metrics, self._switchboard.pool.status())
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def healthz(self, _request: Request) -> Response:
        """This process lives."""
        return JSONResponse({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """Every model of ours has a replica that answers; what others serve is told and not judged."""
        models = self._switchboard.models
        ready = {model: len(self._switchboard.pool.ready(model)) for model in models}
        is_ready = all(count for model, count in ready.items() if models[model].engine != "remote")
        body = {"status": "ready" if is_ready else "starting", "replicas": ready}
        return JSONResponse(body, 200 if is_ready else 503)

    async def _key(self, request: Request) -> Key:
        """Raises `ApiError`, counted, without a valid one."""
        try:
            return await self._keys.valid(secret_in(request.headers.get("authorization", "").encode("latin-1")))
        except refusals.ApiError as err:
            self._switchboard.accountant.refused("/v1/models", err.status)
            raise

    def _card(self, name: str, manifest: ModelManifest) -> wire.ModelCard:
        version = manifest.version or manifest.fingerprint
        return wire.ModelCard(name, self._created, manifest.task, manifest.precision, version)


def refused(err: refusals.ApiError, headers: Mapping[str, str] | None = None) -> Response:
    told = {**err.headers, **(headers or {})}
    return Response(msgspec.json.encode(err.body), err.status, told, media_type="application/json")


async def _http_error(request: Request, err: Exception) -> Response:
    """Errors that Starlette raises itself, in the same shape as ours."""
    if not isinstance(err, HTTPException):
        raise err
    known = {404: refusals.url_unknown, 405: refusals.method_wrong}
    if err.status_code in known:
        return refused(known[err.status_code](request.method, request.url.path), err.headers)  # `allow`, of a 405
    return refused(refusals.ApiError(err.status_code, err.detail))
