"""Answers given before, for exactly the same question by the same key: bounded in bytes and in age.

Only what would come out the same anyway is kept: vectors and labels always, written answers where `temperature` is 0,
one answer is wanted and it is not streamed (the default temperature of OpenAI's API is 1, so a client must say so).
Streams are not kept: replaying one word by word would pretend work that is not done, all at once it is no stream.
Equal means the same bytes: a client that orders its keys otherwise misses, which is cheaper than parsing every body.
The API key and the version that answered are part of what must be equal, so nobody reads another's answers, and no
version answers with another's words. Questions are kept as their SHA-256 only.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import msgspec
from msgspec import Struct

ENTRY_BYTES = 400  # what an entry costs besides its body: 357 measured with tracemalloc over 20,000 of them
LARGEST_SHARE = 1 / 16  # of the whole that one answer may take


class _Asked(Struct):
    stream: bool | None = False
    temperature: float | None = None
    n: int | None = None


_asked = msgspec.json.Decoder(_Asked)


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    content_type: str
    at: float
    prompt_tokens: int = 0
    completion_tokens: int = 0


def is_replayable(is_written: bool, body: bytes) -> bool:
    """Whether asking again would give the same answer. `is_written`: by a chat model, not an encoder."""
    if not is_written:
        return True
    try:
        asked = _asked.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return asked.temperature == 0 and not asked.stream and asked.n in (None, 1)


def key_of(key_id: str | None, route: str, model: str, version: str, body: bytes) -> bytes:
    digest = sha256()
    for part in (key_id or "", route, model, version):
        digest.update(part.encode(errors="replace"))
        digest.update(b"\0")
    digest.update(body)
    return digest.digest()


class AnswerCache:
    """The least recently used answers go first. `forget(model)` frees a model's answers at once."""

    def __init__(self, max_bytes: int, max_age_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._now = now
        self._answers: OrderedDict[bytes, tuple[str, Answer]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: bytes) -> Answer | None:
        found = self._answers.get(key)
        if found is None:
            return None
        if self._now() - found[1].at > self._max_age_s:
            self._drop(key)
            return None
        self._answers.move_to_end(key)
        return found[1]

    def put(
        self,
        key: bytes,
        model: str,
        body: bytes,
        content_type: str = "application/json",
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
    ) -> None:
        """Keep an answer, unless it is too large to be worth the others that would have to go."""
        if len(body) + ENTRY_BYTES > self._max_bytes * LARGEST_SHARE:
            return
        if key in self._answers:
            self._drop(key)
        self._answers[key] = (model, Answer(body, content_type, self._now(), prompt_tokens, completion_tokens))
        self.bytes += len(body) + ENTRY_BYTES
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._answers)))

    def forget(self, model: str) -> None:
        for key in [key for key, (name, _) in self._answers.items() if name == model]:
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        _, answer = self._answers.pop(key)
        self.bytes -= len(answer.body) + ENTRY_BYTES
