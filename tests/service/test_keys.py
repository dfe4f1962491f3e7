from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.service.clock import Clock

from tulou.core.errors import ServiceError
from tulou.core.state import open_state
from tulou.service.gateway.keys import PREFIX, Keys, digest
from tulou.service.gateway.refusals import redacted


def test_a_created_key_is_found_and_its_secret_is_nowhere_in_the_database(tmp_path: Path) -> None:
    keys = Keys(open_state("sqlite:///state.db", tmp_path))
    key, secret = keys.create("shop", "app")
    assert secret.startswith(PREFIX)
    assert keys.find(secret) == key
    assert keys.find(secret + "x") is None
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
    assert key.id.encode() in stored
    assert secret.removeprefix(PREFIX).encode() not in stored


def test_all_that_is_said_of_a_key_is_kept(state: sa.Engine) -> None:
    keys = Keys(state, Clock())
    budgets = {"requests/minute": 60.0, "money/month": 12.5, "tokens/day": 1e6}
    key, _ = keys.create("shop", models=["b", "a", "b"], expires_at=2000.0, priority=-3, budgets=budgets)
    assert keys.get(key.id) == key
    assert (key.models, key.expires_at, key.priority) == (frozenset("ab"), 2000.0, -3)
    assert [each.name for each in key.budgets] == ["money/month", "tokens/day", "requests/minute"]
    assert {each.name: each.amount for each in key.budgets} == budgets
    assert (key.may_use("a"), key.may_use("c"), keys.create("free")[0].may_use("c")) == (True, False, True)


def test_a_revoked_key_is_refused(state: sa.Engine) -> None:
    keys = Keys(state)
    key, secret = keys.create("shop", "app")
    keys.revoke(key.id)
    assert keys.find(secret) is None
    assert [listed.revoked_at is not None for listed in keys.list()] == [True]
    for change in (lambda: keys.revoke(key.id), lambda: keys.rotate(key.id), lambda: keys.change(key.id, priority=1)):
        with pytest.raises(ServiceError, match=f"no valid key has the id '{key.id}'"):
            change()


def test_the_beginning_of_an_id_is_enough_where_it_is_of_one_key(state: sa.Engine) -> None:
    keys = Keys(state)
    one, _ = keys.create("one", "app")
    other, _ = keys.create("other", "app")
    assert keys.resolve(one.id) == one.id
    assert keys.resolve(other.id[:-1]) == other.id
    with pytest.raises(ServiceError, match="2 keys have ids that begin with 'key_'"):
        keys.resolve("key_")
    for wrong in ("", "key_xyz"):
        with pytest.raises(ServiceError, match=f"{wrong!r}; `tulou keys list` shows them all"):
            keys.resolve(wrong)


def test_a_key_expires(state: sa.Engine) -> None:
    clock = Clock()
    keys = Keys(state, clock)
    key, secret = keys.create("shop", expires_at=1010.0)
    assert keys.find(secret) is not None
    clock.now = 1010.0
    assert keys.find(secret) is None
    assert key.state(clock.now) == "expired"
    keys.change(key.id, expires_at=1020.0)
    assert keys.find(secret) is not None


def test_a_rotated_key_has_two_secrets_until_its_grace_time_is_over(state: sa.Engine) -> None:
    clock = Clock()
    keys = Keys(state, clock)
    key, first = keys.create("shop")
    rotated, second = keys.rotate(key.id, grace_s=60)
    assert (rotated.id, rotated.old_until) == (key.id, 1060.0)
    for secret in (first, second):
        found = keys.find(secret)
        assert found is not None
        assert found.id == key.id
    clock.now = 1060.0
    assert (keys.find(first), keys.find(second) is not None) == (None, True)
    old = keys.look_up(digest(first))
    assert old is not None
    assert old.problem(clock.now) == "rotated"
    _, third = keys.rotate(key.id, grace_s=60)
    assert [keys.find(each) is not None for each in (first, second, third)] == [False, True, True]
    _, fourth = keys.rotate(key.id, grace_s=0)
    assert [keys.find(each) is not None for each in (second, third, fourth)] == [False, False, True]


def test_a_disabled_key_comes_back(state: sa.Engine) -> None:
    keys = Keys(state)
    key, secret = keys.create("shop")
    keys.change(key.id, disabled_at=1.0)
    assert keys.find(secret) is None
    keys.change(key.id, disabled_at=None)
    assert keys.find(secret) is not None


def test_single_budgets_are_set_changed_and_taken_away(state: sa.Engine) -> None:
    keys = Keys(state)
    key, _ = keys.create("shop", budgets={"requests/minute": 60})
    keys.change(key.id, {"tokens/day": 1000, "requests/minute": 30})
    assert {each.name: each.amount for each in keys.get(key.id).budgets} == {"tokens/day": 1000, "requests/minute": 30}
    keys.change(key.id, {"requests/minute": None, "tokens/day": None})
    assert keys.get(key.id).budgets == ()


def test_what_cannot_be_meant_is_one_sentence(state: sa.Engine) -> None:
    keys = Keys(state)
    with pytest.raises(ServiceError, match="unknown role 'boss' for key 'x'; choose from admin, app, viewer"):
        keys.create("x", "boss")  # type: ignore[arg-type]
    with pytest.raises(ServiceError, match="no valid key has the id 'key_none'"):
        keys.revoke("key_none")
    with pytest.raises(ServiceError, match="unknown budget 'words/day'"):
        keys.create("x", budgets={"words/day": 1})
    with pytest.raises(ServiceError, match="has passed already"):
        keys.create("x", expires_at=1.0)
    with pytest.raises(ServiceError, match="priority 5000 is not between"):
        keys.create("x", priority=5000)
    assert keys.list() == []


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
