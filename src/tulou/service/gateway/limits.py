"""What a key may use in a minute, a day and a month: pure arithmetic on counts, told the time, asked by `counters`.

A request reserves what it may cost before it is answered, and the difference to what it did cost is settled after.

A minute is a sliding window: what was used in this minute, and of the minute before the share that still lies within
60 seconds. Two numbers for each budget, and no burst of twice the limit where two fixed windows meet; the price is that
the minute before counts as evenly spread (Cloudflare, "How we built rate limiting capable of scaling to millions of
domains", 2017: 0.003 % of 400 million requests decided wrongly). Days and months are those of the calendar in UTC,
because bills are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from tulou.core.errors import ServiceError

Unit = Literal["requests", "tokens", "money"]
Period = Literal["minute", "day", "month"]
UNITS: tuple[Unit, ...] = get_args(Unit)
PERIODS: tuple[Period, ...] = get_args(Period)

MINUTE_S, DAY_S = 60.0, 86_400.0
ROUNDING = 1e-9  # sums of money and of shares are floats
BYTES_PER_TOKEN = 4  # English text in byte-pair tokens, OpenAI's rule of thumb; Chinese takes 3 bytes a character
MAX_BUDGET = 1e15  # beyond which a float no longer counts single tokens
MOST_TOKENS = 10 * int(MAX_BUDGET)  # of one request: more than any budget has


class Cost(NamedTuple):
    requests: float = 0.0
    tokens: float = 0.0
    money: float = 0.0


class Budget(NamedTuple):
    unit: Unit
    period: Period
    amount: float

    @property
    def name(self) -> str:
        return f"{self.unit}/{self.period}"


Budgets = tuple[Budget, ...]  # longest period first: of two budgets used up, the one that takes longer is told


class Meter:
    """How much of one budget is used: in the window that `starts` and `ends`, and in the minute before."""

    __slots__ = ("before", "ends", "fades_s", "period", "starts", "used")

    def __init__(self, period: Period, now: float, used: float = 0.0, before: float = 0.0) -> None:
        self.period = period
        self.fades_s = MINUTE_S if period == "minute" else 0.0  # after its window, until it no longer counts
        self.used = used
        self.before = before
        self.starts, self.ends = window(period, now)

    def turn(self, now: float) -> None:
        """Go on to the window that `now` lies in."""
        if self.starts <= now < self.ends:
            return
        is_next = self.period == "minute" and self.ends <= now < self.ends + MINUTE_S
        self.before = self.used if is_next else 0.0
        self.used = 0.0
        self.starts, self.ends = window(self.period, now)

    def level(self, now: float) -> float:
        """What counts as used at `now`."""
        return self.used + self.before * self.weight(now) if self.before else self.used

    def weight(self, now: float) -> float:
        """The share of the minute before that lies within the last 60 seconds."""
        return min((self.ends - now) / MINUTE_S, 1.0) if self.period == "minute" else 0.0

    def add(self, amount: float, at: float) -> None:
        """Count `amount` in the window of `at`; what lies before both windows has been forgotten already."""
        if at >= self.starts:
            self.used = max(self.used + amount, 0.0)
        elif self.period == "minute" and at >= self.starts - MINUTE_S:
            self.before = max(self.before + amount, 0.0)

    def room_in_s(self, cost: float, amount: float, now: float) -> float:
        """Seconds until `cost` fits into a budget of `amount`, if nothing else is used meanwhile."""
        room = amount - cost
        if self.period != "minute":
            return self.ends - now
        if self.used <= room:  # once enough of the minute before has faded
            faded_at = self.ends - MINUTE_S * (room - self.used) / self.before if self.before else now
        else:  # once this minute is the one before, and enough of it has faded
            faded_at = self.ends + MINUTE_S * (1 - max(room, 0.0) / self.used if self.used else 1)
        return max(faded_at - now, 0.0)

    def reset_s(self, now: float) -> float:
        """Seconds until nothing counts as used."""
        if self.used:
            return self.ends + self.fades_s - now
        return self.ends - now if self.before else 0.0


@dataclass(frozen=True)
class Refusal:
    """Why a request may not be answered now."""

    budget: Budget
    used: float
    cost: float
    retry_after_s: float

    @property
    def is_too_large(self) -> bool:
        """Whether it would not fit into an unused budget either."""
        return self.cost > self.budget.amount


def window(period: Period, now: float) -> tuple[float, float]:
    """Start and end of the minute, the day or the month of `now` in UTC, in seconds since the epoch."""
    if period != "month":
        length = MINUTE_S if period == "minute" else DAY_S
        start = now // length * length
        return start, start + length
    day = datetime.fromtimestamp(now, UTC)
    first = datetime(day.year, day.month, 1, tzinfo=UTC)
    after = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return first.timestamp(), after.timestamp()


class Ledger:
    """One key's budgets with a meter for each. What a request asks of them is worked out once, here."""

    __slots__ = ("_counted", "_lines", "_shown", "_since", "_until", "budgets", "meters")

    def __init__(self, budgets: Budgets, meters: Sequence[Meter]) -> None:
        self.budgets = budgets
        self.meters = meters
        self._counted = [
            (meter, UNITS.index(budget.unit), budget.amount + ROUNDING)
            for budget, meter in zip(budgets, meters, strict=True)
        ]
        shortest = {budget.unit: (budget, meter) for budget, meter in zip(budgets, meters, strict=True)}
        told = [(unit, *shortest[unit]) for unit in UNITS if unit in shortest and unit != "money"]
        self._shown = [(meter, budget.amount + ROUNDING) for _, budget, meter in told]
        self._lines = b"".join(_LINES % {b"unit": unit.encode(), b"limit": budget.amount} for unit, budget, _ in told)
        self._note_windows()

    def _note_windows(self) -> None:
        self._since = max((meter.starts for meter in self.meters), default=-math.inf)
        self._until = min((meter.ends for meter in self.meters), default=math.inf)

    def turn(self, now: float) -> None:
        """Go on to the windows that `now` lies in."""
        for meter in self.meters:
            meter.turn(now)
        self._note_windows()

    def over(self, cost: Cost, now: float) -> int:
        """The index of the first budget that `cost` does not fit into, or -1."""
        for i, (meter, unit, most) in enumerate(self._counted):
            if (meter.level(now) if meter.before else meter.used) + cost[unit] > most:
                return i
        return -1

    def admit(self, cost: Cost, now: float) -> int:
        """`over`, at whatever time, and `cost` is counted where it is over none."""
        if not self._since <= now < self._until:
            self.turn(now)
        index = self.over(cost, now)
        if index < 0:
            for meter, unit, _ in self._counted:
                meter.used += cost[unit]
        return index

    def add(self, cost: Cost, at: float) -> None:
        """Count `cost`, which may be less than nothing, in the windows of `at`."""
        if at < self._since:
            for meter, unit, _ in self._counted:
                meter.add(cost[unit], at)
            return
        for meter, unit, _ in self._counted:
            used = meter.used + cost[unit]
            meter.used = used if used > 0.0 else 0.0

    def refusal(self, cost: Cost, now: float, index: int) -> Refusal:
        budget, meter = self.budgets[index], self.meters[index]
        needed: float = getattr(cost, budget.unit)
        return Refusal(budget, meter.level(now), needed, meter.room_in_s(needed, budget.amount, now))

    def lines(self, now: float) -> bytes:
        """OpenAI's `x-ratelimit-*`, for requests and tokens each of the shortest period that has a budget."""
        told: list[int | bytes] = []
        for meter, most in self._shown:
            left = int(most - (meter.level(now) if meter.before else meter.used))
            reset_s = meter.ends + meter.fades_s - now if meter.used else meter.reset_s(now)
            told += (left if left > 0 else 0), duration(reset_s if reset_s < MINUTE_S else math.ceil(reset_s))
        return self._lines % (*told,)


