"""The steps a request takes through a replica, from the socket to its answer.

Every step has one signature: it looks at the exchange, adds what it found, or raises the refusal that ends the walk.
The last one returns the response.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive

from tulou.service.engine.base import PromptTooLong, Unsupported
from tulou.service.gateway import refusals, wire
from tulou.service.gateway.call import Backend, Call, json_response
from tulou.service.gateway.entry import CLIENT_GONE, Caller
from tulou.service.gateway.operations import Operation

_REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")

logger = logging.getLogger(__name__)


@dataclass
class Exchange:
    """One request on its way, and all that is known of it so far."""

    request: Request
    operation: Operation
    backend: Backend
    max_body_bytes: int
    request_id: str = ""
    started: float = field(default_factory=time.perf_counter)
    raw: bytes = b""
    body: Any = None
    call: Call | None = None

    def __post_init__(self) -> None:
        """The gateway says which request this is; only what it would say itself is believed."""
        said = self.request.headers.get("x-request-id", "")
        self.request_id = said if _REQUEST_ID.fullmatch(said) else f"req_{secrets.token_hex(16)}"


Step = Callable[[Exchange], Awaitable[Response | None]]


async def read_body(exchange: Exchange) -> None:
    limit = exchange.max_body_bytes
    announced = exchange.request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise refusals.body_too_large(limit)
    received = bytearray()
    async for chunk in exchange.request.stream():
        received += chunk
        if len(received) > limit:
            raise refusals.body_too_large(limit)
    exchange.raw = bytes(received)


async def decode(exchange: Exchange) -> None:
    exchange.body = wire.decode(exchange.raw, exchange.operation.decoder)
    exchange.body.refuse_unsupported()


async def find_model(exchange: Exchange) -> None:
    operation, model = exchange.operation, exchange.body.model
    manifest = exchange.backend.models.get(model)
    if manifest is None:
        raise refusals.model_unknown(model)
    if manifest.task not in operation.tasks:
        raise refusals.model_unfit(model, manifest.task, operation.path)
    caller = Caller(operation.path, exchange.request_id)
    exchange.call = Call(exchange.body, manifest, exchange.backend, caller)


async def answer(exchange: Exchange) -> Response:
    if exchange.call is None:
        raise RuntimeError("the path answers before it has found the model")
    return await while_connected(exchange.request.receive, exchange.operation.answer(exchange.call))


async def walk(exchange: Exchange, path: Sequence[Step]) -> Response:
    """Take the steps in order, and turn whatever goes wrong into the answer a client of OpenAI's would get."""
    try:
        for step in path:
            if (response := await step(exchange)) is not None:
                break
        else:
            raise RuntimeError("the path ends without an answer")
    except refusals.ApiError as err:
        response = refused(err)
    except PromptTooLong as err:
        response = refused(refusals.context_exceeded(str(err), "messages"))
    except Unsupported as err:
        response = refused(refusals.engine_cannot(err.param, err.message))
    except ClientDisconnect:
        response = Response(status_code=CLIENT_GONE)
    except Exception:
        logger.exception("request %s to %s failed", exchange.request_id, exchange.operation.path)
        response = refused(refusals.internal_error(exchange.request_id))
    response.headers["x-request-id"] = exchange.request_id
    response.headers["openai-processing-ms"] = str(round((time.perf_counter() - exchange.started) * 1000))
    return response


def refused(err: refusals.ApiError) -> Response:
    headers = dict(err.headers)
    if err.status == 413:
        headers["connection"] = "close"  # the rest of the body is not worth reading
    return json_response(err.body, err.status, headers)


async def while_connected(receive: Receive, work: Coroutine[Any, Any, Response]) -> Response:
    """The result of `work`, which is cancelled when the client leaves before it is there."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
