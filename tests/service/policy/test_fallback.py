from __future__ import annotations

import pytest

from tulou.service.gateway.policy.fallback import chain


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        ({}, ["a"]),
        ({"a": "b"}, ["a", "b"]),
        ({"a": "b", "b": "c"}, ["a", "b", "c"]),
        ({"b": "c"}, ["a"]),
        ({"a": "b", "b": "a"}, ["a", "b"]),
        ({"a": "a"}, ["a"]),
    ],
)
def test_a_chain_names_whom_to_ask_and_never_goes_round(fallback: dict[str, str], expected: list[str]) -> None:
    assert chain("a", fallback) == expected
