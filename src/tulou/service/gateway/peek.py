"""The few fields of a request that the gateway needs, decoded without the rest; the body travels on as it came.

Where the gateway must add a field, it writes it before the others, so that a long prompt is never decoded for it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from tulou.service.gateway import refusals


class StreamOptions(Struct):
    include_usage: bool | None = None


class Metadata(Struct):
    conversation: str | None = None


class Peeked(Struct):
    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    user: str | None = None
    metadata: Metadata | None = None

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def conversation(self) -> str | None:
        return self.metadata.conversation if self.metadata else None


_peeked = msgspec.json.Decoder(Peeked)
_object = msgspec.json.Decoder(dict[str, Any])

USAGE = b'{"stream_options":{"include_usage":true},'


def peek(body: bytes) -> Peeked:
    """Raises `ApiError` where the body is no JSON object, or one of these fields is wrong."""
    try:
        return _peeked.decode(body)
    except msgspec.DecodeError as err:
        raise refusals.explain(err, body) from None
    except (UnicodeDecodeError, RecursionError):  # nested deeper than anything meant
        raise refusals.body_not_json() from None


def asking_for_usage(body: bytes, peeked: Peeked) -> bytes:
    """The body of a stream, with usage asked for at its end."""
    if peeked.stream_options is None and b'"stream_options"' not in body:
        return USAGE + body[body.index(b"{") + 1 :]
    return msgspec.json.encode(_whole(body) | {"stream_options": {"include_usage": True}})


def going_on_behind(body: bytes, words: str) -> bytes:
    """The body, asking for what follows `words`."""
    asked = _whole(body)
    return msgspec.json.encode(asked | {"begun": (asked.get("begun") or "") + words})


def asking_for_model(body: bytes, model: str) -> bytes:
    """The body, asking for a model by another name."""
    return msgspec.json.encode(_whole(body) | {"model": model})


def _whole(body: bytes) -> dict[str, Any]:
    try:
        return _object.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # in fields that were skipped before
        raise refusals.body_not_json() from None
