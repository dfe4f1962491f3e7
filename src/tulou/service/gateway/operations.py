"""What may be asked over HTTP, as one table: path, model task, request type, and how a replica answers it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from tulou.core.types import ChatDelta, ModelManifest, Task
from tulou.service.engine.base import Generation
from tulou.service.gateway import refusals, wire
from tulou.service.gateway.entry import Caller
from tulou.service.pool import Manifests

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """Vectors or probabilities, (n, dimensions) or (n, labels), and the tokens that were read for them."""

    rows: NDArray[np.float32]
    prompt_tokens: int


class Backend(Protocol):
    """Where answers come from."""

    @property
    def models(self) -> Manifests: ...

    def generate(self, model: str, request: Generation, caller: Caller) -> AsyncGenerator[ChatDelta, None]: ...

    async def encode(self, model: str, texts: Sequence[str], caller: Caller) -> Encoded: ...


@dataclass(frozen=True)
class Call:
    """A request that has been read and found good."""

    body: Any
    manifest: ModelManifest
    backend: Backend
    caller: Caller
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def fingerprint(self) -> str:
        return f"fp_{self.manifest.version or self.manifest.fingerprint}"

    def id(self, prefix: str) -> str:
        return f"{prefix}-{self.caller.request_id.removeprefix('req_')}"


@dataclass(frozen=True)
class Operation:
    path: str
    task: Task
    decoder: msgspec.json.Decoder[Any]
    answer: Callable[[Call], Coroutine[Any, Any, Response]]


class EventStream(StreamingResponse):
    """Server-sent events; its generator is closed, and the work behind it cancelled, as soon as the client leaves."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        self._events = events

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._events):
            await super().stream_response(send)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


class _Chat:
    """Chat completions: how pieces and whole answers are worded."""

    prefix, whole_object, piece_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    @staticmethod
    def opening() -> list[wire.ChunkChoice]:
        return [wire.ChunkChoice(wire.Delta(role="assistant", content=""))]

    @staticmethod
    def piece(text: str) -> list[wire.ChunkChoice]:
        return [wire.ChunkChoice(wire.Delta(content=text))]

    @staticmethod
    def closing(reason: str) -> list[wire.ChunkChoice]:
        return [wire.ChunkChoice(wire.Delta(), finish_reason=reason)]

    @staticmethod
    def whole(index: int, text: str, reason: str) -> wire.ChatChoice:
        return wire.ChatChoice(wire.AnswerMessage(text), reason, index)


class _Text:
    """Plain completions."""

    prefix, whole_object, piece_object = "cmpl", "text_completion", "text_completion"

    @staticmethod
    def opening() -> list[wire.TextChoice]:
        return []

    @staticmethod
    def piece(text: str) -> list[wire.TextChoice]:
        return [wire.TextChoice(text, None)]

    @staticmethod
    def closing(reason: str) -> list[wire.TextChoice]:
        return [wire.TextChoice("", reason)]

    @staticmethod
    def whole(index: int, text: str, reason: str) -> wire.TextChoice:
        return wire.TextChoice(text, reason, index)


Style = type[_Chat] | type[_Text]


async def _complete(call: Call, style: Style) -> Response:
    requests = call.body.generations()
    if call.body.stream:
        deltas = call.backend.generate(call.body.model, requests[0], call.caller)
        first = await anext(deltas)  # what is wrong before the first word is still an HTTP error
        return EventStream(_events(call, style, first, deltas))
    answers = await _together([_collect(call, index, request) for index, request in enumerate(requests)])
    choices: Any = [
        style.whole(index, text, last.finish_reason or "stop") for index, (text, last) in enumerate(answers)
    ]
    usage = wire.usage_of(
        sum(last.prompt_tokens for _, last in answers), sum(last.completion_tokens for _, last in answers)
    )
    whole = wire.Completion(
        call.id(style.prefix), style.whole_object, call.created, call.body.model, choices, usage, call.fingerprint
    )
    return json_response(whole)


async def _together(work: Sequence[Any]) -> list[tuple[str, ChatDelta]]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except* refusals.ApiError as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _collect(call: Call, index: int, request: Generation) -> tuple[str, ChatDelta]:
    caller = call.caller if index == 0 else call.caller.numbered(index)
    parts = []
    last = ChatDelta("")
    async with aclosing(call.backend.generate(call.body.model, request, caller)) as deltas:
        async for last in deltas:
            parts.append(last.text)
    return "".join(parts), last


async def _events(
    call: Call, style: Style, first: ChatDelta, rest: AsyncGenerator[ChatDelta, None]
) -> AsyncGenerator[bytes, None]:
    with_usage = call.body.wants_usage

    def event(choices: Any, usage: wire.Usage | None = None) -> bytes:
        chunk = wire.Completion(
            call.id(style.prefix), style.piece_object, call.created, call.body.model, choices,
            usage if with_usage else msgspec.UNSET, call.fingerprint,
        )  # fmt: skip
        return wire.event(chunk)

    async with aclosing(rest):
        try:
            if opening := style.opening():
                yield event(opening)
            last = first
            async for last in _chained(first, rest):
                if last.text:
                    yield event(style.piece(last.text))
            yield event(style.closing(last.finish_reason or "stop"))
            if with_usage:
                yield event([], wire.usage_of(last.prompt_tokens, last.completion_tokens))
        except refusals.ApiError as err:
            yield wire.event(err.body)
            return
        except Exception:
            logger.exception("request %s failed while it was being streamed", call.caller.request_id)
            yield wire.event(refusals.internal_error(call.caller.request_id).body)
            return
    yield wire.DONE


async def _chained(first: ChatDelta, rest: AsyncIterator[ChatDelta]) -> AsyncIterator[ChatDelta]:
    yield first
    async for delta in rest:
        yield delta


async def _chat(call: Call) -> Response:
    return await _complete(call, _Chat)


async def _completions(call: Call) -> Response:
    return await _complete(call, _Text)


async def _embeddings(call: Call) -> Response:
    encoded = await call.backend.encode(call.body.model, call.body.texts, call.caller)
    data = wire.embedding_data(encoded.rows, call.body.encoding_format == "base64")
    usage = wire.EmbeddingUsage(encoded.prompt_tokens, encoded.prompt_tokens)
    return json_response(wire.EmbeddingList(call.body.model, data, usage))


async def _classify(call: Call) -> Response:
    encoded = await call.backend.encode(call.body.model, call.body.texts, call.caller)
    data = wire.classifications(encoded.rows, call.manifest.labels, call.body.top_k)
    usage = wire.EmbeddingUsage(encoded.prompt_tokens, encoded.prompt_tokens)
    return json_response(wire.ClassificationList(call.body.model, data, usage))


OPERATIONS = (
    Operation("/v1/chat/completions", "chat", msgspec.json.Decoder(wire.ChatBody), _chat),
    Operation("/v1/completions", "chat", msgspec.json.Decoder(wire.CompletionBody), _completions),
    Operation("/v1/embeddings", "embed", msgspec.json.Decoder(wire.EmbeddingBody), _embeddings),
    Operation("/v1/classify", "classify", msgspec.json.Decoder(wire.ClassifyBody), _classify),
)
