"""The way of a model request through the gateway: `STAGES`, in order, over one `Exchange`.

A stage looks at the exchange, adds what it found, or raises the `ApiError` that ends the walk. Most are plain
functions; those that must wait (for a key not seen lately, the body, the replica, the client) return an awaitable. The
body is relayed as it came and the answer as it comes; `settle` follows however the walk ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from tulou.service.gateway import refusals
from tulou.service.gateway.dispatch import Ask
from tulou.service.gateway.entry import CLIENT_GONE
from tulou.service.gateway.exchange import Exchange
from tulou.service.gateway.limits import estimate
from tulou.service.gateway.peek import asking_for_usage
from tulou.service.gateway.peek import peek as peek_into
from tulou.service.gateway.replies import send_refusal, send_stream, send_whole
from tulou.service.gateway.upstream import Whole

Stage = Callable[[Exchange], Awaitable[None] | None]

logger = logging.getLogger(__name__)


async def authenticate(exchange: Exchange) -> None:
    """Whose key it is, and whether it may ask models at all. Waits for the database once in a while for each key."""
    key = await exchange.services.keys.valid(secret_in(exchange.header(b"authorization")))
    if not key.may_ask:
        raise refusals.role_forbids(key.role)
    exchange.key = key


def admit(exchange: Exchange) -> Awaitable[None] | None:  # noqa: ARG001
    """Whether the gateway's load allows one more request."""
    return None


async def read_body(exchange: Exchange) -> None:
    """Waits for the client. Nearly always the body has come with the headers."""
    limit = exchange.services.settings.max_body_bytes
    announced = exchange.header(b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise refusals.body_too_large(limit)
    message = await exchange.receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        received = bytearray(body)
        while message.get("more_body") and len(received) <= limit:
            message = await exchange.receive()
            received += message.get("body", b"")
        body = bytes(received)
    if message["type"] == "http.disconnect":
        raise refusals.client_gone()
    if len(body) > limit:
        raise refusals.body_too_large(limit)
    exchange.body = body


def peek(exchange: Exchange) -> None:
    """The few fields that the gateway needs; all others are for the replica to read and to judge."""
    exchange.peeked = peek_into(exchange.body or b"")


def find_model(exchange: Exchange) -> None:
    """The model asked for, where the key may use it."""
    name, operation, switchboard = exchange.peeked.model, exchange.operation, exchange.services.switchboard
    manifest = switchboard.models.get(name)
    if manifest is None:
        raise refusals.model_unknown(name)
    if manifest.task != operation.task:
        raise refusals.model_unfit(name, manifest.task, operation.path)
    if not exchange.key.may_use(name):
        raise refusals.model_forbidden(name, exchange.key.id)
    exchange.manifest, exchange.model = manifest, name


async def reserve(exchange: Exchange) -> None:
    """What it may cost, within the budgets of its key. Waits for counters that are shared; those here know at once."""
    peeked, body = exchange.peeked, exchange.body or b""
    max_tokens = peeked.max_completion_tokens or peeked.max_tokens
    exchange.reserved, headers = await exchange.services.limiter.reserve(
        exchange.key, exchange.model, len(body), max_tokens, peeked.n or 1
    )
    exchange.headers += headers


def open_account(exchange: Exchange) -> None:
    """From here on the request is in the accounts."""
    manifest = exchange.manifest
    exchange.entry = exchange.services.switchboard.accountant.open(
        exchange.operation.path,
        exchange.request_id,
        exchange.key.id,
        exchange.model,
        manifest.version or manifest.fingerprint,
    )


def choose_variant(exchange: Exchange) -> None:
    """Which variant of the model answers, where one is being rolled out."""


def look_in_cache(exchange: Exchange) -> Awaitable[None] | None:  # noqa: ARG001
    """Whether the answer is known; then `forward` has nothing to do."""
    return None


async def forward(exchange: Exchange) -> None:
    """Waits for a replica: for its whole answer, or for a stream to begin."""
    if exchange.answer is None:
        services = exchange.services
        ends_at = exchange.started + services.settings.timeout_s
        exchange.answer = await services.switchboard.dispatch.ask(_ask(exchange, ends_at))


def _ask(exchange: Exchange, ends_at: float) -> Ask:
    peeked, body = exchange.peeked, exchange.body or b""
    is_streamed = bool(peeked.stream)
    if is_streamed and not peeked.wants_usage:  # the accounts want it
        body = asking_for_usage(body, peeked)
    conversation = peeked.conversation or (exchange.header(b"x-conversation-id") or b"").decode("latin-1") or None
    assert exchange.entry is not None
    return Ask(exchange.model, exchange.operation.path, body, is_streamed, exchange.entry, ends_at, conversation)


async def relay(exchange: Exchange) -> None:
    """Waits for the client to take the answer."""
    answer, entry = exchange.answer, exchange.entry
    if isinstance(answer, Whole):
        if entry is not None:
            entry.status = answer.status
        await send_whole(exchange, answer)
    elif answer is not None:
        await send_stream(exchange, answer, hides_usage=not exchange.peeked.wants_usage)


def settle(exchange: Exchange, status: int) -> None:
    """Write it into the accounts; tell the limits what it really took."""
    accountant, entry, reserved = exchange.services.switchboard.accountant, exchange.entry, exchange.reserved
    if entry is None:
        accountant.refused(exchange.operation.path, status)
        return
    if entry.events and not entry.prompt_tokens:  # a stream broken off before it told
        entry.prompt_tokens, _ = estimate(len(exchange.body or b""), None)
    accountant.close(entry)
    if reserved is not None:
        exchange.services.limiter.settle(reserved, entry.prompt_tokens, entry.completion_tokens, entry.money)


STAGES: Sequence[Stage] = (
    authenticate,
    admit,
    read_body,
    peek,
    find_model,
    reserve,
    open_account,
    choose_variant,
    look_in_cache,
    forward,
    relay,
)


async def walk(exchange: Exchange) -> None:
    """Take the stages in order, and turn whatever goes wrong into the answer a client of OpenAI's would get."""
    patrol = exchange.services.patrol
    patrol.take(exchange)
    status = 200
    try:
        for stage in STAGES:
            waiting = stage(exchange)
            if waiting is not None:
                await waiting
    except refusals.ApiError as err:
        status = await _refuse(exchange, err)
    except asyncio.CancelledError:
        if exchange.ended_by is None or exchange.task is None:
            status = _note(exchange, CLIENT_GONE)  # the gateway stops
            raise
        exchange.task.uncancel()
        status = await _refuse(exchange, exchange.ended_by)
    except Exception:
        logger.exception("request %s to %s failed", exchange.request_id, exchange.operation.path)
        status = await _refuse(exchange, refusals.internal_error(exchange.request_id))
    finally:
        patrol.leave(exchange)
        settle(exchange, status)


async def _refuse(exchange: Exchange, err: refusals.ApiError) -> int:
    status = _note(exchange, err.status)
    await send_refusal(exchange, err)
    return status


def _note(exchange: Exchange, status: int) -> int:
    if exchange.entry is not None:
        exchange.entry.status = status
    return status


def secret_in(authorization: bytes | None) -> str:
    """The key in an `Authorization` header. Raises `ApiError` without one."""
    scheme, _, secret = (authorization or b"").partition(b" ")
    secret = secret.strip()
    if scheme.lower() != b"bearer" or not secret:
        raise refusals.key_missing()
    return secret.decode("latin-1")
