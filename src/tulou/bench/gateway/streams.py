"""Streams: a small upstream that sends a chunk every few milliseconds, and clients that time what they get.

    python -m tulou.bench.gateway.streams PORT

Both are bare protocols, so that the core they share has time left. A chunk is an event of about 250 bytes, as chat
completions have; the model's name may say how many there are and how far apart ("streams", or in the user's message as
`chunks=5 every_ms=0`).
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
import sys
import time
from dataclasses import dataclass
from typing import cast

from tulou.bench.gateway.processes import LOAD_CORE, Program, Server, free_port

STREAMS, CHUNKS, EVERY_MS = 64, 100, 10

_CHUNK = (
    b'data: {"id":"chatcmpl-0123456789abcdef0123456789abcdef","object":"chat.completion.chunk","created":1760000000,'
    b'"model":"streams","choices":[{"index":0,"delta":{"content":" kettle"},"logprobs":null,"finish_reason":null}],'
    b'"usage":null}\n\n'
)
_LAST = (
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":100,"total_tokens":105}}\n\n'
    b"data: [DONE]\n\n"
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_ASKED = re.compile(rb"chunks=(\d+) every_ms=(\d+)")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def upstream_program() -> Program:
    port = free_port()
    command = [sys.executable, "-m", "tulou.bench.gateway.streams", str(port)]
    return Program("streams", command, port, LOAD_CORE, path="/", body=_body(1, 0))


@dataclass(frozen=True)
class Streamed:
    streams: int
    cancelled: int
    broken: int  # ended without `[DONE]`
    chunks: int
    chunks_per_s: float
    first_byte_p50_ms: float
    cpu_us: float  # of the server's processor, a chunk


async def stream_through(
    server: Server, streams: int, clients: int = STREAMS, chunks: int = CHUNKS, every_ms: int = EVERY_MS,
    cancelled_share: float = 0.0, seed: int = 0,
) -> Streamed:  # fmt: skip
    """`streams` streams by so many clients at once; some are left after their first chunk, as the share says."""
    left = iter(range(streams))
    rng = random.Random(seed)
    firsts: list[float] = []
    broken = cancelled = seen = 0

    async def client() -> None:
        nonlocal broken, cancelled, seen
        await asyncio.sleep(rng.random() * chunks * every_ms / 1000)  # not all in step
        protocol: _Client | None = None
        for _ in left:
            if protocol is None or protocol.is_closed:
                protocol = await _connect(server.program.port)
            leaves = rng.random() < cancelled_share
            await protocol.ask(_request(server.program, _body(chunks, every_ms)), leaves)
            firsts.append(protocol.first_s * 1000)
            seen += protocol.events
            cancelled += leaves
            broken += not leaves and not protocol.is_done
            if leaves:
                protocol.close()

        if protocol is not None:
            protocol.close()

    before_s, started = server.cpu_s(), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    seconds, spent_s = time.perf_counter() - started, server.cpu_s() - before_s
    return Streamed(
        streams, cancelled, broken, seen, seen / seconds, statistics.median(firsts), spent_s / max(seen, 1) * 1e6
    )


def _body(chunks: int, every_ms: int) -> bytes:
    content = f"chunks={chunks} every_ms={every_ms}"
    options = {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps({"model": "streams", "messages": [{"role": "user", "content": content}], **options}).encode()


def _request(program: Program, body: bytes) -> bytes:
    return (
        f"POST {program.streams_path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {program.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


async def _connect(port: int) -> _Client:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: _Client(loop), "127.0.0.1", port)
    return client


class _Client(asyncio.Protocol):
    """Counts events until the terminating chunk; enough of HTTP for answers in chunks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.is_closed = False

    async def ask(self, request: bytes, leaves: bool) -> None:
        self._leaves = leaves
        self._asked = time.perf_counter()
        self.first_s, self.events, self.is_done = 0.0, 0, False
        self._tail = b""
        self._end = self._loop.create_future()
        self._transport.write(request)
        await self._end

    def close(self) -> None:
        self.is_closed = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        found = data.count(b"data: ")
        if found and not self.events:
            self.first_s = time.perf_counter() - self._asked
        self.events += found
        self._tail = (self._tail + data)[-64:]
        self.is_done = self.is_done or b"[DONE]" in self._tail or b"[DONE]" in data
        if not self._end.done() and ((self._leaves and self.events) or self._tail.endswith(b"0\r\n\r\n")):
            self._end.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if not self._end.done():
            self._end.set_result(None)


class _Upstream(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._received = b""
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or (length and len(body) < int(length[1])):
            return
        self._received = b""
        asked = _ASKED.search(body)
        chunks, every_ms = (int(asked[1]), int(asked[2])) if asked else (1, 0)
        self._transport.write(_HEAD)
        self._send(chunks, every_ms / 1000)

    def _send(self, left: int, every_s: float) -> None:
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(_LAST), _LAST))
            return
        self._transport.write(b"%x\r\n%b\r\n" % (len(_CHUNK), _CHUNK))
        if every_s:
            self._loop.call_later(every_s, self._send, left - 1, every_s)
        else:
            self._loop.call_soon(self._send, left - 1, every_s)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(int(sys.argv[1])))
