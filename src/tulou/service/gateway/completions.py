"""Chat and plain completions: one engine stream for each choice, worded whole or piece by piece.

A request with `n` choices or several prompts is as many generations side by side; their pieces are merged as they come.
What is wrong before the first word is an HTTP error, what goes wrong later an event of the stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.responses import Response

from tulou.core.types import ChatDelta, TokenScore, ToolCall
from tulou.service.engine.base import Generation
from tulou.service.engine.tools import ToolReader
from tulou.service.gateway import refusals, wire
from tulou.service.gateway.answers import DONE
from tulou.service.gateway.call import Call, Pieces, json_response

PIECES_AHEAD = 64  # of several choices, that may wait for a slow reader before the engine does

logger = logging.getLogger(__name__)


class _Choice:
    """One answer as it grows."""

    def __init__(self, index: int, reader: ToolReader | None, offset_chars: int) -> None:
        self.index = index
        self._reader = reader
        self.text = ""
        self.calls: list[ToolCall] = []
        self.scores: list[TokenScore] = []
        self.offset_chars = offset_chars  # where the next scored token begins
        self.last = ChatDelta("")

    def read(self, delta: ChatDelta) -> tuple[str, list[ToolCall]]:
        """The text and the calls that `delta` adds."""
        self.last = delta
        text, calls = delta.text, list[ToolCall]()
        if self._reader is not None:
            text, calls = self._reader.push(text, is_last=bool(delta.finish_reason))
        self.text += text
        self.calls += calls
        self.scores += delta.scores
        return text, calls

    @property
    def reason(self) -> str:
        reason = self.last.finish_reason or "stop"
        return "tool_calls" if self.calls and reason == "stop" else reason


class _Chat:
    """Chat completions: how pieces and whole answers are worded."""

    prefix, whole_object, piece_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    @staticmethod
    def opening(choice: _Choice, _echoed: str) -> wire.ChunkChoice:
        return wire.ChunkChoice(wire.Delta(role="assistant", content=""), choice.index)

    @staticmethod
    def piece(choice: _Choice, text: str, calls: list[ToolCall], scores: Sequence[TokenScore]) -> wire.ChunkChoice:
        pieces = wire.call_pieces(calls, len(choice.calls) - len(calls)) or None
        logprobs = wire.chat_logprobs(scores) if scores else None
        return wire.ChunkChoice(wire.Delta(content=text or None, tool_calls=pieces), choice.index, logprobs)

    @staticmethod
    def closing(choice: _Choice) -> wire.ChunkChoice:
        return wire.ChunkChoice(wire.Delta(), choice.index, finish_reason=choice.reason)

    @staticmethod
    def whole(choice: _Choice, _echoed: str, with_logprobs: bool) -> wire.ChatChoice:
        content = None if choice.calls and not choice.text.strip() else choice.text
        message = wire.AnswerMessage(content, tool_calls=wire.calls(choice.calls) or msgspec.UNSET)
        logprobs = wire.chat_logprobs(choice.scores) if with_logprobs else None
        return wire.ChatChoice(message, choice.reason, choice.index, logprobs)


class _Text:
    """Plain completions."""

    prefix, whole_object, piece_object = "cmpl", "text_completion", "text_completion"

    @staticmethod
    def opening(choice: _Choice, echoed: str) -> wire.TextChoice | None:
        return wire.TextChoice(echoed, None, choice.index) if echoed else None

    @staticmethod
    def piece(choice: _Choice, text: str, _calls: list[ToolCall], scores: Sequence[TokenScore]) -> wire.TextChoice:
        logprobs = wire.text_logprobs(scores, choice.offset_chars) if scores else None
        choice.offset_chars += sum(len(score.text) for score in scores)
        return wire.TextChoice(text, None, choice.index, logprobs)

    @staticmethod
    def closing(choice: _Choice) -> wire.TextChoice:
        return wire.TextChoice("", choice.reason, choice.index)

    @staticmethod
    def whole(choice: _Choice, echoed: str, with_logprobs: bool) -> wire.TextChoice:
        logprobs = wire.text_logprobs(choice.scores, choice.offset_chars) if with_logprobs else None
        return wire.TextChoice(echoed + choice.text, choice.reason, choice.index, logprobs)


Style = type[_Chat] | type[_Text]


async def chat(call: Call) -> Response:
    return await _Completing(call, _Chat).answer()


async def text(call: Call) -> Response:
    return await _Completing(call, _Text).answer()


class _Completing:
    """One request being answered."""

    def __init__(self, call: Call, style: Style) -> None:
        self._call = call
        self._style: Any = style
        self._requests: list[Generation] = call.body.generations(call.backend.tool_format)
        self._echoed = [self._echo(request) for request in self._requests]
        self._choices = [self._choice(index, request) for index, request in enumerate(self._requests)]

    async def answer(self) -> Response:
        deltas = merged([self._generate(index, request) for index, request in enumerate(self._requests)])
        if not self._call.body.stream:
            async with aclosing(deltas):
                async for index, delta in deltas:
                    self._choices[index].read(delta)
            return json_response(self._whole())
        first = await anext(deltas)  # what is wrong before the first word is still an HTTP error
        return Pieces(self._events(first, deltas))

    def _generate(self, index: int, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        caller = self._call.caller if index == 0 else self._call.caller.numbered(index)
        return self._call.backend.generate(self._call.body.model, request, caller)

    def _echo(self, request: Generation) -> str:
        if not getattr(self._call.body, "echo", False) or request.messages is not None:
            return ""
        return request.prompt if isinstance(request.prompt, str) else self._call.backend.text_of(request.prompt)  # type: ignore[arg-type]

    def _choice(self, index: int, request: Generation) -> _Choice:
        reader = None
        tool_format = self._call.backend.tool_format
        if request.tools and tool_format is not None:
            names = [tool["function"]["name"] for tool in request.tools]
            reader = ToolReader(tool_format, names, f"{self._call.caller.request_id.removeprefix('req_')[:24]}_{index}")
        return _Choice(index, reader, len(self._echoed[index]))

    def _usage(self) -> wire.Usage:
        """The prompt of several choices counts once."""
        last = [choice.last for choice in self._choices]
        prompt_tokens = sum(each.prompt_tokens for each in last[:: self._call.body.choices])
        return wire.usage_of(prompt_tokens, sum(each.completion_tokens for each in last))

    def _whole(self) -> wire.Completion[Any]:
        choices = [
            self._style.whole(choice, echoed, request.top_logprobs is not None)
            for choice, echoed, request in zip(self._choices, self._echoed, self._requests, strict=True)
        ]
        return self._completion(self._style.whole_object, choices, self._usage())

    def _completion(
        self, kind: str, choices: list[Any], usage: wire.Usage | msgspec.UnsetType | None
    ) -> wire.Completion[Any]:
        call = self._call
        return wire.Completion(
            call.id(self._style.prefix), kind, call.created, call.body.model, choices, usage, call.fingerprint
        )

    def _event(self, choice: Any) -> bytes:
        usage = None if self._call.body.wants_usage else msgspec.UNSET
        return wire.event(self._completion(self._style.piece_object, [choice], usage))

    async def _events(
        self, first: tuple[int, ChatDelta], rest: AsyncGenerator[tuple[int, ChatDelta], None]
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(rest):
            try:
                for choice, echoed in zip(self._choices, self._echoed, strict=True):
                    if opening := self._style.opening(choice, echoed):
                        yield self._event(opening)
                for event in self._told(*first):
                    yield event
                async for index, delta in rest:
                    for event in self._told(index, delta):
                        yield event
                if self._call.body.wants_usage:
                    yield wire.event(self._completion(self._style.piece_object, [], self._usage()))
            except refusals.ApiError as err:
                yield wire.event(err.body)
                return
            except Exception:
                request_id = self._call.caller.request_id
                logger.exception("request %s failed while it was being streamed", request_id)
                yield wire.event(refusals.internal_error(request_id).body)
                return
        yield DONE

    def _told(self, index: int, delta: ChatDelta) -> list[bytes]:
        choice = self._choices[index]
        text, calls = choice.read(delta)
        events = []
        if text or calls or delta.scores:
            events.append(self._event(self._style.piece(choice, text, calls, delta.scores)))
        if delta.finish_reason:
            events.append(self._event(self._style.closing(choice)))
        return events


async def merged(
    streams: Sequence[AsyncGenerator[ChatDelta, None]],
) -> AsyncGenerator[tuple[int, ChatDelta], None]:
    """The pieces of all `streams` as they come, each with its stream's number; the first error ends all."""
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for delta in only:
                yield 0, delta
        return
    pieces: asyncio.Queue[tuple[int, ChatDelta] | Exception | None] = asyncio.Queue(PIECES_AHEAD)

    async def pass_on(index: int, stream: AsyncGenerator[ChatDelta, None]) -> None:
        try:
            async with aclosing(stream):
                async for delta in stream:
                    await pieces.put((index, delta))
            await pieces.put(None)
        except Exception as err:  # noqa: BLE001 -- raised again where the pieces are read
            await pieces.put(err)

    tasks = [asyncio.create_task(pass_on(index, stream)) for index, stream in enumerate(streams)]
    try:
        left = len(tasks)
        while left:
            piece = await pieces.get()
            if isinstance(piece, Exception):
                raise piece
            if piece is None:
                left -= 1
            else:
                yield piece
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
