"""All connections to replicas: those in use, and those kept for the next request, by address.

No timer is set for a request: one task looks at the connections in use ten times a second and ends those that are late,
so a deadline may be missed by a tenth of a second and costs nothing. The last connection given back is the first to be
used, so a pool that was once large shrinks.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from tulou.service.gateway.upstream.connection import Connection, OutOfTime, ReplicaLost, Stale, Whole
from tulou.service.pool import Endpoint

TICK_S = 0.1
KEPT_S = 30.0  # below the 75 s after which our replicas close a connection that nobody uses


@dataclass(frozen=True)
class Patience:
    """How long a replica may take before another one is asked."""

    connect_s: float = 2.0
    first_byte_s: float = 30.0  # to begin a stream; to finish an answer that is no stream
    idle_s: float = 30.0  # between two events of a stream
    rest_s: float = 5.0  # for a whole answer to be complete, once it has begun to come


class Upstream(Protocol):
    """How a replica is spoken to."""

    async def ask(
        self, endpoint: Endpoint, path: str, body: bytes, request_id: str, is_streamed: bool, ends_at: float
    ) -> Whole | Connection:
        """A whole answer, or the connection on which a stream has begun; then `end` must be called.

        Raises `ReplicaLost`, or `OutOfTime` at `ends_at` (by `time.monotonic`).
        """
        ...

    def end(self, stream: Connection) -> None:
        """Be done with a stream. Where it has not ended, the replica stops working on it."""
        ...


class Connections:
    def __init__(self, patience: Patience = Patience()) -> None:
        self._patience = patience
        self._kept: dict[str, list[Connection]] = {}  # by URL, the longest unused first
        self._busy: dict[Connection, str] = {}  # with its URL
        self._heads: dict[tuple[Endpoint, str], bytes] = {}
        self._ticker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        for connection in [*self._busy, *(each for kept in self._kept.values() for each in kept)]:
            connection.fail(ReplicaLost("the gateway stops"))
        self._kept.clear()

    async def ask(
        self, endpoint: Endpoint, path: str, body: bytes, request_id: str, is_streamed: bool, ends_at: float
    ) -> Whole | Connection:
        url = endpoint.url
        head = self._heads.get((endpoint, path)) or self._head(endpoint, path)
        request = b"%b%b\r\ncontent-length: %d\r\n\r\n%b" % (head, request_id.encode(), len(body), body)
        while True:
            kept = self._kept_one(url)
            connection = kept or await self._connect(url)
            self._busy[connection] = url
            is_going_on = False
            try:
                connection.send(request, is_streamed, ends_at)
                if is_streamed:
                    while not connection.has_news:
                        await connection.news()
                    is_going_on = connection.status < 400  # refused, it is no stream but a sentence
                    if is_going_on:
                        return connection
                while not connection.is_complete:
                    await connection.news()
                return connection.whole()
            except Stale:
                if kept is None:
                    raise
                # A kept one says nothing about the replica: ask again on another.
            finally:
                if not is_going_on:
                    self.end(connection)

    def end(self, stream: Connection) -> None:
        url = self._busy.pop(stream, None)
        if url is not None and stream.release():
            if url in self._kept:
                self._kept[url].append(stream)
            else:
                self._kept[url] = [stream]
        else:
            stream.close()

    def _kept_one(self, url: str) -> Connection | None:
        kept = self._kept.get(url)
        while kept:
            if (connection := kept.pop()).is_open:
                return connection
        return None

    async def _connect(self, url: str) -> Connection:
        loop = asyncio.get_running_loop()
        parts = urlsplit(url)
        secure = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if secure else 80)
        try:
            async with asyncio.timeout(self._patience.connect_s):
                made = await loop.create_connection(lambda: Connection(loop), parts.hostname or "", port, ssl=secure)
        except OSError as err:  # refused, unreachable, unknown name, bad certificate; TimeoutError is one, too
            raise ReplicaLost(f"{url} does not accept connections: {err or 'it took too long'}") from err
        return made[1]

    def _head(self, endpoint: Endpoint, path: str) -> bytes:
        """What every request to `path` of this server begins with, up to the value of `x-request-id`."""
        parts = urlsplit(endpoint.url)
        authorization = f"authorization: {endpoint.authorization}\r\n" if endpoint.authorization else ""
        head = (
            f"POST {parts.path.rstrip('/')}{path} HTTP/1.1\r\nhost: {parts.netloc}\r\n"
            f"content-type: application/json\r\n{authorization}x-request-id: "
        ).encode()
        if len(self._heads) > 10_000:  # replicas that were started again have other addresses
            self._heads.clear()
        self._heads[endpoint, path] = head
        return head

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            for connection in list(self._busy):
                self._end_if_late(connection, now)
            for url, kept in list(self._kept.items()):
                while kept and (not kept[0].is_open or now - kept[0].heard_at > KEPT_S):
                    kept.pop(0).close()
                if not kept:
                    del self._kept[url]

    def _end_if_late(self, connection: Connection, now: float) -> None:
        waited_s = now - connection.heard_at
        if now > connection.ends_at:
            connection.fail(OutOfTime())
        elif not connection.is_awaited:
            return  # the client is slow, not the replica
        elif connection.drips(now, self._patience.rest_s):
            connection.fail(ReplicaLost("the replica's answer came drop by drop"))
        elif connection.has_begun and waited_s > self._patience.idle_s:
            connection.fail(ReplicaLost(f"the replica fell silent for {waited_s:.0f} s in the middle of its answer"))
        elif not connection.has_begun and waited_s > self._patience.first_byte_s:
            connection.fail(ReplicaLost(f"the replica gave no answer within {waited_s:.0f} s"))
