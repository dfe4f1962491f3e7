"""The heap keeps its pages while it is told to, and gives them back after."""

from __future__ import annotations

import resource

import pytest

torch = pytest.importorskip("torch")

from tulou.model.heap import kept_heap  # noqa: E402

BYTES = 64 << 20


def pages_touched(times: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.zeros(BYTES, dtype=torch.uint8).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_freed_memory_is_used_again_without_new_pages() -> None:
    with kept_heap():
        pages_touched(1)
        kept = pages_touched(4)
    assert kept < pages_touched(4) / 2


def test_an_error_inside_leaves_the_heap_as_it_was() -> None:
    with pytest.raises(ValueError, match="inside"), kept_heap():
        raise ValueError("inside")
    assert pages_touched(2) > 0
