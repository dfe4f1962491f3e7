"""What every worker process needs, imported and compiled once: the fork server imports this, its forks share it.

A worker by itself takes a second to import Arrow and Numba and to load the compiled loops; a fork of a process that
has them takes a hundredth. This module is the only one that does something when it is imported, and it is imported by
the fork server only (`engine.py`). It starts no threads, which a fork would lose. What it leaves out is loaded by the
worker that asks for it, as ever.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any


class _Missing(MetaPathFinder):
    """Modules that are as good as not installed."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        if name in self._names:
            raise ModuleNotFoundError(f"{name} is left out while workers are made ready", name=name)
        return None


@contextmanager
def _loading() -> Iterator[None]:
    """The quick way to load what stays: half the time of the plain one.

    Arrow asks pandas about every list that it is given, Numba loads SciPy for a product of matrices and cffi for
    functions in C; none is wanted here. Nothing that is loaded is thrown away again, so nobody looks for it, neither
    here nor in the forks.
    """
    missing = _Missing("pandas", "scipy", "cffi")
    sys.meta_path.insert(0, missing)
    gc.disable()
    try:
        yield
    finally:
        sys.meta_path.remove(missing)
        gc.freeze()
        gc.enable()


def _load() -> None:
    import pyarrow as pa

    import tulou.data.clean.shard
    import tulou.data.collect.ranges  # noqa: F401
    from tulou.data.kernels.fingerprint import Unit, fingerprint
    from tulou.data.kernels.scripts import languages
    from tulou.data.kernels.survey import survey

    texts = pa.array(["Tulou 土楼 1985"], pa.string())
    survey(texts)
    languages(texts)
    fingerprint(texts, Unit.WORDS, 4)


with _loading():
    _load()
