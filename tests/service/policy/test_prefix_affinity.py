from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulou.service.gateway.policy.affinity import affinity_of


def chat(*turns: str, system: str | None = "be kind") -> bytes:
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    messages += [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
    return json.dumps({"model": "m", "messages": messages, "stream": True}).encode()


@given(st.lists(st.text(), min_size=1, max_size=7), st.none() | st.text())
def test_every_turn_of_a_conversation_has_the_same_affinity(turns: list[str], system: str | None) -> None:
    first = affinity_of(None, chat(turns[0], system=system))
    assert first is not None
    assert all(affinity_of(None, chat(*turns[: i + 1], system=system)) == first for i in range(len(turns)))


def test_conversations_that_only_share_instructions_are_told_apart() -> None:
    assert affinity_of(None, chat("where is my parcel?")) != affinity_of(None, chat("I want a refund"))
    assert affinity_of(None, chat("hello", system="be kind")) != affinity_of(None, chat("hello", system="be brief"))


def test_an_id_counts_for_more_than_the_words() -> None:
    assert affinity_of("c1", chat("a")) == affinity_of("c1", chat("b")) != affinity_of("c2", chat("a"))


@pytest.mark.parametrize(
    ("body", "is_any"),
    [
        (b'{"model":"m","prompt":"once upon a time"}', True),
        (b'{"model":"m","prompt":["a","b"]}', True),
        (b'{"model":"e","input":["a","b"]}', False),
        (b'{"messages":[]}', False),
        (b'{"messages":3}', False),
        (b"not json", False),
        (b"\xff\xfe", False),
        (b"", False),
    ],
)
def test_bodies_of_every_kind_have_an_affinity_or_none(body: bytes, is_any: bool) -> None:
    assert (affinity_of(None, body) is not None) == is_any


def test_prompts_that_begin_alike_for_long_enough_belong_together() -> None:
    begun = "x" * 2000
    one, other = (json.dumps({"prompt": begun + end}).encode() for end in ("a", "b"))
    assert affinity_of(None, one) == affinity_of(None, other)
