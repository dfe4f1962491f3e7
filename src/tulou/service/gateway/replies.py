"""Answers as ASGI messages: headers of ours before what a replica said, and refusals in OpenAI's shape."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from contextlib import aclosing

import msgspec

from tulou.service.gateway import answers, refusals
from tulou.service.gateway.dispatch import Events
from tulou.service.gateway.entry import CLIENT_GONE
from tulou.service.gateway.exchange import Exchange
from tulou.service.gateway.head import lines_of, pairs
from tulou.service.gateway.protocol import WHOLE
from tulou.service.gateway.upstream import Whole

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"


def send_whole(exchange: Exchange, answer: Whole) -> Awaitable[None]:
    if answer.retry_after is not None:
        exchange.lines += b"retry-after: %b\r\n" % answer.retry_after
    length = b"content-length: %d\r\n" % len(answer.body)
    lines = _begin(exchange, answer.content_type, length)
    if WHOLE not in exchange.scope.get("extensions", ()):
        return _send_in_two(exchange, answer.status, lines, answer.body)
    return exchange.send({"type": WHOLE, "status": answer.status, "lines": lines, "body": answer.body})


async def _send_in_two(exchange: Exchange, status: int, lines: bytes, body: bytes) -> None:
    await exchange.send({"type": "http.response.start", "status": status, "headers": pairs(lines)})
    await exchange.send({"type": "http.response.body", "body": body})


async def send_stream(exchange: Exchange, events: Events, hides_usage: bool) -> None:
    """Relay events as they come. The usage at their end is for the accounts; `hides_usage` keeps it from the client."""
    send, entry = exchange.send, exchange.entry
    assert entry is not None  # who streams has asked a model
    async with aclosing(events):  # which closes nothing that has not begun, so the first comes before any waiting
        async for piece in events:
            if not exchange.has_begun:
                headers = pairs(_begin(exchange, EVENT_STREAM, b"cache-control: no-cache\r\n"))
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            entry.saw_first_token()
            entry.events += piece.count(b"data:")
            usage, shown = answers.read_usage(piece, hides_usage)
            if usage is not None:
                entry.prompt_tokens, entry.completion_tokens = usage.prompt_tokens, usage.completion_tokens
            if answers.tells_error(piece):
                entry.status = 500
            if shown:
                await send({"type": "http.response.body", "body": shown, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def send_refusal(exchange: Exchange, err: refusals.ApiError) -> None:
    """An error as the answer or, where that has begun, as the last event of the stream."""
    if err.status == CLIENT_GONE:
        return
    body = msgspec.json.encode(err.body)
    if exchange.has_begun:
        await exchange.send({"type": "http.response.body", "body": b"data: " + body + b"\n\n"})
        return
    exchange.lines += lines_of((name.encode(), value.encode()) for name, value in err.headers.items())
    if err.status in (408, 413):
        exchange.lines += b"connection: close\r\n"  # the rest of the body is not worth reading
    await _send_in_two(exchange, err.status, _begin(exchange, JSON, b"content-length: %d\r\n" % len(body)), body)


def _begin(exchange: Exchange, content_type: bytes, line: bytes) -> bytes:
    """The lines of the answer's head; what stages have added comes last."""
    exchange.has_begun = True
    took_ms = (time.monotonic() - exchange.started) * 1000
    return b"content-type: %b\r\n%bx-request-id: %b\r\nopenai-processing-ms: %.0f\r\n%b" % (
        content_type, line, exchange.request_id.encode(), took_ms, exchange.lines,
    )  # fmt: skip
