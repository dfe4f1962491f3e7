"""A replica: one engine in a process of its own behind HTTP, started by the fleet or by hand.

It loads its model first and listens after, so that whoever can connect gets an answer. The fleet gives it one end of a
socket pair: on it the replica tells its port, and its other end closing means that the parent is gone, however it
ended; then the replica ends too. SIGTERM lets answers finish.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tulou.core.errors import ModelError, TulouError
from tulou.core.types import ChatDelta
from tulou.service import replica_path as path
from tulou.service.batcher import Batcher, Overloaded
from tulou.service.engine import ChatEngine, EncoderEngine, Engine, Generation, PromptTooLong, Unsupported, open_engine
from tulou.service.engine.base import Input, Mortal, Relay
from tulou.service.gateway import refusals
from tulou.service.gateway.call import Encoded, Pieces
from tulou.service.gateway.entry import Caller
from tulou.service.gateway.operations import OPERATIONS, Operation
from tulou.service.pool import Manifests

PATH: Sequence[path.Step] = (path.read_body, path.decode, path.find_model, path.answer)

MAX_ANSWERS = 256  # under way or waiting at once; what comes then is told so rather than left to wait

MAX_BODY_BYTES = 64 << 20  # the gateway's own limit is the one that counts

logger = logging.getLogger(__name__)


class EngineBackend:
    """The engine of this process, as what the endpoints ask."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.models: Manifests = {name: engine.manifest}
        self._engine = engine
        self._batcher = Batcher(engine) if isinstance(engine, EncoderEngine) else None
        self._answers = 0

    @property
    def tool_format(self) -> str | None:
        return self._engine.tool_format if isinstance(self._engine, ChatEngine) else None

    @property
    def relay(self) -> Relay | None:
        return self._engine if isinstance(self._engine, Relay) else None

    def text_of(self, ids: Sequence[int]) -> str:
        if not isinstance(self._engine, ChatEngine):
            raise ModelError("only chat models know the text of token ids")
        return self._engine.text_of(ids)

    async def encode(self, model: str, texts: Sequence[Input], caller: Caller) -> Encoded:
        if self._batcher is None:
            raise ModelError(f"model {model!r} encodes nothing")
        try:
            return Encoded(*await self._batcher.encode(texts))
        except Overloaded as err:
            raise refusals.replica_full(err.waiting) from err

    async def generate(self, model: str, request: Generation, caller: Caller) -> AsyncGenerator[ChatDelta, None]:
        if not isinstance(self._engine, ChatEngine):
            raise ModelError(f"model {model!r} does not chat")
        if self._answers >= MAX_ANSWERS:
            raise refusals.replica_full(self._answers)
        self._answers += 1
        try:
            async with aclosing(self._engine.generate(request)) as deltas:
                async for delta in deltas:
                    yield delta
        except PromptTooLong as err:
            raise refusals.context_exceeded(str(err), request.param) from err
        except Unsupported:
            raise
        except ModelError as err:
            logger.exception("model %s could not answer", model)
            raise refusals.ApiError(500, f"{err}.", "server_error") from err
        finally:
            self._answers -= 1

    @property
    def is_broken(self) -> bool:
        return isinstance(self._engine, Mortal) and self._engine.is_broken

    def close(self) -> None:
        if self._batcher is not None:
            self._batcher.close()
        self._engine.close()


def build_replica(backend: EngineBackend) -> ASGIApp:
    async def healthz(_request: Request) -> Response:
        status = "broken" if backend.is_broken else "ok"  # the fleet starts another in place of a broken one
        body = {"status": status, "models": list(backend.models), "in_flight": counted.in_flight}
        return JSONResponse(body, 503 if backend.is_broken else 200)

    routes = [Route(operation.path, _endpoint(operation, backend), methods=["POST"]) for operation in OPERATIONS]
    counted = InFlight(Starlette(routes=[*routes, Route("/healthz", healthz)]))
    return counted


class InFlight:
    """Counts the requests being answered, streams until their last byte; the fleet asks before it stops a replica."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counts = int(scope["type"] == "http" and scope["method"] == "POST")
        self.in_flight += counts
        try:
            await self._app(scope, receive, send)
        finally:
            self.in_flight -= counts


def _endpoint(operation: Operation, backend: EngineBackend) -> Callable[[Request], Awaitable[Response]]:
    relay = backend.relay
    steps = PATH if relay is None else (path.read_body, _relaying(relay))

    async def handle(request: Request) -> Response:
        return await path.walk(path.Exchange(request, operation, backend, MAX_BODY_BYTES), steps)

    return handle


def _relaying(relay: Relay) -> path.Step:
    async def pass_on(exchange: path.Exchange) -> Response:
        return await path.while_connected(exchange.request.receive, ask(exchange))

    async def ask(exchange: path.Exchange) -> Response:
        try:
            answer = await relay.relay(exchange.operation.path, exchange.raw)
        except Unsupported:
            raise
        except ModelError as err:
            raise refusals.ApiError(503, f"{err}.", "server_error", "model_unavailable", retry_after_s=1) from err
        return Pieces(answer.pieces, answer.status, answer.content_type)

    return pass_on


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    if args.cores:
        os.sched_setaffinity(0, {int(core) for core in args.cores.split(",")})  # before a library makes its threads
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {args.name or args.folder.name} %(message)s")
    parent = socket.socket(fileno=args.parent_fd) if args.parent_fd is not None else None
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True, name="parent").start()
    try:
        backend = EngineBackend(open_engine(args.folder, args.threads), args.model or args.folder.name)
        listener = _listen(args.host, args.port)
    except (TulouError, OSError) as err:
        _report(parent, {"error": str(err)})
        logger.error("%s", err)
        return 1
    try:
        _serve(
            backend,
            listener,
            lambda: _report(parent, {"port": listener.getsockname()[1], "pid": os.getpid()}),
            args.drain_s,
        )
    finally:
        backend.close()
    return 0


def _serve(backend: EngineBackend, listener: socket.socket, on_listening: Callable[[], None], drain_s: float) -> None:
    from tulou.service.gateway.server import serve

    async def listening() -> None:
        on_listening()

    serve(build_replica(backend), listener, listening, drain_s)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port), backlog=1024)
    listener.setblocking(False)
    return listener


def _report(parent: socket.socket | None, fact: dict[str, object]) -> None:
    line = json.dumps(fact, ensure_ascii=False) + "\n"
    if parent is None:
        sys.stdout.write(line)
        sys.stdout.flush()
    else:
        parent.sendall(line.encode())


def _end_with(parent: socket.socket) -> None:
    """Wait until the parent's end is closed, which the kernel does even after kill -9, and end at once."""
    try:
        parent.recv(1)
    finally:
        os._exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tulou.service.replica", description="Serve one model over HTTP.")
    parser.add_argument("--folder", type=Path, required=True, help="model folder with model.json")
    parser.add_argument("--model", help="name that requests use; the folder's name by default")
    parser.add_argument("--name", help="name of this replica in logs")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one, told on standard output")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cores", default="", help="numbers of the cores to stay on, with commas; any by default")
    parser.add_argument("--drain-s", type=float, default=1.0, help="for answers to finish after SIGTERM")
    parser.add_argument("--parent-fd", type=int, help="file descriptor of the line to the parent process")
    return parser


if __name__ == "__main__":
    sys.exit(main())
