"""Which requests share a beginning: the conversation's id, or what every turn of a conversation starts with.

Without an id, a chat is known by its messages up to the first one of the user: later turns repeat them byte for byte.
Instructions that all share are not enough to tell chats apart, and need not be: they are soon warm everywhere, while
hashing them alone would send everyone to one replica. Reading them costs some microseconds a kilobyte, and is done only
where the balancer wants it.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec
from msgspec import Raw, Struct

PROMPT_BYTES = 1024  # of a plain prompt: some 250 tokens, from where on a warm beginning begins to save time


class _Message(Struct):
    role: str = ""
    content: Raw = Raw()


class _Prompted(Struct):
    messages: list[_Message] = []
    prompt: Raw = Raw()


_decoder = msgspec.json.Decoder(_Prompted)


def affinity_of(conversation: str | None, body: bytes) -> bytes | None:
    """Equal for requests that go well to one replica; None for those that go well anywhere."""
    if conversation:
        return conversation.encode(errors="replace")
    try:
        asked = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # the replica will say what is wrong with it
    if asked.messages:
        return _opening(asked.messages)
    prompt = bytes(asked.prompt)[:PROMPT_BYTES]
    return prompt or None


def _opening(messages: list[_Message]) -> bytes:
    digest = blake2b(digest_size=16)
    for message in messages:
        digest.update(message.role.encode())
        digest.update(message.content)
        if message.role == "user":
            break
    return digest.digest()
