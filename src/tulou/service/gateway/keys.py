"""API keys: made once, shown once, kept as a digest.

A key is 256 random bits, so plain SHA-256 is enough: there is nothing to guess that salt or slow hashing would protect.
Look-ups are remembered for a few seconds, which is also how long a revoked key may still work in another process.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import sqlalchemy as sa

from tulou.core.errors import ServiceError
from tulou.core.state import api_keys

PREFIX = "sk-tulou-"
CACHE_S = 5.0
CACHE_ENTRIES = 10_000  # bounds memory when someone tries many wrong keys

KeyRole = Literal["admin", "app", "viewer"]
ROLES: tuple[str, ...] = get_args(KeyRole)


@dataclass(frozen=True)
class Key:
    """What may be known of a key without knowing it."""

    id: str
    name: str
    role: str
    created_at: float
    revoked_at: float | None = None
    priority: int = 0  # the higher, the later it is shed

    @property
    def may_ask(self) -> bool:
        """Whether it may use the models; a viewer only looks."""
        return self.role in ("admin", "app")

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


class Keys:
    def __init__(self, state: sa.Engine, now: Callable[[], float] = time.time) -> None:
        self._state = state
        self._now = now
        self._cache: dict[str, tuple[float, Key | None]] = {}

    def create(
        self, name: str, role: KeyRole = "app", before: Callable[[str], None] = lambda _secret: None
    ) -> tuple[Key, str]:
        """Make a key. The second value is the key itself, which cannot be shown again.

        `before` is told it before it becomes valid, to put it where it is not lost if this process ends right after.
        """
        if role not in ROLES:
            raise ServiceError(f"unknown role {role!r} for key {name!r}; choose from {', '.join(ROLES)}")
        secret = PREFIX + secrets.token_urlsafe(32)
        key = Key(f"key_{secrets.token_hex(6)}", name, role, self._now())
        before(secret)
        with self._state.begin() as db:
            db.execute(
                api_keys.insert().values(
                    id=key.id, hash=_digest(secret), name=name, role=role, created_at=key.created_at
                )
            )
        return key, secret

    def list(self) -> list[Key]:
        """All keys, oldest first, revoked ones too."""
        with self._state.connect() as db:
            return [_key(row) for row in db.execute(sa.select(api_keys).order_by(api_keys.c.created_at))]

    def revoke(self, key_id: str) -> None:
        """Refuse this key from now on. Raises `ServiceError` where no valid key has that id."""
        with self._state.begin() as db:
            done = db.execute(
                api_keys.update()
                .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=self._now())
            )
        self._cache.clear()
        if done.rowcount == 0:
            raise ServiceError(f"no valid key has the id {key_id!r}; `tulou keys list` shows them all")

    def remembered(self, secret: str) -> tuple[bool, Key | None]:
        """Whether `secret` was looked up lately, and what was found; never touches the database."""
        entry = self._cache.get(_digest(secret))
        if entry is None or entry[0] < self._now():
            return False, None
        return True, entry[1]

    def find(self, secret: str) -> Key | None:
        """The valid key that is `secret`, or None."""
        is_known, key = self.remembered(secret)
        if is_known:
            return key
        digest = _digest(secret)
        valid = sa.select(api_keys).where(api_keys.c.hash == digest, api_keys.c.revoked_at.is_(None))
        with self._state.connect() as db:
            row = db.execute(valid).first()
        key = _key(row) if row else None
        if len(self._cache) >= CACHE_ENTRIES:
            self._cache.clear()
        self._cache[digest] = (self._now() + CACHE_S, key)
        return key


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: sa.Row[tuple[object, ...]]) -> Key:
    values = row._mapping
    return Key(values["id"], values["name"], values["role"], values["created_at"], values["revoked_at"])
