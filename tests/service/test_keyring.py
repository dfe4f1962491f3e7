from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.service.clock import Clock

from tulou.core.errors import ServiceError
from tulou.core.state import open_state
from tulou.service.gateway import keyring
from tulou.service.gateway.keyring import CACHE_S, REFRESH_S, STALE_S, Keyring
from tulou.service.gateway.keys import PREFIX, Found, Keys


class WatchedKeys(Keys):
    """Counts what reaches the database, which can be made to fail or to hang."""

    def __init__(self, state: sa.Engine, clock: Clock) -> None:
        super().__init__(state, clock)
        self.asked = 0
        self.fails = False
        self.goes_on = threading.Event()
        self.goes_on.set()

    def look_up(self, digest: str) -> Found | None:
        self.asked += 1
        if self.fails:
            raise sa.exc.OperationalError("SELECT", {}, Exception("gone"))
        self.goes_on.wait(10)
        return super().look_up(digest)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path, clock: Clock) -> WatchedKeys:
    return WatchedKeys(open_state("sqlite:///state.db", tmp_path), clock)


async def settled() -> None:
    """Wait for what goes on in the background."""
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


async def test_many_requests_at_once_ask_the_database_once(keys: WatchedKeys, clock: Clock) -> None:
    key, secret = keys.create("shop")
    ring = Keyring(keys, clock, clock)
    found = await asyncio.gather(*(ring.find(secret) for _ in range(50)))
    assert {each.key.id for each in found if each} == {key.id}
    assert keys.asked == 1


async def test_a_key_in_use_is_looked_up_beside_the_requests(keys: WatchedKeys, clock: Clock) -> None:
    key, secret = keys.create("shop")
    ring = Keyring(keys, clock, clock)
    await ring.find(secret)
    keys.revoke(key.id)
    clock.now += REFRESH_S
    before = await ring.find(secret)  # is not kept waiting
    assert before is not None
    assert before.problem(clock.now) is None
    await settled()
    after = await ring.find(secret)
    assert after is not None
    assert after.problem(clock.now) == "revoked"
    assert keys.asked == 2


async def test_a_key_not_in_use_is_looked_up_before_the_request(keys: WatchedKeys, clock: Clock) -> None:
    key, secret = keys.create("shop")
    ring = Keyring(keys, clock, clock)
    await ring.find(secret)
    keys.revoke(key.id)
    clock.now += CACHE_S
    found = await ring.find(secret)
    assert found is not None
    assert found.problem(clock.now) == "revoked"


async def test_a_wall_clock_that_is_set_back_lets_no_revoked_key_live_on(keys: WatchedKeys, clock: Clock) -> None:
    key, secret = keys.create("shop")
    elapsed = Clock()
    ring = Keyring(keys, clock, elapsed)
    await ring.find(secret)
    assert ring.known(secret) == key
    keys.revoke(key.id)
    clock.now -= 3600
    elapsed.now += CACHE_S
    assert ring.known(secret) is None
    found = await ring.find(secret)
    assert found is not None
    assert found.problem(clock.now) == "revoked"
    assert ring.known(secret) is None  # fresh, but not valid


async def test_wrong_secrets_are_remembered_for_a_while_and_displace_no_key(keys: WatchedKeys, clock: Clock) -> None:
    _, secret = keys.create("shop")
    ring = Keyring(keys, clock, clock)
    await ring.find(secret)
    assert await ring.find("sk-other") is None
    assert keys.asked == 1  # it cannot be ours
    for _ in range(3):
        assert await ring.find(PREFIX + "wrong") is None
    assert keys.asked == 2
    ring._wrong.update(dict.fromkeys((str(i).encode() for i in range(keyring.WRONG_ENTRIES)), 2000.0))
    await ring.find(PREFIX + "another")
    assert len(ring._wrong) < 10
    assert await ring.find(secret) is not None
    assert keys.asked == 3


async def test_known_keys_outlive_a_database_that_is_away(keys: WatchedKeys, clock: Clock) -> None:
    _, secret = keys.create("shop")
    ring = Keyring(keys, clock, clock)
    await ring.find(secret)
    keys.fails = True
    for _ in range(20):
        clock.now += CACHE_S
        assert await ring.find(secret) is not None
        await settled()
    with pytest.raises(ServiceError, match="keys cannot be checked"):
        await ring.find(PREFIX + "unknown")
    clock.now += STALE_S
    with pytest.raises(ServiceError, match="keys cannot be checked"):
        await ring.find(secret)
    keys.fails = False
    clock.now += CACHE_S
    assert await ring.find(secret) is not None
    await settled()


async def test_a_key_too_old_to_count_is_let_in_by_no_look_up_under_way(keys: WatchedKeys, clock: Clock) -> None:
    key, secret = keys.create("shop")
    ring = Keyring(keys, clock, clock)
    await ring.find(secret)
    keys.revoke(key.id)
    clock.now += STALE_S
    keys.goes_on.clear()
    first = asyncio.create_task(ring.find(secret))
    await asyncio.sleep(0.05)  # until it asks the database
    assert ring.known(secret) is None
    second = asyncio.create_task(ring.find(secret))
    await asyncio.sleep(0.05)
    assert not second.done()
    keys.goes_on.set()
    for found in (await first, await second):
        assert found is not None
        assert found.problem(clock.now) == "revoked"


async def test_a_database_that_hangs_keeps_nobody_waiting(
    keys: WatchedKeys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "LOOK_UP_TIMEOUT_S", 0.05)
    keys.goes_on.clear()
    with pytest.raises(ServiceError, match="does not answer"):
        await Keyring(keys, clock, clock).find(PREFIX + "x")
    keys.goes_on.set()


async def test_a_request_that_leaves_does_not_end_the_look_up_of_others(keys: WatchedKeys, clock: Clock) -> None:
    _, secret = keys.create("shop")
    ring = Keyring(keys, clock, clock)
    keys.goes_on.clear()
    leaving, staying = (asyncio.create_task(ring.find(secret)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    keys.goes_on.set()
    assert await staying is not None
    assert leaving.cancelled()
