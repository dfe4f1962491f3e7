"""How the applications speak HTTP: JSON in, JSON or server-sent events out, and errors in one shape.

Every error is `{"error": {"message", "code"}}` with a sentence for a person. A stream that fails half-way says so in an
event of its own, because its status code is long gone.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, is_dataclass
from functools import wraps
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tulou.core.errors import TulouError

Endpoint = Callable[[Request], Awaitable[Response]]

# Pages load their own files and talk to their own server; nothing else, and nobody frames them.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# A model card is one page with its style inside; it loads nothing and runs nothing.
CARD_HEADERS = {
    **SECURITY_HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # JSON can spell NUL and half a character, databases cannot hold them
_FAILED = "something went wrong here; the log of the service says what"

log = logging.getLogger(__name__)


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A request that gets an error answer."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})


def answers_errors(endpoint: Endpoint) -> Endpoint:
    """Wrap an endpoint so that what it refuses, and what the house cannot do, becomes an error answer."""

    @wraps(endpoint)
    async def answering(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Refused as refusal:
            return error(refusal.status, refusal.code, str(refusal), refusal.headers)
        except TulouError as err:
            log.warning("%s is not available: %s", request.url.path, err)
            return error(503, "unavailable", str(err))
        except Exception:
            log.exception("%s failed", request.url.path)
            return error(500, "failed", _FAILED)

    return answering


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "code": code}}, status, {**NO_STORE, **(headers or {})})


def reply(value: Any, status: int = 200) -> Response:
    """`value` as JSON; dataclasses, alone or in lists, become objects."""
    return JSONResponse(_plain(value), status, NO_STORE)


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises `Refused` for anything else, and for a request from another site."""
    origin = request.headers.get("origin")
    if origin and origin.partition("://")[2] != request.headers.get("host"):
        raise Refused(403, "foreign_origin", f"requests from {origin} are not accepted here")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "not_json", "send the request as JSON with Content-Type: application/json")
    try:
        value = json.loads(await request.body())
    except HTTPException as err:  # the gateway's limit, met while the body came in
        raise Refused(err.status_code, "too_large", "the request is larger than service.max_body_bytes allows") from err
    except (ValueError, RecursionError) as err:
        raise Refused(400, "bad_json", f"the body is not valid JSON: {err}") from err
    if not isinstance(value, dict):
        raise Refused(400, "bad_json", "the body must be a JSON object")
    return value


def text_of(body: Mapping[str, Any], key: str, max_chars: int, default: str | None = None) -> str:
    """A string of the body, stripped. Raises `Refused` where it is missing, empty, no string or too long."""
    value = body.get(key, default)
    if not isinstance(value, str):
        raise Refused(400, "bad_value", f"{key!r} must be a string")
    value = value.strip()
    if not value and default is None:
        raise Refused(400, "bad_value", f"{key!r} is empty")
    if len(value) > max_chars:
        raise Refused(400, "too_long", f"{key!r} has {len(value):,} characters; at most {max_chars:,} are accepted")
    if odd := _NO_TEXT.search(value):
        raise Refused(400, "bad_value", f"{key!r} holds {odd[0]!r}, which no text has")
    return value


def wants_stream(request: Request, body: Mapping[str, Any]) -> bool:
    return body.get("stream") is True or "text/event-stream" in request.headers.get("accept", "")


async def stream(events: AsyncGenerator[Any]) -> Response:
    """Dataclasses as server-sent events named after their class; a failure becomes an `error` event, the last one.

    The first event is awaited before the answer begins, so that what fails at once still gets its status code.
    """
    first = await anext(events)

    async def lines() -> AsyncIterator[bytes]:
        async with aclosing(events):
            yield sse(type(first).__name__.lower(), _plain(first))
            try:
                async for event in events:
                    yield sse(type(event).__name__.lower(), _plain(event))
            except TulouError as err:
                log.warning("an answer broke off: %s", err)
                yield sse("error", {"message": str(err), "code": "unavailable"})
            except Exception:
                log.exception("an answer broke off")
                yield sse("error", {"message": _FAILED, "code": "failed"})

    return StreamingResponse(lines(), 200, {**NO_STORE, "X-Accel-Buffering": "no"}, "text/event-stream")


def sse(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value
