"""API keys: made once, shown once, kept as a digest.

A secret is 256 random bits, so plain SHA-256 is enough: there is nothing to guess that salt or slow hashing would
protect. A key may have two secrets for a while, after a rotation: the new one, and the old one until its grace time is
over. What is here blocks on the database; on the path of a request `keyring` remembers what was found.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa

from tulou.core.errors import ServiceError
from tulou.core.state import api_keys
from tulou.service.gateway.limits import Budgets, budgets_from

PREFIX = "sk-tulou-"
GRACE_S = 24 * 3600.0
MAX_PRIORITY = 1000

KeyRole = Literal["admin", "app", "viewer"]
ROLES: tuple[str, ...] = get_args(KeyRole)


@dataclass(frozen=True, slots=True)
class Key:
    """What may be known of a key without knowing it."""

    id: str
    name: str
    role: str
    created_at: float
    revoked_at: float | None = None
    expires_at: float | None = None
    disabled_at: float | None = None
    models: frozenset[str] | None = None  # it may use; None: all
    priority: int = 0  # the higher, the later it is shed
    budgets: Budgets = ()
    old_until: float | None = None  # until when the secret before the last rotation works

    @property
    def may_ask(self) -> bool:
        """Whether it may use the models; a viewer only looks."""
        return self.role in ("admin", "app")

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models

    def state(self, now: float) -> Literal["valid", "revoked", "disabled", "expired"]:
        if self.revoked_at is not None:
            return "revoked"
        if self.disabled_at is not None:
            return "disabled"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


@dataclass(frozen=True, slots=True)
class Found:
    """The key that a secret belongs to, and until when the secret is one of its."""

    key: Key
    until: float = math.inf

    @property
    def good_until(self) -> float:
        """Until when there is no `problem` but what others may yet do to the key."""
        if self.key.revoked_at is not None or self.key.disabled_at is not None:
            return -math.inf
        return min(self.until, math.inf if self.key.expires_at is None else self.key.expires_at)

    def problem(self, now: float) -> str | None:
        """Why it must be refused, or None: `revoked`, `disabled`, `expired`, `rotated`."""
        if self.until <= now:
            return "rotated"
        state = self.key.state(now)
        return None if state == "valid" else state


class Keys:
    """The table of keys; every call goes to the database."""

    def __init__(self, state: sa.Engine, now: Callable[[], float] = time.time) -> None:
        self._state = state
        self._now = now

    def create(
        self,
        name: str,
        role: KeyRole = "app",
        before: Callable[[str], None] = lambda _secret: None,
        *,
        models: Sequence[str] | None = None,
        expires_at: float | None = None,
        priority: int = 0,
        budgets: Mapping[str, float] | None = None,
    ) -> tuple[Key, str]:
        """Make a key. The second value is the secret, which cannot be shown again.

        `before` is told it before it becomes valid, to put it where it is not lost if this process ends right after.
        """
        if role not in ROLES:
            raise ServiceError(f"unknown role {role!r} for key {name!r}; choose from {', '.join(ROLES)}")
        changes = self._checked({"models": models, "expires_at": expires_at, "priority": priority, "budgets": budgets})
        secret = PREFIX + secrets.token_urlsafe(32)
        key_id = f"key_{secrets.token_hex(6)}"
        before(secret)
        with self._state.begin() as db:
            row = {"id": key_id, "hash": digest(secret), "name": name, "role": role, "created_at": self._now()}
            db.execute(api_keys.insert().values(row | changes))
        return self.get(key_id), secret

    def list(self) -> list[Key]:
        """All keys, oldest first, revoked ones too."""
        with self._state.connect() as db:
            return [_key(row) for row in db.execute(sa.select(api_keys).order_by(api_keys.c.created_at))]

    def get(self, key_id: str) -> Key:
        """Raises `ServiceError` where no key, valid or not, has that id."""
        with self._state.connect() as db:
            row = db.execute(sa.select(api_keys).where(api_keys.c.id == key_id)).first()
        if row is None:
            raise ServiceError(f"no key has the id {key_id!r}; `tulou keys list` shows them all")
        return _key(row)

    def resolve(self, start: str) -> str:
        """The one id that begins with `start`. Raises `ServiceError` where there is none, or several."""
        found = [key.id for key in self.list() if key.id.startswith(start)]
        if start in found:
            return start
        if len(found) != 1 or not start:
            several = f"{len(found)} keys have ids that begin with" if found else "no key has the id"
            raise ServiceError(f"{several} {start!r}; `tulou keys list` shows them all")
        return found[0]

    def find(self, secret: str) -> Key | None:
        """The valid key that `secret` belongs to, or None."""
        found = self.look_up(digest(secret))
        return found.key if found and found.problem(self._now()) is None else None

    def look_up(self, digest: str) -> Found | None:
        """The key that the secret with this digest belongs to, in whatever state it is; None where it is wrong."""
        either = sa.or_(api_keys.c.hash == digest, api_keys.c.old_hash == digest)
        with self._state.connect() as db:
            row = db.execute(sa.select(api_keys).where(either)).first()
        if row is None:
            return None
        return Found(_key(row), math.inf if row.hash == digest else row.old_until)

    def rotate(self, key_id: str, grace_s: float = GRACE_S) -> tuple[Key, str]:
        """Give a key a new secret; the old one works `grace_s` longer, one still older no more.

        Raises `ServiceError` where no key that is not revoked has that id.
        """
        if not 0 <= grace_s < math.inf:
            raise ServiceError(f"a grace time of {grace_s:g} s is none; give 0 or more, such as 24h")
        secret = PREFIX + secrets.token_urlsafe(32)
        old = {"old_hash": api_keys.c.hash, "old_until": self._now() + grace_s}
        self._update(key_id, old | {"hash": digest(secret)})
        return self.get(key_id), secret

    def revoke(self, key_id: str) -> None:
        """Refuse this key from now on. Raises `ServiceError` where no key that is not revoked has that id."""
        self._update(key_id, {"revoked_at": self._now()})

    def change(self, key_id: str, budgets: Mapping[str, float | None] | None = None, **changes: Any) -> Key:
        """Change `models`, `expires_at`, `priority`, `disabled_at`, or single budgets (None takes one away).

        Raises `ServiceError` where no key that is not revoked has that id, or a value is none.
        """
        if budgets:
            amounts: dict[str, float | None] = {each.name: each.amount for each in self.get(key_id).budgets}
            changes["budgets"] = {name: each for name, each in (amounts | dict(budgets)).items() if each is not None}
        if changes:
            self._update(key_id, self._checked(changes))
        return self.get(key_id)

    def _update(self, key_id: str, values: Mapping[str, Any]) -> None:
        with self._state.begin() as db:
            one = api_keys.update().where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            done = db.execute(one.values(dict(values)))
        if done.rowcount == 0:
            raise ServiceError(f"no valid key has the id {key_id!r}; `tulou keys list` shows them all")

    def _checked(self, changes: dict[str, Any]) -> dict[str, Any]:
        """The changes as they go into the table. Raises `ServiceError` for a value that cannot be meant."""
        budgets_from(changes.get("budgets"))
        if abs(changes.get("priority", 0)) > MAX_PRIORITY:
            raise ServiceError(f"priority {changes['priority']} is not between -{MAX_PRIORITY} and {MAX_PRIORITY}")
        expires_at = changes.get("expires_at")
        if expires_at is not None and expires_at <= self._now():
            raise ServiceError("the time at which the key is to expire has passed already")
        if changes.get("models") is not None:
            changes["models"] = sorted(set(changes["models"]))
        return changes | ({"budgets": changes["budgets"] or None} if "budgets" in changes else {})


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


def _key(row: sa.Row[Any]) -> Key:
    return Key(
        row.id,
        row.name,
        row.role,
        row.created_at,
        row.revoked_at,
        row.expires_at,
        row.disabled_at,
        None if row.models is None else frozenset(row.models),
        row.priority,
        budgets_from(row.budgets),
        row.old_until,
    )
