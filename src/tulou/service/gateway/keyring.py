"""The keys that requests came with lately, so that the path of a request asks the database seldom and waits less.

A key in use is looked up again in the background every few seconds, which is also how long a revoked one may still
work in another process. While the database is away, keys that were good go on being good for five minutes. Secrets that
are wrong are remembered too, apart, so that whoever tries many of them displaces nobody.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from tulou.core.errors import ServiceError
from tulou.service.gateway import refusals
from tulou.service.gateway.keys import PREFIX, Found, Key, Keys

REFRESH_S = 2.0  # then what was found is looked up again, beside the request
CACHE_S = 5.0  # then a request waits for that
STALE_S = 300.0  # then even a database that is away is no excuse
LOOK_UP_TIMEOUT_S = 2.0
WRONG_ENTRIES = 10_000  # bounds memory when someone tries many wrong keys

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    found: Found
    at: float  # when the database said so; times are monotonic, since clocks on walls are set
    tried_at: float  # when it was last asked
    is_away: bool = False  # whether it did not answer then
    good_until: float = -math.inf  # by the clock on the wall; never where the key is not good

    def is_fresh(self, now: float) -> bool:
        """Whether what it said still counts."""
        return now - self.at < (STALE_S if self.is_away else CACHE_S)


class Keyring:
    def __init__(
        self, keys: Keys, now: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = keys
        self._now = now
        self._clock = clock
        self._held: dict[bytes, _Held] = {}
        self._wrong: dict[bytes, float] = {}  # until when a wrong secret is not looked up again
        self._looking: dict[bytes, asyncio.Task[Found | None]] = {}

    def known(self, secret: str) -> Key | None:
        """`valid` where nothing is to be waited for or to be said against the key; else None."""
        held = self._held.get(_digest(secret))
        if held is None or self._now() >= held.good_until:
            return None
        now = self._clock()
        return held.found.key if now - held.tried_at < REFRESH_S and held.is_fresh(now) else None

    async def valid(self, secret: str) -> Key:
        """The key that `secret` belongs to. Raises `ApiError` where it is wrong or no longer valid, or nobody knows."""
        try:
            found = await self.find(secret)
        except ServiceError as err:
            raise refusals.state_unavailable(str(err)) from err
        if found is None:
            raise refusals.key_wrong(secret)
        if problem := found.problem(self._now()):
            raise refusals.key_not_valid(problem)
        return found.key

    async def find(self, secret: str) -> Found | None:
        """The key that `secret` belongs to, in whatever state; None where it is wrong. Waits for the database only
        where the key was not met lately. Raises `ServiceError` where the database does not answer.
        """
        digest, now = _digest(secret), self._clock()
        held = self._held.get(digest)
        if held is None:
            if not secret.startswith(PREFIX) or self._wrong.get(digest, 0.0) > now:
                return None
            return await asyncio.shield(self._look_up(digest))
        if held.is_fresh(now) and now - held.tried_at < REFRESH_S:
            return held.found
        looking = self._look_up(digest)
        return held.found if held.is_fresh(now) else await asyncio.shield(looking)

    def _look_up(self, digest: bytes) -> asyncio.Task[Found | None]:
        """One look-up at a time for each secret, which goes on if the request that began it is cancelled."""
        task = self._looking.get(digest)
        if task is None:
            task = self._looking[digest] = asyncio.create_task(self._ask(digest))
            task.add_done_callback(lambda done: self._done(digest, done))
        return task

    async def _ask(self, digest: bytes) -> Found | None:
        held = self._held.get(digest)
        if held is not None:
            held.tried_at = self._clock()
        try:
            async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
                found = await asyncio.to_thread(self._keys.look_up, digest.hex())
        except (SQLAlchemyError, TimeoutError) as err:
            if held is not None and self._clock() - held.at < STALE_S:
                held.is_away = True
                logger.warning(
                    "the state database does not tell of key %s, which stays good: %s", held.found.key.id, err
                )
                return held.found
            raise ServiceError("keys cannot be checked: the state database does not answer") from err
        self._remember(digest, found)
        return found

    def _remember(self, digest: bytes, found: Found | None) -> None:
        now = self._clock()
        if found is not None:
            self._held[digest] = _Held(found, now, now, good_until=found.good_until)
            return
        self._held.pop(digest, None)
        if len(self._wrong) >= WRONG_ENTRIES:
            self._wrong.clear()
        self._wrong[digest] = now + CACHE_S

    def _done(self, digest: bytes, task: asyncio.Task[Found | None]) -> None:
        self._looking.pop(digest, None)
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody may be


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()