_LINES = (  # the limit is known beforehand, what remains and until when is not
    b"x-ratelimit-limit-%(unit)b: %(limit)d\r\n"
    b"x-ratelimit-remaining-%(unit)b: %%d\r\n"
    b"x-ratelimit-reset-%(unit)b: %%b\r\n"
)


@lru_cache(maxsize=1024)  # in whole seconds from a minute on, so that it is the same for many requests
def duration(seconds: float) -> bytes:
    """As OpenAI writes it, which is Go's way: `20ms`, `8.64s`, `6m0s`, `23h59m8s`."""
    if seconds < 1:
        return b"%dms" % math.ceil(seconds * 1000)
    if seconds < MINUTE_S:
        return f"{seconds:.2f}".rstrip("0").rstrip(".").encode() + b"s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%ds" % (hours, minutes, rest) if hours else b"%dm%ds" % (minutes, rest)


def estimate(body_bytes: int, max_tokens: int | None, n: int = 1) -> tuple[int, int]:
    """Prompt and completion tokens to reserve for a request, by OpenAI's rule: from its length and `max_tokens`.

    Who does not say `max_tokens` reserves the prompt alone, so answers under way may overrun a budget by their length.
    Both numbers are the client's and unread so far: nonsense must neither add to a budget nor be too large for a float.
    """
    if not max_tokens or max_tokens < 0:
        return body_bytes // BYTES_PER_TOKEN, 0
    return body_bytes // BYTES_PER_TOKEN, min(max_tokens * n if n > 1 else max_tokens, MOST_TOKENS)


def budgets_from(amounts: Mapping[str, float] | None) -> Budgets:
    """`{"requests/minute": 60}` as budgets, in the order that `over` wants."""
    found = [_budget(name, amount) for name, amount in (amounts or {}).items()]
    return tuple(sorted(found, key=lambda each: (-PERIODS.index(each.period), UNITS.index(each.unit))))


def parse_budgets(texts: Iterable[str]) -> dict[str, float | None]:
    """`["requests/minute=60", "money/month=none"]` to amounts by name. Raises `ServiceError` where one is none."""
    amounts: dict[str, float | None] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            amount = None if value == "none" else float(value.replace("_", ""))
        except ValueError:
            raise ServiceError(
                f"{text!r} is no budget; write one as requests/minute=60, or =none for no limit"
            ) from None
        _budget(name, 1.0 if amount is None else amount)
        amounts[name] = amount
    return amounts


def _budget(name: str, amount: float) -> Budget:
    unit, _, period = name.partition("/")
    if unit not in UNITS or period not in PERIODS:
        raise ServiceError(f"unknown budget {name!r}; it is {'|'.join(UNITS)}/{'|'.join(PERIODS)}, as in tokens/day")
    if not 0 <= amount <= MAX_BUDGET:
        raise ServiceError(f"the budget {name}={amount:g} is not between 0 and {MAX_BUDGET:g}")
    return Budget(unit, period, amount)
