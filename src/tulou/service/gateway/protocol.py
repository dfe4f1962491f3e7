"""uvicorn's HTTP/1.1 protocol with a shorter way to and from the application.

Reading (pipelining, 100-continue, chunks, back-pressure, shutdown) is uvicorn's. Ours are the answer, which leaves in
one write instead of two, a system call less; its headers, checked together instead of one by one; two ways round ASGI
for whole messages, `BODY` and `WHOLE`; and time, kept by one round a second over all connections instead of a timer for
each request. That round also closes connections whose request does not arrive, or whose client does not take its
answer, for which uvicorn waits as long as it takes.
"""

from __future__ import annotations

import asyncio
import sys
import time
import urllib.parse
from collections.abc import Iterable
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tulou.service.gateway.head import lines_of

KEEP_ALIVE_S = 75.0
HEAD_S = 20.0  # for the head of a request to arrive, once begun; nginx gives 60
TAKE_S = 20.0  # for a client to take more of an answer that is complete here
TAKE_BYTES = 20 << 10  # at least, in that time
BODY = "tulou.request.body"  # in the scope, once all of it is here: who finds it there need not ask `receive`
WHOLE = "tulou.response.whole"  # a message with `status`, `lines` of the head and all of the `body`
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_EXTENSIONS: dict[str, dict[str, Any]] = {WHOLE: {}}
_CONTROLS = bytes([*range(9), *range(10, 32), 127])  # all but the tab


