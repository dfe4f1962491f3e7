"""The heap keeps its pages while it is told to, and gives them back after."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tulou.model.heap import kept_heap

SCRIPT = """
import resource
import numpy as np
from tulou.model.heap import kept_heap

def pages_touched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(64 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with kept_heap():
    pages_touched()
    kept = pages_touched()
print(kept, pages_touched())
"""


def test_freed_memory_is_used_again_without_new_pages() -> None:
    for _ in range(
        4
    ):  # where the system happened to lay something behind the heap, it cannot grow, and nothing is kept
        run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
        kept, given_back = map(int, run.stdout.split())
        if kept < given_back / 2:
            return
    pytest.fail(f"{kept} pages were touched anew while the heap was to be kept, {given_back} after")


def test_an_error_inside_is_passed_on() -> None:
    with pytest.raises(ValueError, match="inside"), kept_heap():
        raise ValueError("inside")
