from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from tests.apps.fakes import ADMIN_KEY, FakeAccounts

from tulou.apps.limits import TokenBuckets
from tulou.apps.sessions import SESSION_COOKIE, SESSION_S, VISITOR_COOKIE, Sessions


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def request(cookie: str = "", scheme: str = "http") -> Request:
    headers = [(b"cookie", cookie.encode())]
    return Request(
        {
            "type": "http",
            "scheme": scheme,
            "path": "/",
            "server": ("localhost", 80),
            "headers": headers,
            "query_string": b"",
        }
    )


def signed_in(sessions: Sessions, scheme: str = "http") -> tuple[str, str]:
    """The cookie a browser sends back, and all that the server said about it."""
    account = sessions.accounts.by_key(ADMIN_KEY)
    assert account is not None
    response = Response()
    sessions.start(response, account, request(scheme=scheme))
    said = response.headers["set-cookie"]
    return said.partition(";")[0], said


async def test_a_session_lasts_until_it_ends() -> None:
    clock = Clock()
    sessions = Sessions(FakeAccounts(), b"s" * 32, clock)
    cookie, _ = signed_in(sessions)
    account = await sessions.account(request(cookie))
    assert account is not None
    assert account.name == "first"
    clock.at += SESSION_S + 1
    assert await sessions.account(request(cookie)) is None


async def test_a_revoked_key_ends_its_sessions_at_once() -> None:
    accounts = FakeAccounts()
    sessions = Sessions(accounts, b"s" * 32, Clock())
    cookie, _ = signed_in(sessions)
    accounts.accounts.clear()
    assert await sessions.account(request(cookie)) is None


async def test_a_forged_session_is_nobody() -> None:
    sessions = Sessions(FakeAccounts(), b"s" * 32, Clock())
    cookie, _ = signed_in(Sessions(FakeAccounts(), b"other secret" * 3, Clock()))
    for forged in (
        cookie,
        f"{SESSION_COOKIE}=k1.99999999999.",
        f"{SESSION_COOKIE}=k1.99999999999.00",
        f"{SESSION_COOKIE}=é",
    ):
        assert await sessions.account(request(forged)) is None


def test_a_cookie_is_good_for_its_own_purpose_only() -> None:
    sessions = Sessions(FakeAccounts(), b"s" * 32, Clock())
    session, _ = signed_in(sessions)
    stranger, is_new = sessions.visitor(request(session.replace(SESSION_COOKIE, VISITOR_COOKIE)))
    assert is_new
    assert "k1" not in stranger


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites() -> None:
    _, said = signed_in(Sessions(FakeAccounts(), b"s" * 32, Clock()))
    assert "HttpOnly" in said
    assert "SameSite=strict" in said
    assert "Secure" not in said
    _, said = signed_in(Sessions(FakeAccounts(), b"s" * 32, Clock()), scheme="https")
    assert "Secure" in said


def test_a_burst_is_fine_and_a_flood_waits() -> None:
    clock = Clock()
    buckets = TokenBuckets(burst=3, per_minute=60, now=clock)
    assert [buckets.wait_s("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.wait_s("a") == 1.0
    assert buckets.wait_s("b") == 0.0
    clock.at += 1
    assert buckets.wait_s("a") == 0.0


def test_made_up_visitors_do_not_fill_the_memory() -> None:
    buckets = TokenBuckets(burst=1, per_minute=1, max_keys=2, now=Clock())
    for key in "abc":
        buckets.wait_s(key)
    assert buckets.wait_s("c") > 0
    assert buckets.wait_s("a") == 0.0  # forgotten, so it starts anew
