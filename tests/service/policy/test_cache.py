from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.service.policy.replicas import Clock

from tulou.service.gateway.policy.cache import ENTRY_BYTES, AnswerCache, is_replayable, key_of

PARTS = ("key_1", "/v1/embeddings", "encoder", "3", b'{"input":"x"}')


@pytest.mark.parametrize("changed", range(5))
def test_whatever_differs_is_another_question(changed: int) -> None:
    other = list(PARTS)
    other[changed] = b"{}" if changed == 4 else "other"
    assert key_of(*PARTS) == key_of(*PARTS) != key_of(*other)  # type: ignore[arg-type]


def test_parts_do_not_run_into_one_another() -> None:
    assert key_of("a", "b", "c", "d", b"") != key_of("ab", "", "c", "d", b"")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"temperature": 0}, True),
        ({"temperature": 0.0, "n": 1, "stream": False}, True),
        ({}, False),  # OpenAI's default is 1
        ({"temperature": 0.7}, False),
        ({"temperature": 0, "stream": True}, False),
        ({"temperature": 0, "n": 2}, False),
        ({"temperature": "0"}, False),
    ],
)
def test_only_what_would_come_out_the_same_is_kept(asked: dict[str, Any], expected: bool) -> None:
    assert is_replayable(True, json.dumps(asked).encode()) is expected


def test_vectors_are_always_the_same_and_garbage_never_is() -> None:
    assert is_replayable(False, b"anything")
    assert not is_replayable(True, b"garbage")


def test_an_answer_is_kept_until_it_is_too_old() -> None:
    clock = Clock()
    cache = AnswerCache(100_000, 60, clock)
    cache.put(b"k", "m", b"answer", prompt_tokens=3)
    found = cache.get(b"k")
    assert found is not None
    assert (found.body, found.prompt_tokens) == (b"answer", 3)
    clock.now += 61
    assert cache.get(b"k") is None
    assert (len(cache), cache.bytes) == (0, 0)


def test_the_least_recently_used_goes_first() -> None:
    cache = AnswerCache(20 * (ENTRY_BYTES + 10), 60, Clock())
    for i in range(20):
        cache.put(str(i).encode(), "m", b"0123456789")
    cache.get(b"0")
    cache.put(b"20", "m", b"0123456789")
    assert cache.get(b"0") is not None
    assert cache.get(b"1") is None


def test_one_answer_may_not_drive_out_all_others() -> None:
    cache = AnswerCache(160_000, 60, Clock())
    cache.put(b"small", "m", b"x")
    cache.put(b"large", "m", b"x" * 20_000)
    assert cache.get(b"small") is not None
    assert cache.get(b"large") is None


def test_a_models_answers_go_when_it_changes() -> None:
    cache = AnswerCache(100_000, 60, Clock())
    cache.put(b"1", "m", b"x")
    cache.put(b"2", "other", b"x")
    cache.forget("m")
    assert (cache.get(b"1"), cache.get(b"2") is not None, cache.bytes) == (None, True, ENTRY_BYTES + 1)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3000), st.booleans()), max_size=80))
def test_bytes_are_counted_and_bounded(steps: list[tuple[int, int, bool]]) -> None:
    clock = Clock()
    cache = AnswerCache(20_000, 10, clock)
    for key, size, is_asked in steps:
        if is_asked:
            cache.get(bytes([key]))
        else:
            cache.put(bytes([key]), f"m{key % 2}", b"x" * size)
        clock.now += 1
        assert cache.bytes <= 20_000
        assert cache.bytes == sum(len(answer.body) + ENTRY_BYTES for _, answer in cache._answers.values())
    cache.forget("m0")
    cache.forget("m1")
    assert (cache.bytes, len(cache)) == (0, 0)
