"""What the gateway reads in the bytes of an answer: tokens, how a stream ended, and the words sent so far.

A stream is relayed unread: of each piece only a few bytes are searched for. Its words are read when its replica is lost
and another one must continue behind them, which is seldom.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from tulou.service.gateway.upstream import ReplicaLost

T = TypeVar("T")

DONE = b"data: [DONE]\n\n"
MAX_TRANSCRIPT_BYTES = 4 << 20  # 20,000 tokens; a longer answer is not gone on with
EVENTS_BEGIN = (b"data:", b":", b"event:", b"id:", b"retry:")  # as server-sent events may, and garbage does not

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_ERROR = re.compile(rb'^data:\s*\{\s*"error"', re.MULTILINE)


Tokens = Annotated[int, Meta(ge=0, le=2**31 - 1)]  # what counters and the accounts take; servers of others say anything


class Usage(Struct):
    prompt_tokens: Tokens = 0
    completion_tokens: Tokens = 0


class _Whole(Struct):
    usage: Usage | None = None
    choices: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    results: Raw | UnsetType = UNSET


class _Shape(Struct):
    """What every answer has, whatever it is called."""

    choices: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    results: Raw | UnsetType = UNSET


class _Piece(Struct):
    usage: Usage | None = None
    choices: list[Raw] | None = None


class _Delta(Struct, forbid_unknown_fields=True):
    """What can be continued elsewhere: words, and no calls of tools."""

    role: str | None = None
    content: str | None = None
    refusal: None = None


class _Choice(Struct):
    index: int = 0
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(Struct):
    choices: list[_Choice] = []


_shape = msgspec.json.Decoder(_Shape)
_whole = msgspec.json.Decoder(_Whole)
_piece = msgspec.json.Decoder(_Piece)
_chunk = msgspec.json.Decoder(_Chunk)
_NOTHING = Usage()


def usage_of(body: bytes) -> Usage:
    """The usage in a whole answer. Raises `ReplicaLost` where that is none that a client could read."""
    whole: _Whole | _Shape
    try:
        try:
            whole = _whole.decode(body)
        except msgspec.ValidationError:  # perhaps its usage is told in a way that we do not know
            whole = _shape.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ReplicaLost("the replica answered something that is no JSON object") from None
    if whole.choices is UNSET and whole.data is UNSET and whole.results is UNSET:
        raise ReplicaLost("the replica answered JSON that is no answer")
    return (isinstance(whole, _Whole) and whole.usage) or _NOTHING


def read_usage(events: bytes, hide: bool) -> tuple[Usage | None, bytes]:
    """The usage told in these events, if any is; and the events, less the one that tells only usage if `hide`."""
    if _USAGE.search(events) is None:
        return None, events
    found, left = None, []
    for event in _each(events):
        piece = _decoded(event, _piece)
        if piece is not None and piece.usage is not None:
            found = piece.usage
            if hide and not piece.choices:
                continue
        left.append(event)
    return found, b"".join(left)


def tells_error(events: bytes) -> bool:
    return b'"error"' in events and _ERROR.search(events) is not None


class Transcript:
    """What the client of a stream has got so far, unread until someone must go on with it."""

    def __init__(self) -> None:
        self.last = b""
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, events: bytes) -> None:
        self.last = events
        if self._bytes <= MAX_TRANSCRIPT_BYTES:
            self._pieces.append(events)
            self._bytes += len(events)

    @property
    def has_ended(self) -> bool:
        """Whether the stream has told its end."""
        return b"[DONE]" in self.last or tells_error(self.last)

    def read(self) -> Said:
        said = Said(is_readable=self._bytes <= MAX_TRANSCRIPT_BYTES)
        for event in _each(b"".join(self._pieces)):
            chunk = _decoded(event, _chunk)
            if chunk is None or any(choice.index for choice in chunk.choices):
                said.is_readable = False
                break
            for choice in chunk.choices:
                said.words += choice.text or (choice.delta and choice.delta.content) or ""
                said.is_finished |= choice.finish_reason is not None
        return said


@dataclass(slots=True)
class Said:
    words: str = ""
    is_finished: bool = False  # only the formal end of the stream is missing
    is_readable: bool = True  # nothing but one answer's words: a call of a tool cannot be gone on with


def without_opening(events: bytes) -> bytes:
    """The events, less those that only tell who speaks: of an answer that goes on, the client knows."""
    left = []
    for event in _each(events):
        chunk = _decoded(event, _chunk)
        deltas = [choice.delta for choice in chunk.choices] if chunk else []
        if not any(delta and delta.role and not delta.content for delta in deltas):
            left.append(event)
    return b"".join(left)


def _each(events: bytes) -> list[bytes]:
    return [event + b"\n\n" for event in events.replace(b"\r\n", b"\n").split(b"\n\n") if event.strip()]


def _decoded(event: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    data = event.partition(b"data:")[2].strip()
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):  # "[DONE]" for one
        return None
