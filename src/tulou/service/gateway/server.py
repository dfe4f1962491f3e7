"""Running an ASGI application with uvicorn on a socket that was claimed beforehand.

The port is bound before any model is loaded, so that one in use is told at once. Ctrl-C lets answers finish for a
moment, then everything stops, within five seconds. SIGTERM, which a deploy sends, takes no more connections and lets
answers finish for as long as `service.drain_s` says. A second signal stops at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from tulou.core.errors import ServiceError
from tulou.core.service_settings import ServiceSettings
from tulou.service.gateway.protocol import GatewayProtocol

DRAIN_S = 1.0  # for answers under way when somebody pressed Ctrl-C
BACKLOG = 2048


def claim_port(settings: ServiceSettings) -> socket.socket:
    """A socket that listens where the settings say. Raises `ServiceError` where that is not possible."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host, settings.port))
        sock.listen(BACKLOG)  # two sockets may be bound to one port until the first listens
    except OSError as err:
        sock.close()
        raise ServiceError(_reason(settings, err)) from err
    sock.setblocking(False)
    return sock


def address(sock: socket.socket) -> str:
    """`http://HOST:PORT` of a claimed socket, as a person on this machine would type it."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 -- read, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    app: ASGIApp,
    sock: socket.socket,
    on_started: Callable[[], Awaitable[None]] | None = None,
    drain_s: float = DRAIN_S,
) -> None:
    """Serve `app` on `sock` until Ctrl-C or SIGTERM, then return; blocks.

    After SIGTERM answers under way have `drain_s` to finish. `on_started` runs beside the server once it accepts
    requests; an error in it stops the server and is raised here.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=GatewayProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # read by the applications' side alone, see `cold.py`
        timeout_graceful_shutdown=int(DRAIN_S),
    )
    server = _Server(config, drain_s)
    loop_factory = config.get_loop_factory()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_serve(server, sock, on_started))


async def until_signal() -> signal.Signals:
    """Return the next Ctrl-C or SIGTERM."""
    loop = asyncio.get_running_loop()
    came: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, came.put_nowait, each)
    return await came.get()


async def _serve(server: _Server, sock: socket.socket, on_started: Callable[[], Awaitable[None]] | None) -> None:
    beside = asyncio.create_task(_when_started(server, on_started)) if on_started else None
    try:
        await server.serve(sockets=[sock])
    except SystemExit as err:  # uvicorn's way to say that the lifespan failed, after logging why
        raise ServiceError("the service could not start; the lines above say why") from err
    finally:
        if beside is not None:
            if not beside.done():
                beside.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beside


async def _when_started(server: _Server, then: Callable[[], Awaitable[None]]) -> None:
    try:
        await server.accepts.wait()
        await then()
    except BaseException:
        server.should_exit = True
        raise


class _Server(uvicorn.Server):
    """Stops on a signal like uvicorn, but returns afterwards, so that the caller can tidy up."""

    def __init__(self, config: uvicorn.Config, drain_s: float) -> None:
        super().__init__(config)
        self.accepts = asyncio.Event()
        self._drain_s = drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
        elif sig == signal.SIGTERM:
            self.config.timeout_graceful_shutdown = self._drain_s  # type: ignore[assignment]  # it may be a fraction
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this ten times a second; once a second the connections are looked at."""
        if counter % 10 == 0:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, GatewayProtocol):
                    connection.close_if_late(now)
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _calm_garbage_collection()
        self.accepts.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        try:
            for each in signals:
                loop.add_signal_handler(each, self.handle_exit, each, None)
        except (ValueError, RuntimeError):  # not in the main thread: someone else stops us
            yield
            return
        try:
            yield
        finally:
            for each in signals:
                loop.remove_signal_handler(each)


def _calm_garbage_collection() -> None:
    """What was loaded stays, so need not be looked at; requests leave few circles, so looking seldom is enough."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 5, 5)


def _reason(settings: ServiceSettings, err: OSError) -> str:
    if err.errno == errno.EADDRINUSE:
        return (
            f"port {settings.port} on {settings.host} is in use by another program; stop it, or choose "
            "another HOST:PORT with --listen or service.listen in tulou.toml"
        )
    if err.errno == errno.EACCES:
        return f"port {settings.port} may not be used without root; set service.listen to a port above 1023"
    return f"cannot listen on {settings.listen}: {err.strerror or err}; check service.listen in tulou.toml"
