from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from tulou.core.errors import ServiceError
from tulou.core.state import open_state
from tulou.service.gateway.keys import CACHE_S, PREFIX, Keys
from tulou.service.gateway.refusals import redacted


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def state(tmp_path: Path) -> sa.Engine:
    return open_state("sqlite:///state.db", tmp_path)


def test_a_created_key_is_found_and_its_secret_is_nowhere_in_the_database(state: sa.Engine, tmp_path: Path) -> None:
    keys = Keys(state)
    key, secret = keys.create("shop", "app")
    assert secret.startswith(PREFIX)
    assert keys.find(secret) == key
    assert keys.find(secret + "x") is None
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
    assert key.id.encode() in stored
    assert secret.removeprefix(PREFIX).encode() not in stored


def test_a_revoked_key_is_refused_at_once_here_and_soon_elsewhere(state: sa.Engine) -> None:
    clock = Clock()
    here, elsewhere = Keys(state, clock), Keys(state, clock)
    key, secret = here.create("shop", "app")
    assert elsewhere.find(secret) is not None
    here.revoke(key.id)
    assert here.find(secret) is None
    clock.now += CACHE_S + 1
    assert elsewhere.find(secret) is None
    assert [listed.revoked_at is not None for listed in here.list()] == [True]


def test_lookups_are_remembered_without_the_database(state: sa.Engine) -> None:
    keys = Keys(state)
    _, secret = keys.create("shop", "app")
    assert keys.remembered(secret) == (False, None)
    found = keys.find(secret)
    assert keys.remembered(secret) == (True, found)


def test_wrong_roles_and_unknown_ids_are_refused(state: sa.Engine) -> None:
    keys = Keys(state)
    with pytest.raises(ServiceError, match="unknown role 'boss' for key 'x'; choose from admin, app, viewer"):
        keys.create("x", "boss")  # type: ignore[arg-type]
    with pytest.raises(ServiceError, match="no valid key has the id 'key_none'"):
        keys.revoke("key_none")


def test_roles_say_what_a_key_may_do(state: sa.Engine) -> None:
    keys = Keys(state)
    may = {role: keys.create(role, role)[0] for role in ("admin", "app", "viewer")}
    assert [may[role].may_ask for role in ("admin", "app", "viewer")] == [True, True, False]
    assert [may[role].is_admin for role in ("admin", "app", "viewer")] == [True, False, False]


@pytest.mark.parametrize("secret", ["", "sk", "sk-12345678", "sk-tulou-0123456789abcdef"])
def test_redacted_keys_hide_the_middle(secret: str) -> None:
    shown = redacted(secret)
    assert "***" in shown
    assert sum(char != "*" for char in shown) <= max(3, len(secret) // 2)
