"""The way of a model request through the gateway: `STAGES`, in order, over one `Exchange`.

A stage looks at the exchange, adds what it found, or raises the `ApiError` that ends the walk. Most are plain
functions; those that must wait (for a key not seen lately, the body, the replica, the client) return an awaitable. The
body is relayed as it came and the answer as it comes; `settle` follows however the walk ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from starlette.types import Message

from tulou.service.gateway import refusals
from tulou.service.gateway.dispatch import Ask
from tulou.service.gateway.entry import CLIENT_GONE
from tulou.service.gateway.exchange import Exchange
from tulou.service.gateway.keys import Key
from tulou.service.gateway.limits import Cost, estimate
from tulou.service.gateway.peek import asking_for_usage
from tulou.service.gateway.peek import peek as peek_into
from tulou.service.gateway.places import Leave
from tulou.service.gateway.policy.cache import is_replayable, key_of
from tulou.service.gateway.protocol import BODY
from tulou.service.gateway.replies import send_refusal, send_stream, send_whole
from tulou.service.gateway.upstream import Whole

Stage = Callable[[Exchange], Awaitable[None] | None]

logger = logging.getLogger(__name__)


def authenticate(exchange: Exchange) -> Awaitable[None] | None:
    """Whose key it is, and whether it may ask models at all. Waits for the database once in a while for each key."""
    secret = secret_in(exchange.asked.get(b"authorization"))
    key = exchange.services.keys.known(secret)
    if key is None:
        return _look_up(exchange, secret)
    _let_in(exchange, key)
    return None


async def _look_up(exchange: Exchange, secret: str) -> None:
    _let_in(exchange, await exchange.services.keys.valid(secret))


def _let_in(exchange: Exchange, key: Key) -> None:
    if not key.may_ask:
        raise refusals.role_forbids(key.role)
    exchange.key = key


def read_body(exchange: Exchange) -> Awaitable[None] | None:
    """Waits for the client. Nearly always the body has come with the headers."""
    body = exchange.scope.get(BODY)
    if body is None:
        return _receive(exchange, exchange.services.settings.max_body_bytes)
    if len(body) > exchange.services.settings.max_body_bytes:
        raise refusals.body_too_large(exchange.services.settings.max_body_bytes)
    exchange.body = body
    return None


async def _receive(exchange: Exchange, limit: int) -> None:
    announced = exchange.asked.get(b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise refusals.body_too_large(limit)
    received = bytearray()
    message: Message = {"type": "http.request", "more_body": True}
    while message.get("more_body") and len(received) <= limit:
        message = await exchange.receive()
        received += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise refusals.client_gone()
    if len(received) > limit:
        raise refusals.body_too_large(limit)
    exchange.body = bytes(received)


def peek(exchange: Exchange) -> None:
    """The few fields that the gateway needs; all others are for the replica to read and to judge."""
    exchange.peeked = peek_into(exchange.body or b"")


def find_model(exchange: Exchange) -> None:
    """The model asked for, where the key may use it."""
    name, operation, switchboard = exchange.peeked.model, exchange.operation, exchange.services.switchboard
    manifest = switchboard.models.get(name)
    if manifest is None:
        raise refusals.model_unknown(name)
    if manifest.task not in operation.tasks:
        raise refusals.model_unfit(name, manifest.task, operation.path)
    if not exchange.key.may_use(name):
        raise refusals.model_forbidden(name, exchange.key.id)
    exchange.manifest, exchange.model = manifest, name


def reserve(exchange: Exchange) -> Awaitable[None] | None:
    """What it may cost, within the budgets of its key. Waits for counters that are shared; those here know at once."""
    key, peeked, limiter = exchange.key, exchange.peeked, exchange.services.limiter
    if not key.budgets:
        return None
    max_tokens = peeked.max_completion_tokens or peeked.max_tokens
    cost = limiter.cost(exchange.model, len(exchange.body or b""), max_tokens, peeked.n or 1)
    exchange.reserved = limiter.reserve_now(key, cost)
    if exchange.reserved is None:
        return _ask_to_reserve(exchange, cost)
    exchange.lines += exchange.reserved.lines
    return None


async def _ask_to_reserve(exchange: Exchange, cost: Cost) -> None:
    exchange.reserved = await exchange.services.limiter.reserve(exchange.key, cost)
    exchange.lines += exchange.reserved.lines


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
    """Which versions of the model are to be asked, where one is being rolled out."""
    board = exchange.services.switchboard
    if board.variants.row(exchange.model):
        exchange.versions = board.versions(exchange.model, exchange.conversation, exchange.key.id)


def look_in_cache(exchange: Exchange) -> None:
    """Whether the answer is known; then nothing is left to do but to relay it."""
    cache, entry, body = exchange.services.switchboard.cache, exchange.entry, exchange.body or b""
    if cache is None or entry is None or not is_replayable(exchange.operation.task == "chat", body):
        return
    if b"no-" in exchange.asked.get(b"cache-control", b""):  # no-cache, no-store
        return
    if exchange.versions:
        entry.model_version = exchange.versions[0]
    key = key_of(exchange.key.id, exchange.operation.path, exchange.model, entry.model_version, body)
    found = cache.get(key)
    exchange.services.switchboard.metrics.cached.labels(exchange.model, "no" if found is None else "yes").inc()
    if found is None:
        exchange.cache_key = key, entry.model_version
        return
    exchange.answer = Whole(200, found.content_type.encode(), found.body)
    exchange.lines += b"x-cache: hit\r\n"
    entry.is_cached = True
    entry.prompt_tokens, entry.completion_tokens = found.prompt_tokens, found.completion_tokens


def take_place(exchange: Exchange) -> Awaitable[None] | None:
    """Whether the model can take one more request on. Waits in the queue where it cannot now."""
    if exchange.answer is not None:
        return None
    taken = exchange.services.switchboard.places.take(exchange.model, exchange.key.priority)
    if not callable(taken):
        return _queue(exchange, taken)
    exchange.leave = taken
    return None


async def _queue(exchange: Exchange, taken: Awaitable[Leave]) -> None:
    exchange.leave = await taken


async def forward(exchange: Exchange) -> None:
    """Waits for a replica: for its whole answer, or for a stream to begin."""
    if exchange.answer is None:
        services = exchange.services
        ask = _ask(exchange, exchange.started + services.settings.timeout_s)
        services.switchboard.send_copies(ask)
        exchange.answer = await services.switchboard.dispatch.ask(ask)


def keep_in_cache(exchange: Exchange) -> None:
    """Keep the answer, if it came from the version that was to be asked."""
    cache, answer, entry = exchange.services.switchboard.cache, exchange.answer, exchange.entry
    if cache is None or exchange.cache_key is None or entry is None or not isinstance(answer, Whole):
        return
    key, version = exchange.cache_key
    if answer.status == 200 and not entry.variant and entry.model_version == version:
        content_type = answer.content_type.decode("latin-1")
        cache.put(key, exchange.model, answer.body, content_type, entry.prompt_tokens, entry.completion_tokens)


def _ask(exchange: Exchange, ends_at: float) -> Ask:
    peeked, body = exchange.peeked, exchange.body or b""
    is_streamed = bool(peeked.stream) and exchange.operation.task == "chat"  # all others answer whole
    if is_streamed and not peeked.wants_usage:  # the accounts want it
        body = asking_for_usage(body, peeked)
    assert exchange.entry is not None
    return Ask(
        exchange.model, exchange.operation.path, body, is_streamed, exchange.entry, ends_at,
        exchange.conversation, exchange.versions, permitted=exchange.key.models,
    )  # fmt: skip


def relay(exchange: Exchange) -> Awaitable[None]:
    """Waits for the client to take the answer."""
    answer, entry = exchange.answer, exchange.entry
    assert answer is not None
    if not isinstance(answer, Whole):
        return send_stream(exchange, answer, hides_usage=not exchange.peeked.wants_usage)
    if entry is not None:
        entry.status = answer.status
    return send_whole(exchange, answer)


def settle(exchange: Exchange, status: int) -> None:
    """Write it into the accounts; tell the limits what it really took."""
    accountant, entry, reserved = exchange.services.switchboard.accountant, exchange.entry, exchange.reserved
    if exchange.leave is not None:
        exchange.leave()
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
    read_body,
    peek,
    find_model,
    reserve,
    open_account,
    choose_variant,
    look_in_cache,
    take_place,
    forward,
    keep_in_cache,
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
    if exchange.has_begun and exchange.entry is not None and status != CLIENT_GONE:
        exchange.services.switchboard.metrics.broken_streams.labels(exchange.entry.model).inc()
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
