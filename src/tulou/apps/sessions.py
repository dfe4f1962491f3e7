"""Signed cookies: who is signed in to the console, and which visitor is asking.

A session holds a key's public id and when it ends, signed with HMAC-SHA256, so nothing is stored; the account is looked
up again on every request, and a revoked key ends its sessions at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from tulou.apps.ports import Account, Accounts

SESSION_COOKIE = "tulou_session"
VISITOR_COOKIE = "tulou_visitor"
SESSION_S = 12 * 3600
VISITOR_S = 365 * 24 * 3600


@dataclass(frozen=True)
class Sessions:
    accounts: Accounts
    secret: bytes  # at least 32 random bytes; the same after a restart keeps people signed in
    clock: Callable[[], float] = time.time

    async def sign_in(self, key: str) -> Account | None:
        return await asyncio.to_thread(self.accounts.by_key, key)

    async def account(self, request: Request) -> Account | None:
        """Who is signed in, or None."""
        value = self._open(SESSION_COOKIE, request)
        if value is None:
            return None
        key_id, _, ends = value.rpartition(".")
        if not ends.isdigit() or int(ends) < self.clock():
            return None
        return await asyncio.to_thread(self.accounts.by_id, key_id)

    def start(self, response: Response, account: Account, request: Request) -> None:
        value = self._sign(SESSION_COOKIE, f"{account.id}.{int(self.clock()) + SESSION_S}")
        _set_cookie(response, SESSION_COOKIE, value, SESSION_S, request)

    def end(self, response: Response) -> None:
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")

    def visitor(self, request: Request) -> tuple[str, bool]:
        """The id of whoever is asking, and whether it was made up just now."""
        known = self._open(VISITOR_COOKIE, request)
        return (known, False) if known else (secrets.token_hex(16), True)

    def remember_visitor(self, response: Response, visitor: str, request: Request) -> None:
        _set_cookie(response, VISITOR_COOKIE, self._sign(VISITOR_COOKIE, visitor), VISITOR_S, request)

    def _sign(self, cookie: str, value: str) -> str:
        """`value` with a signature that is good for this cookie alone."""
        return f"{value}.{hmac.new(self.secret, f'{cookie}={value}'.encode(), hashlib.sha256).hexdigest()}"

    def _open(self, cookie: str, request: Request) -> str | None:
        signed = request.cookies.get(cookie, "")
        value, _, _signature = signed.rpartition(".")
        return value if value and hmac.compare_digest(self._sign(cookie, value).encode(), signed.encode()) else None


def _set_cookie(response: Response, name: str, value: str, max_age_s: int, request: Request) -> None:
    response.set_cookie(
        name, value, max_age=max_age_s, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
