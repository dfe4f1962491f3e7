"""What the applications need from the rest of the house, handed over by whoever wires it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from tulou.core.types import Hit

Search = Callable[[str, int], Awaitable[list[Hit]]]
"""A query and how many passages are wanted, to the best ones, best first."""

Versions = Callable[[str], str]
"""The name of a model to the version of it that serves now; "" where nobody knows."""


@dataclass(frozen=True)
class Account:
    """Who holds a key."""

    id: str
    name: str
    role: str  # "admin", "app", "viewer"


class Accounts(Protocol):
    """The keys of the gateway, as far as signing in needs them. Both calls may block."""

    def by_key(self, key: str) -> Account | None:
        """The account of a whole key; None where it is wrong or revoked."""
        ...

    def by_id(self, key_id: str) -> Account | None:
        """The account of a key's public part; None once it is revoked."""
        ...


def no_versions(_model: str) -> str:
    return ""
