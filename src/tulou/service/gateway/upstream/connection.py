"""One kept-alive connection to a replica: a request leaves in one write, the answer is taken as it comes.

One request at a time: HTTP/1.1 answers in order, so a second one would wait behind a generation. A whole answer wakes
its asker once, when it is complete; a stream whenever something has come. Closing the connection is how a replica is
told to stop working.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import cast

import httptools
from msgspec import Struct

from tulou.core.errors import ServiceError

MAX_WHOLE_BYTES = 128 << 20  # 2048 vectors of 1024 dimensions as decimal text are 42 MB
MAX_EVENT_BYTES = 4 << 20  # an event that does not end is none
PAUSE_ABOVE_BYTES = 256 << 10  # waiting for a slow client; beyond, the replica has to wait, too

SLOWEST_BYTES_S = 1 << 20  # of a line to a server of others; 8 Mbit/s
FINISH_S = 1.0


class ReplicaLost(ServiceError):  # noqa: N818 -- what happened, not what went wrong with us
    """The replica could not be reached, was too slow, or vanished before its answer was complete."""


class Stale(ReplicaLost):
    """A kept connection was closed from the other side before it gave any answer, as servers do after a while."""


class OutOfTime(ServiceError):  # noqa: N818 -- what happened
    """The time for the whole request is over."""


class Whole(Struct, gc=False):
    """A complete answer."""

    status: int
    content_type: bytes
    body: bytes
    retry_after: bytes | None = None


class Connection(asyncio.Protocol):
    __slots__ = (
        "_failure",
        "_headers",
        "_is_paused",
        "_is_reused",
        "_loop",
        "_parser",
        "_pieces",
        "_rest",
        "_size",
        "_transport",
        "_waiter",
        "begun_at",
        "ends_at",
        "has_begun",
        "heard_at",
        "is_busy",
        "is_complete",
        "is_streamed",
        "may_be_kept",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_reused = False
        self.is_busy = False
        self.may_be_kept = True
        self._reset(False, 0.0)

    def _reset(self, is_streamed: bool, ends_at: float) -> None:
        self.is_streamed = is_streamed
        self.ends_at = ends_at
        self.heard_at = time.monotonic()
        self.status = 0
        self.is_complete = False
        self.begun_at = 0.0  # of a whole answer: when its first bytes came
        self.has_begun = False  # of a stream: whole events have come
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self._size = 0
        self._rest = b""
        self._is_paused = False
        self._failure: ServiceError | None = None

    # What the pool does.

    @property
    def is_awaited(self) -> bool:
        """Whether someone waits for more of the answer, rather than the answer for them."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def drips(self, now: float, rest_s: float) -> bool:
        """Whether a whole answer that has begun to come takes longer than its size can explain."""
        return self.begun_at > 0 and now - self.begun_at > rest_s + self._size / SLOWEST_BYTES_S

    def send(self, request: bytes, is_streamed: bool, ends_at: float) -> None:
        """Ask. `ends_at` is when the whole answer must be there, by `time.monotonic`."""
        self._reset(is_streamed, ends_at)
        self.is_busy = True
        if self._transport is None:
            self._failure = Stale("closed")
        else:
            self._transport.write(request)

    def release(self) -> bool:
        """Make ready for the next request; False where this connection cannot carry one."""
        self.is_busy = False
        self._is_reused = True
        self._pieces = []
        return self.may_be_kept and self.is_complete and self.is_open

    def fail(self, failure: ServiceError) -> None:
        """End the request under way with `failure`, and the connection with it."""
        if self._failure is None and not self.is_complete:
            self._failure = failure
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(failure)
        self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # What the asker does.

    def whole(self) -> Whole:
        """All of it, once it is complete."""
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        told = self._headers.get
        return Whole(self.status, told(b"content-type") or b"application/json", body, told(b"retry-after"))

    @property
    def has_news(self) -> bool:
        """Whether some of the answer's body is here, or its end."""
        return bool(self._pieces) or self.is_complete

    async def events(self) -> bytes | None:
        """Whole events, as many as have come since the last time; None when the answer has ended properly.

        Half an event is kept back: should the replica be lost now, what the client has is still whole.
        """
        self.heard_at = time.monotonic()
        while True:
            if self._pieces:
                if events := self._cut(self._take()):
                    self.has_begun = True
                    return events
            elif self.is_complete:
                rest, self._rest = self._rest.strip(), b""
                return rest + b"\n\n" if rest else None
            else:
                await self.news()

    async def finish(self) -> None:
        """Wait a moment for the formal end of an answer that has told all, so that the connection may be kept."""
        self.ends_at = min(self.ends_at, time.monotonic() + FINISH_S)
        with contextlib.suppress(ReplicaLost, OutOfTime):
            while not self.is_complete:
                await self.news()

    def _take(self) -> bytes:
        pieces, self._pieces, self._size = self._pieces, [], 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 and not self._rest else self._rest + b"".join(pieces)

    def _cut(self, data: bytes) -> bytes:
        if data.endswith(b"\n\n"):
            self._rest = b""
            return data
        line, crlf = data.rfind(b"\n\n"), data.rfind(b"\r\n\r\n")
        end = max(line + 2 if line >= 0 else 0, crlf + 4 if crlf >= 0 else 0)
        self._rest = data[end:]
        if len(self._rest) > MAX_EVENT_BYTES:
            self.fail(ReplicaLost("the replica sent an event without an end"))
        return data[:end]

    def news(self) -> asyncio.Future[None]:
        """To await: more of the answer, or its failure. Raises `ReplicaLost` or `OutOfTime`."""
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the event loop does.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self.is_busy or self.is_complete:
            self.close()  # nobody asked for this
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.fail(ReplicaLost("the replica answered something that is not HTTP"))
            return
        if self.is_complete or (self.is_streamed and self._pieces):
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.is_busy and not self.is_complete:
            self._end_with_connection(exc)
        del self._parser  # it knows this connection, too: as a circle, both would wait for the garbage collector

    def _end_with_connection(self, exc: Exception | None) -> None:
        if self.status and not self._is_delimited():
            self.is_complete = True  # the end of the connection is the end of the answer
            self._wake()
        elif self._is_reused and not self.status:
            self.fail(Stale("the replica had closed a kept connection"))
        else:
            self.fail(ReplicaLost(f"the replica was lost: {exc or 'it closed the connection'}"))

    def _is_delimited(self) -> bool:
        return b"content-length" in self._headers or b"transfer-encoding" in self._headers

    # What the parser does.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._size += len(body)
        if self.is_streamed:
            if self._size > PAUSE_ABOVE_BYTES and not self._is_paused and self._transport is not None:
                self._is_paused = True
                self._transport.pause_reading()
        elif not self.begun_at:
            self.begun_at = time.monotonic()
        elif self._size > MAX_WHOLE_BYTES:
            self.fail(ReplicaLost(f"the replica's answer is larger than {MAX_WHOLE_BYTES} bytes"))

    def on_message_complete(self) -> None:
        if self.status < 200:  # "100 Continue" and its like come before the answer
            self.status = 0
            self._headers = {}
            return
        self.may_be_kept = self._parser.should_keep_alive()
        self.is_complete = True