class Cycle:
    """One request and its answer, as ASGI's `receive` and `send`."""

    __slots__ = (
        "_event", "_flow", "_has_news", "_held", "_is_chunked", "_left", "_owes_continue", "_protocol", "_transport",
        "body", "disconnected", "keep_alive", "more_body", "response_complete", "response_started",
        "scope", "task",
    )  # fmt: skip

    task: asyncio.Task[None]  # that runs the application

    def __init__(self, protocol: GatewayProtocol, scope: dict[str, Any], keep_alive: bool, continues: bool) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._flow: FlowControl = protocol.flow
        self._held = b""  # the head of the answer, until its first body
        self._is_chunked = False
        self._left = 0  # bytes of the body that were announced and not sent yet
        self._owes_continue = continues
        self._has_news = False  # something came that `receive` has not told
        self._event: asyncio.Event | None = None  # where someone waits for that
        self.scope = scope
        # What uvicorn's protocol reads and sets.
        self.keep_alive = keep_alive
        self.body = b""
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False

    @property
    def message_event(self) -> Cycle:  # uvicorn's protocol sets it; kept as an attribute, it would be a circle
        return self

    def set(self) -> None:
        """Tell whoever waits in `receive`."""
        self._has_news = True
        if self._event is not None:
            self._event.set()

    async def run_asgi(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
            if not self.response_complete:
                await self._give_up()
        except BaseException as err:
            self._protocol.logger.error("the application failed", exc_info=err)
            await self._give_up()
        finally:
            self._protocol.tasks.discard(self.task)

    async def _give_up(self) -> None:
        """End an answer that the application has not finished."""
        if not self.disconnected:
            if self._flow.write_paused:
                self._transport.abort()  # nobody takes what was written, so nothing more would leave
            elif self.response_started and not self._held:
                self._transport.close()
                self._protocol.waits_until = time.monotonic() + TAKE_S  # for what was written
            else:
                self._held, self.response_started = b"", False
                await self._send_500()

    async def receive(self) -> dict[str, Any]:
        if self._owes_continue and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._owes_continue = False
        self._flow.resume_reading()
        while not (self._has_news or self.disconnected or self.response_complete):
            self._event = self._event or asyncio.Event()
            self._event.clear()
            await self._event.wait()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body, self._has_news = self.body, b"", False
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: dict[str, Any]) -> None:
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        if message["type"] == WHOLE:
            self._answer(message["status"], message["lines"], message["body"])
        elif not self.response_started:
            self._start(message["status"], message.get("headers", ()))
        elif not self.response_complete:
            self._write(message.get("body", b""), message.get("more_body", False))

    def _answer(self, status: int, lines: bytes, body: bytes) -> None:
        """All in one. `lines` tell the length; they are ours or a parser's, which lets no control character through."""
        self.response_started, self._owes_continue = True, False
        if not self.keep_alive:
            lines += b"connection: close\r\n"
        self._transport.write(b"%b%b%b\r\n%b" % (STATUS_LINE[status], self._protocol.date_line(), lines, body))
        self._complete()

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.response_started = True
        self._owes_continue = False
        is_bodiless = self.scope["method"] == "HEAD" or status in (204, 304)
        headers = [*self._protocol.server_state.default_headers, *headers]
        told = dict(headers)  # by names in lower case, as ASGI wants them
        if b"transfer-encoding" in told:  # how the body travels is decided here
            headers = [header for header in headers if header[0] != b"transfer-encoding"]
        if told.get(b"connection", b"").lower() == b"close":
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append((b"connection", b"close"))
        length = told.get(b"content-length")
        if is_bodiless:
            self._left = 0
        elif length is not None:
            self._left = int(length)
        else:
            self._is_chunked = True
            headers.append((b"transfer-encoding", b"chunked"))
        lines = b"\r\n".join([b": ".join(header) for header in headers])
        if len(lines.translate(None, _CONTROLS)) != len(lines) - 2 * max(len(headers) - 1, 0):
            raise RuntimeError("a header of the answer holds a control character")
        self._held = b"%b%b\r\n\r\n" % (STATUS_LINE[status], lines)

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
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self.set()
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
        self._untaken = sys.maxsize  # bytes of an answer, when the client was last found late
        self._dated: list[tuple[bytes, bytes]] = []  # what uvicorn tells in every answer, made anew each second
        self._date_line = b""

    def date_line(self) -> bytes:
        told = self.server_state.default_headers
        if told is not self._dated:
            self._dated, self._date_line = told, lines_of(told)
        return self._date_line

    def close_if_late(self, now: float) -> None:
        """Close it where the next request, or the rest of its head, has not come, or the answer was not taken in time.

        Who takes an answer slowly gets more time as long as it goes on; what nobody takes is thrown away.
        """
        if self.waits_until is None or now <= self.waits_until or self.transport is None:
            return
        untaken = self.transport.get_write_buffer_size()
        if not untaken:
            self.transport.close()
        elif untaken <= self._untaken - TAKE_BYTES:
            self._untaken, self.waits_until = untaken, now + TAKE_S
        else:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self.waits_until = time.monotonic() + HEAD_S

    def on_body(self, body: bytes) -> None:
        cycle: Any = self.cycle
        if cycle.response_complete:
            return
        cycle.body = cycle.body + body if cycle.body else body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.set()

    def on_message_complete(self) -> None:
        cycle: Any = self.cycle
        cycle.more_body = False
        cycle.scope[BODY] = cycle.body
        cycle.set()

    def on_headers_complete(self) -> None:
        self.waits_until, self._untaken = None, sys.maxsize
        version = self.parser.get_http_version()
        path, query = self._target()
        shown = path.decode("ascii")
        scope: Any = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "method": self.parser.get_method().decode("ascii"),
            "path": urllib.parse.unquote(shown) if "%" in shown else shown,
            "raw_path": path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
            "extensions": _EXTENSIONS,
        }
        previous = self.cycle
        cycle: Any = Cycle(self, scope, version != "1.0" and self.parser.should_keep_alive(), self.expect_100_continue)
        self.cycle = cycle
        if previous is None or previous.response_complete:
            self._begin(cycle)
        else:  # pipelined: it waits for its turn
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self.waits_until = time.monotonic() + TAKE_S
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._begin(self.pipeline.pop()[0])
        else:
            self.waits_until = time.monotonic() + KEEP_ALIVE_S

    def _begin(self, cycle: Any) -> None:
        cycle.task = self.loop.create_task(cycle.run_asgi(self.app))
        self.tasks.add(cycle.task)

    def _target(self) -> tuple[bytes, bytes]:
        if self.url.startswith(b"/"):
            path, _, query = self.url.partition(b"?")
            return path, query
        parsed = httptools.parse_url(self.url)  # the absolute form, which proxies use
        return parsed.path or b"/", parsed.query or b""
