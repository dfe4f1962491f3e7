"""A replica on the level of bytes: answers each request with what a script says, and notes what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

Script = Callable[["RawReplica", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawReplica:
    """Each connection is answered by `script` again and again until it returns with the writer closed."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.lost = 0  # connections that the other side closed
        self.tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def read(self, reader: asyncio.StreamReader) -> None:
        """The next request, noted. Raises `IncompleteReadError` when the other side has closed."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(length))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while not writer.is_closing():
                await self._script(self, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.lost += 1
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            self.tasks.discard(task)


@contextlib.asynccontextmanager
async def raw_replica(script: Script) -> AsyncIterator[RawReplica]:
    replica = RawReplica(script)
    server = await asyncio.start_server(replica.serve, "127.0.0.1", 0)
    replica.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield replica
    finally:
        server.close()
        await asyncio.sleep(0)
        for task in list(replica.tasks):
            task.cancel()
        await asyncio.gather(*replica.tasks, return_exceptions=True)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
