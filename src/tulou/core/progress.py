"""How long work reports itself: a `Progress` is handed down, and the code that works never knows who is watching.

`Silent` ships for tests, `--json` and library use; the command line draws bars with rich.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Bar(Protocol):
    """One line of progress."""

    def advance(self, n: float = 1) -> None: ...

    def note(self, text: str) -> None:
        """Show a short live remark, such as `loss 2.31`."""
        ...


class Progress(Protocol):
    def bar(self, title: str, total: float | None = None, unit: str = "") -> AbstractContextManager[Bar]: ...


class SilentBar:
    def advance(self, n: float = 1) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class Silent:
    @contextmanager
    def bar(self, title: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        yield SilentBar()
