from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulou.core.errors import ServiceError
from tulou.service.gateway.head import pairs
from tulou.service.gateway.limits import (
    Cost,
    Ledger,
    Meter,
    budgets_from,
    duration,
    estimate,
    parse_budgets,
    window,
)


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> float:
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("period", "now", "starts", "ends"),
    [
        ("minute", at(2026, 11, 28, 12, 30, 59), at(2026, 11, 28, 12, 30), at(2026, 11, 28, 12, 31)),
        ("day", at(2026, 11, 28, 23, 59), at(2026, 11, 28), at(2026, 11, 29)),
        ("month", at(2026, 11, 28), at(2026, 11, 1), at(2026, 12, 1)),
        ("month", at(2026, 12, 31, 23, 59, 59), at(2026, 12, 1), at(2027, 1, 1)),
        ("month", at(2028, 2, 29), at(2028, 2, 1), at(2028, 3, 1)),
    ],
)
def test_windows_are_those_of_the_calendar_in_utc(period: str, now: float, starts: float, ends: float) -> None:
    assert window(period, now) == (starts, ends)  # type: ignore[arg-type]


def test_the_minute_before_fades() -> None:
    meter = Meter("minute", 600.0, used=60)
    meter.turn(660.0)
    assert [meter.level(now) for now in (660.0, 675.0, 690.0, 719.9)] == pytest.approx([60, 45, 30, 0.1])
    meter.turn(720.0)
    assert meter.level(720.0) == 0
    meter.used = 60
    meter.turn(1000.0)  # a pause of minutes
    assert meter.level(1000.0) == 0


def test_a_day_begins_at_nothing() -> None:
    meter = Meter("day", at(2026, 11, 28, 23, 59), used=100)
    meter.turn(at(2026, 11, 29))
    assert meter.level(at(2026, 11, 29)) == 0


def test_what_is_settled_late_counts_where_it_was_reserved() -> None:
    meter = Meter("minute", 600.0, used=100)
    meter.turn(660.0)
    meter.add(-40, at=650.0)
    assert (meter.used, meter.before) == (0, 60)
    meter.add(-40, at=665.0)
    assert meter.used == 0  # never less than nothing
    meter.add(7, at=10.0)
    assert (meter.used, meter.before) == (0, 60)
    day = Meter("day", at(2026, 11, 29), used=5)
    day.add(100, at=at(2026, 11, 28))
    assert day.used == 5


def test_of_two_budgets_used_up_the_longer_one_is_told() -> None:
    budgets = budgets_from({"requests/minute": 1, "tokens/day": 10})
    meters = [Meter(each.period, 0.0, used=each.amount) for each in budgets]
    ledger = Ledger(budgets, meters)
    found = ledger.over(Cost(1, 5), 0.0)
    told = ledger.refusal(Cost(1, 5), 0.0, found)
    assert (told.budget.name, told.used, told.cost, told.retry_after_s) == ("tokens/day", 10, 5, 86_400)
    assert not told.is_too_large
    assert ledger.refusal(Cost(1, 11), 0.0, found).is_too_large
    assert Ledger(budgets, [Meter(each.period, 0.0) for each in budgets]).over(Cost(1, 10), 0.0) == -1


@given(
    used=st.integers(0, 100),
    before=st.integers(0, 100),
    cost=st.integers(1, 100),
    now=st.floats(600.0, 659.9),
)
def test_whoever_waits_as_long_as_told_is_let_in_and_not_much_too_late(
    used: int, before: int, cost: int, now: float
) -> None:
    budgets = budgets_from({"tokens/minute": 100})
    meter = Meter("minute", now, used, before)
    wait_s = meter.room_in_s(cost, 100, now)
    if Ledger(budgets, [meter]).over(Cost(0, cost), now) < 0:
        assert wait_s == pytest.approx(0, abs=1e-6)
        return
    if wait_s > 0.1:
        early = Meter("minute", now, used, before)
        early.turn(now + wait_s - 0.1)
        assert Ledger(budgets, [early]).over(Cost(0, cost), now + wait_s - 0.1) == 0
    meter.turn(now + wait_s + 1e-6)
    assert Ledger(budgets, [meter]).over(Cost(0, cost), now + wait_s + 1e-6) == -1


