"""What the models were used for, by day, key and model: read from the sums that the gateway keeps, told as rows or CSV.

Blocking SQL, like `history`. Days are those of UTC.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tulou.core.errors import DataError
from tulou.core.state import api_keys, usage_by_day

DAYS = 30  # told where nobody says since when
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would calculate


@dataclass(frozen=True)
class Usage:
    """The requests of one key to one model on one day."""

    day: str  # "2026-11-28"
    key_id: str  # "" for the applications themselves
    key_name: str
    model: str
    requests: int
    failures: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    money: float
    mean_latency_ms: float


@dataclass(frozen=True)
class Days:
    """A stretch of days, both ends included."""

    since: str
    until: str


def days(since: str | None, until: str | None, now: float) -> Days:
    """The days meant; without any, the last thirty. Raises `DataError` for what is no date."""
    last = _date("until", until) if until else datetime.fromtimestamp(now, UTC).date()
    first = _date("since", since) if since else last - timedelta(days=DAYS - 1)
    if first > last:
        raise DataError(f"{first} is after {last}; give the earlier day as since")
    return Days(first.isoformat(), last.isoformat())


def usage(state: Engine, over: Days, key_id: str | None = None) -> list[Usage]:
    """The latest day first, within a day the most tokens first."""
    table = usage_by_day.c
    asked = (
        sa.select(usage_by_day, api_keys.c.name)
        .select_from(usage_by_day.outerjoin(api_keys, table.key_id == api_keys.c.id))
        .where(table.day.between(over.since, over.until))
        .order_by(table.day.desc(), (table.prompt_tokens + table.completion_tokens).desc(), table.key_id, table.model)
    )
    if key_id is not None:
        asked = asked.where(table.key_id == key_id)
    with state.connect() as db:
        return [
            Usage(
                row.day,
                row.key_id,
                row.name or "",
                row.model,
                row.requests,
                row.failures,
                row.cached,
                row.prompt_tokens,
                row.completion_tokens,
                row.money,
                round(row.latency_ms / row.requests, 3),
            )
            for row in db.execute(asked)
        ]


def as_csv(rows: Iterable[Usage]) -> str:
    """With a header line; texts that a spreadsheet would take for a formula begin with an apostrophe."""
    written = io.StringIO()
    names = [field.name for field in fields(Usage)]
    writer = csv.DictWriter(written, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = asdict(row)
        harmless = {name: f"'{each}" for name, each in values.items() if str(each).startswith(_FORMULA)}
        writer.writerow(values | harmless)
    return written.getvalue()


def _date(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise DataError(f"{name} {text!r} is no date; write it as 2026-11-28") from None
