"""A line between two processes of ours: messages of JSON, one a line of text, over a socket pair.

`say` never waits. Either side may also `ask` and gets the other's answer. When the line ends, the other process has:
the kernel closes it even after kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from tulou.core.errors import ServiceError

MAX_MESSAGE_BYTES = 64 << 20

logger = logging.getLogger(__name__)


class LineEnded(ServiceError):  # noqa: N818 -- what happened
    """The process at the other end is gone."""


class _Message(Struct, omit_defaults=True):
    kind: str
    value: Raw = Raw(b"null")
    question: int | None = None  # to be answered under this number
    answers: int | None = None


Hear = Callable[[str, Raw], Awaitable[Any] | None]
"""Takes a message; what it returns is the answer where one is expected."""

_decoder = msgspec.json.Decoder(_Message)


class Line:
    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._questions: dict[int, asyncio.Future[Raw]] = {}
        self._numbers = itertools.count()
        self._answering: set[asyncio.Task[None]] = set()

    async def open(self, sock: socket.socket) -> None:
        self._reader, self._writer = await asyncio.open_connection(sock=sock, limit=MAX_MESSAGE_BYTES)

    async def follow(self) -> None:
        """Hear messages until the line ends."""
        if self._reader is None:
            raise LineEnded("the line is not open")
        try:
            while text := await self._reader.readline():
                self._take(_decoder.decode(text))
        except (ConnectionError, ValueError) as err:
            logger.warning("a line between processes broke: %s", err)
        finally:
            for question in self._questions.values():
                if not question.done():
                    question.set_exception(LineEnded("the process asked is gone"))
            self.close()

    def say(self, kind: str, value: Any = None) -> None:
        self._send(_Message(kind, Raw(msgspec.json.encode(value))))

    async def ask(self, kind: str, timeout_s: float, value: Any = None) -> Raw:
        """The other side's answer. Raises `LineEnded`, or `TimeoutError`."""
        number = next(self._numbers)
        answer = self._questions[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(_Message(kind, Raw(msgspec.json.encode(value)), question=number))
            return await asyncio.wait_for(answer, timeout_s)
        finally:
            del self._questions[number]

    def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer = None

    def _send(self, message: _Message) -> None:
        if self._writer is None:
            if message.question is not None:
                raise LineEnded("the line is not open")
            return
        self._writer.write(msgspec.json.encode(message) + b"\n")

    def _take(self, message: _Message) -> None:
        if message.answers is not None:
            question = self._questions.get(message.answers)
            if question is not None and not question.done():
                question.set_result(message.value)
            return
        coming = self._hear(message.kind, message.value)
        if coming is not None:
            task = asyncio.ensure_future(self._answer(message, coming))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, message: _Message, coming: Awaitable[Any]) -> None:
        value = await coming
        if message.question is not None:
            self._send(_Message("answer", Raw(msgspec.json.encode(value)), answers=message.question))