@given(st.lists(st.floats(0, 300), min_size=1, max_size=300))
def test_no_stretch_of_a_minute_lets_twice_the_limit_through(times: list[float]) -> None:
    budgets = budgets_from({"requests/minute": 10})
    meter = Meter("minute", 0.0)
    admitted = []
    for now in sorted(times):
        meter.turn(now)
        if Ledger(budgets, [meter]).over(Cost(1), now) < 0:
            meter.add(1, now)
            admitted.append(now)
    for i, first in enumerate(admitted):
        within = [each for each in admitted[i:] if each < first + 60]
        assert len(within) < 20
    for start in (0, 60, 120, 180, 240):
        assert sum(start <= each < start + 60 for each in admitted) <= 10


def test_headers_are_openais() -> None:
    budgets = budgets_from({"requests/minute": 60, "requests/day": 1000, "tokens/day": 5000, "money/month": 3})
    noon = at(2026, 11, 28, 12)
    meters = [Meter(each.period, noon) for each in budgets]
    for budget, meter in zip(budgets, meters, strict=True):
        meter.add(1 if budget.unit == "requests" else 120.5, noon)
    assert dict(pairs(Ledger(budgets, meters).lines(noon))) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"2m0s",
        b"x-ratelimit-limit-tokens": b"5000",
        b"x-ratelimit-remaining-tokens": b"4879",
        b"x-ratelimit-reset-tokens": b"12h0m0s",
    }
    assert Ledger(budgets_from({"money/day": 1}), [Meter("day", noon)]).lines(noon) == b""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0201, "21ms"), (1, "1s"), (8.64, "8.64s"), (60, "1m0s"), (360, "6m0s"), (86_348.2, "23h59m9s")],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds).decode() == text


def test_a_request_reserves_its_length_and_what_it_may_write() -> None:
    assert estimate(1000, None) == (250, 0)
    assert estimate(1000, 50, 3) == (250, 150)


def test_budgets_are_read_from_the_command_line() -> None:
    assert parse_budgets(["requests/minute=60", "tokens/day=1_000_000", "money/month=none"]) == {
        "requests/minute": 60,
        "tokens/day": 1_000_000,
        "money/month": None,
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("requests/minute", "is no budget; write one as requests/minute=60"),
        ("requests/minute=many", "is no budget"),
        ("words/minute=1", "unknown budget 'words/minute'; it is requests|tokens|money/minute|day|month"),
        ("requests/year=1", "unknown budget 'requests/year'"),
        ("requests/day=-1", "is not between 0 and"),
        ("requests/day=nan", "is not between 0 and"),
        ("requests/day=inf", "is not between 0 and"),
    ],
)
def test_a_budget_that_is_none_is_one_sentence(text: str, told: str) -> None:
    with pytest.raises(ServiceError, match=told.replace("|", r"\|")):
        parse_budgets([text])


@pytest.mark.parametrize(("max_tokens", "n"), [(-1_000_000, 1), (5, -3), (-5, -3), (10**400, 10**400)])
def test_nonsense_of_a_client_neither_gives_to_a_budget_nor_breaks_it(max_tokens: int, n: int) -> None:
    prompt, completion = estimate(400, max_tokens, n)
    assert (prompt, completion >= 0) == (100, True)
    budgets = budgets_from({"tokens/minute": 1000})
    meter = Meter("minute", 0.0, used=900.0)
    Ledger(budgets, [meter]).over(Cost(1, prompt + completion), 0.0)
    meter.add(prompt + completion, 0.0)
    assert meter.used >= 1000
