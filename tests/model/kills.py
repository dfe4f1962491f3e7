"""Ending a training as a kill would, at a step of one's choice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from tulou.core.progress import Bar, SilentBar


class Killed(Exception):
    pass


class KilledAt:
    """Progress that ends the run in its `step`-th step, after the weights have changed and before anything is saved."""

    def __init__(self, step: int) -> None:
        self.left = step

    def bar(self, title: str, total: float | None = None, unit: str = "") -> AbstractContextManager[Bar]:
        outer = self

        class Fuse(SilentBar):
            def advance(self, n: float = 1) -> None:
                if unit != "tokens" or not n:  # a bar of the training loop, and not what earlier runs did
                    return
                outer.left -= 1
                if outer.left <= 0:
                    raise Killed

        @contextmanager
        def bar() -> Iterator[Bar]:
            yield Fuse()

        return bar()
