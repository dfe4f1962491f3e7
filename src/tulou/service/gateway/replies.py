"""Answers as ASGI messages: headers of ours before what a replica said, and refusals in OpenAI's shape."""

from __future__ import annotations

import time
from contextlib import aclosing

import msgspec

from tulou.service.gateway import answers, refusals
from tulou.service.gateway.dispatch import Events
from tulou.service.gateway.entry import CLIENT_GONE
from tulou.service.gateway.exchange import Exchange
from tulou.service.gateway.upstream import Whole

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"


async def send_whole(exchange: Exchange, answer: Whole) -> None:
    if answer.retry_after is not None:
        exchange.headers.append((b"retry-after", answer.retry_after))
    await _start(exchange, answer.status, answer.content_type, (b"content-length", b"%d" % len(answer.body)))
    await exchange.send({"type": "http.response.body", "body": answer.body})


async def send_stream(exchange: Exchange, events: Events, hides_usage: bool) -> None:
    """Relay events as they come. The usage at their end is for the accounts; `hides_usage` keeps it from the client."""
    send, entry = exchange.send, exchange.entry
    assert entry is not None  # who streams has asked a model
    async with aclosing(events):  # which closes nothing that has not begun, so the first comes before any waiting
        async for piece in events:
            if not exchange.has_begun:
                await _start(exchange, 200, EVENT_STREAM, (b"cache-control", b"no-cache"))
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
    exchange.headers += [(name.encode(), value.encode()) for name, value in err.headers.items()]
    if err.status in (408, 413):
        exchange.headers.append((b"connection", b"close"))  # the rest of the body is not worth reading
    await _start(exchange, err.status, JSON, (b"content-length", b"%d" % len(body)))
    await exchange.send({"type": "http.response.body", "body": body})


async def _start(exchange: Exchange, status: int, content_type: bytes, header: tuple[bytes, bytes]) -> None:
    exchange.has_begun = True
    took_ms = round((time.monotonic() - exchange.started) * 1000)
    headers = [
        (b"content-type", content_type),
        header,
        (b"x-request-id", exchange.request_id.encode()),
        (b"openai-processing-ms", b"%d" % took_ms),
        *exchange.headers,
    ]
    await exchange.send({"type": "http.response.start", "status": status, "headers": headers})
