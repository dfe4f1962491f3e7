"""uvicorn's HTTP/1.1 protocol with a shorter way to and from the application.

Reading (pipelining, 100-continue, chunks, back-pressure, shutdown) is uvicorn's. Ours are the answer, which leaves in
one write instead of two, a system call less; its headers, checked together instead of one by one; and time, kept by one
round a second over all connections instead of a timer for each request. That round also closes connections whose
request does not arrive, for which uvicorn waits as long as it takes.
"""

from __future__ import annotations

import asyncio
import re
import time
import urllib.parse
from collections.abc import Iterable
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

KEEP_ALIVE_S = 75.0
HEAD_S = 20.0  # for the head of a request to arrive, once begun; nginx gives 60
_FORBIDDEN = re.compile(b"[\x00-\x08\x0a-\x1f\x7f]")


class Cycle:
    """One request and its answer, as ASGI's `receive` and `send`."""

    def __init__(self, protocol: GatewayProtocol, scope: dict[str, Any], keep_alive: bool, continues: bool) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._flow: FlowControl = protocol.flow
        self._held = b""  # the head of the answer, until its first body
        self._is_chunked = False
        self._left = 0  # bytes of the body that were announced and not sent yet
        self._owes_continue = continues
        self.scope = scope
        # What uvicorn's protocol reads and sets.
        self.keep_alive = keep_alive
        self.message_event = asyncio.Event()
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False

    async def run_asgi(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
            problem = (
                None if self.response_complete or self.disconnected else "the application did not finish its answer"
            )
        except BaseException as err:
            problem = "the application failed"
            self._protocol.logger.error(problem, exc_info=err)
        if problem is not None and not self.disconnected:
            if self._flow.write_paused:
                self._transport.abort()  # nobody takes what was written, so nothing more would leave
            elif self.response_started and not self._held:
                self._transport.close()
            else:
                self._held, self.response_started = b"", False
                await self._send_500()

    async def receive(self) -> dict[str, Any]:
        if self._owes_continue and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._owes_continue = False
        if not self.disconnected and not self.response_complete:
            self._flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: dict[str, Any]) -> None:
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._start(message["status"], message.get("headers", ()))
        elif not self.response_complete:
            self._write(message.get("body", b""), message.get("more_body", False))

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.response_started = True
        self._owes_continue = False
        is_bodiless = self.scope["method"] == "HEAD" or status in (204, 304)
        has_length = closes = False
        lines: list[bytes] = [STATUS_LINE[status]]
        said: list[bytes] = []
        for name, value in (*self._protocol.server_state.default_headers, *headers):
            low = name.lower()
            if low == b"content-length":
                self._left, has_length = int(value), True
            elif low == b"transfer-encoding":
                continue  # how the body travels is decided here
            elif low == b"connection" and value.lower() == b"close":
                closes = True
            said += (name, value)
            lines += (name, b": ", value, b"\r\n")
        if _FORBIDDEN.search(b"".join(said)):
            raise RuntimeError("a header of the answer holds a control character")
        if is_bodiless:
            self._left = 0
        elif not has_length:
            self._is_chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        self._held = b"".join(lines)

    def _write(self, body: bytes, is_more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        if self._is_chunked:
            sent = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not is_more:
                sent += b"0\r\n\r\n"
        else:
            sent = body
            self._left -= len(body)
            if self._left < 0 or (self._left and not is_more):
                raise RuntimeError("the body of the answer is not as long as its content-length says")
        held, self._held = self._held, b""
        self._transport.write(held + sent if held else sent)
        if not is_more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self._transport.close()
            self._protocol.on_response_complete()

    async def _send_500(self) -> None:
        text = b"Internal Server Error"
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text)), (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": text})


class GatewayProtocol(HttpToolsProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waits_until: float | None = time.monotonic() + HEAD_S

    def close_if_late(self, now: float) -> None:
        """Close it where the next request, or the rest of its head, has not come in time."""
        if self.waits_until is not None and now > self.waits_until and self.transport is not None:
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.waits_until = time.monotonic() + HEAD_S

    def on_headers_complete(self) -> None:
        self.waits_until = None
        scope: Any = self.scope
        version = self.parser.get_http_version()
        scope["method"] = self.parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        path, query = self._target()
        scope["raw_path"], scope["query_string"] = path, query
        shown = path.decode("ascii")
        scope["path"] = urllib.parse.unquote(shown) if "%" in shown else shown
        previous = self.cycle
        cycle: Any = Cycle(self, scope, version != "1.0" and self.parser.should_keep_alive(), self.expect_100_continue)
        self.cycle = cycle
        if previous is None or previous.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:  # pipelined: it waits for its turn
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self.waits_until = time.monotonic() + KEEP_ALIVE_S

    def _target(self) -> tuple[bytes, bytes]:
        if self.url.startswith(b"/"):
            path, _, query = self.url.partition(b"?")
            return path, query
        parsed = httptools.parse_url(self.url)  # the absolute form, which proxies use
        return parsed.path or b"/", parsed.query or b""
