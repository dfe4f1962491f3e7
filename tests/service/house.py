"""A gateway and its replicas in the test's own event loop, with neighbours that misbehave as they are told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa
import uvicorn

from tulou.core.service_settings import RolloutSettings, ServiceSettings
from tulou.core.state import open_state, requests
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.service.engine.echo import open_echo
from tulou.service.gateway.app import build_gateway
from tulou.service.gateway.keys import Keys
from tulou.service.gateway.switchboard import Switchboard
from tulou.service.pool import Endpoint, FixedPool
from tulou.service.replica import EngineBackend, build_replica

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ASSISTANT = ModelManifest("assistant", "chat", "echo", "fp32", "f1", "none", max_tokens=400)
ENCODER = ModelManifest("encoder", "embed", "echo", "fp32", "f2", "none", dimensions=8, version="1")
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n'
OK, STREAM = b"HTTP/1.1 200 OK\r\n", b"content-type: text/event-stream\r\n\r\n"


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@dataclass
class House:
    url: str
    switchboard: Switchboard
    session: aiohttp.ClientSession
    keys: tuple[str, str, str]  # of three users; the last may ask the assistant only
    state: sa.Engine
    answered: list[str] = field(default_factory=list)

    async def post(
        self,
        body: Mapping[str, Any],
        path: str = "chat/completions",
        key: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        headers = {"authorization": f"Bearer {self.keys[key]}", **(headers or {})}
        async with self.session.post(f"{self.url}/v1/{path}", json=body, headers=headers) as response:
            given = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status, given, await response.text())

    async def chat(self, text: str = "one two three", **body: Any) -> Reply:
        return await self.post({"model": "assistant", "messages": [{"role": "user", "content": text}], **body})

    def metric(self, name: str, **labels: str) -> float:
        return self.switchboard.metrics.registry.get_sample_value(name, labels) or 0.0

    def rows(self) -> list[dict[str, Any]]:
        self.switchboard.accountant.flush()
        with self.state.connect() as db:
            return [dict(row._mapping) for row in db.execute(sa.select(requests))]


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def words(self) -> str:
        """What was said, in a whole answer or in a stream that ended as it should; else nothing."""
        if not self.headers["content-type"].startswith("text/event-stream"):
            return str(self.json["choices"][0]["message"]["content"]) if self.status == 200 else ""
        lines = [line.removeprefix("data: ") for line in self.text.splitlines() if line]
        if lines[-1] != "[DONE]":
            return ""
        choices = [choice for line in lines[:-1] for choice in json.loads(line)["choices"]]
        return "".join(choice["delta"].get("content", "") for choice in choices)


async def _serve(app: Any, stack: contextlib.AsyncExitStack) -> str:
    server = _Server(uvicorn.Config(app, port=0, log_config=None, ws="none", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())

    async def end() -> None:
        server.should_exit = True
        await serving

    stack.push_async_callback(end)
    while not server.started:
        await asyncio.sleep(0.01)
        if serving.done():
            serving.result()
    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


async def echo(
    folder: Path, stack: contextlib.AsyncExitStack, manifest: ModelManifest = ASSISTANT, name: str = "", **details: Any
) -> Endpoint:
    manifest = replace(manifest, details=details)
    backend = EngineBackend(open_echo(folder, manifest, 1), manifest.name)
    stack.callback(backend.close)
    url = await _serve(build_replica(backend), stack)
    return Endpoint(name or manifest.name, manifest.name, url, True, manifest.version)


async def rogue(how: str, stack: contextlib.AsyncExitStack, can_resume: bool = False, version: str = "") -> Endpoint:
    """A replica of the assistant that misbehaves."""
    server = await asyncio.start_server(_reading(ROGUES[how]), "127.0.0.1", 0)

    async def end() -> None:
        server.close()

    stack.push_async_callback(end)
    port = server.sockets[0].getsockname()[1]
    return Endpoint("rogue", "assistant", f"http://127.0.0.1:{port}", can_resume, version)


def _reading(then: Handler) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
            await then(reader, writer)
            await writer.drain()
        writer.close()

    return handle


def _says(said: bytes) -> Handler:
    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)

    return handle


async def _hangs(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the other side has had enough


async def _drips(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b"content-length: 100000\r\n" + STREAM)
    for _ in range(60):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


ROGUES: dict[str, Handler] = {
    "garbage": _says(b"\x00\xff\x17 nothing like HTTP\r\n\r\n"),
    "html": _says(OK + b"content-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>"),
    "other_json": _says(OK + b'content-type: application/json\r\ncontent-length: 15\r\n\r\n{"hello": null}'),
    "error_500": _says(b"HTTP/1.1 500 Oops\r\ncontent-length: 5\r\n\r\noops!"),
    "told_500": _says(b'HTTP/1.1 500 Oops\r\ncontent-length: 31\r\n\r\n{"error":{"message":"broken!"}}'),
    "busy_503": _says(b"HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\n{}"),
    "hangs": _hangs,
    "drips": _drips,
    "closes": _says(b""),
    "closes_in_body": _says(OK + b'content-type: application/json\r\ncontent-length: 500\r\n\r\n{"choices": ['),
    "closes_in_stream": _says(OK + STREAM + EVENT % b"one" + EVENT % b" one"),
}


@contextlib.asynccontextmanager
async def house(
    folder: Path,
    endpoints: Sequence[Endpoint],
    manifests: Sequence[ModelManifest] = (ASSISTANT,),
    rollout: RolloutSettings | None = None,
    **settings: Any,
) -> AsyncIterator[House]:
    """A gateway before `endpoints`, listening on a port of its own."""
    state = open_state("sqlite:///state.db", folder)
    keys = Keys(state)
    secrets = (
        keys.create("one", "app")[1],
        keys.create("two", "app")[1],
        keys.create("three", "app", models=[ASSISTANT.name])[1],
    )
    pool = FixedPool({each.name: [e for e in endpoints if e.model == each.name] for each in manifests})
    service = ServiceSettings(**settings)
    switchboard = Switchboard(
        service, pool, state, Metrics(), {each.name: each for each in manifests}, patience_s=0.3, rollout=rollout
    )
    async with contextlib.AsyncExitStack() as stack:
        url = await _serve(build_gateway(service, switchboard, keys), stack)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)))
        yield House(url, switchboard, session, secrets, state)
    state.dispose()
