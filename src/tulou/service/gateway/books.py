"""The accounts in the state database: a row for each request, and sums by day that stay when the rows are forgotten.

Rows and sums are written in one transaction, so they agree. Rows go to the driver hundreds in one statement: row by
row, this thread and the event loop would hand the interpreter to each other ten thousand times a second. There are two
statements, since SQLite keeps every one it has seen: a large one takes 200 KB. All calls block.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import sqlalchemy as sa
from msgspec.structs import astuple
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from tulou.core.state import requests, usage_by_day
from tulou.service.gateway.entry import COLUMNS, Row

ROWS_AT_ONCE = 500  # in one statement: 7,500 values; SQLite takes 32,766, PostgreSQL 65,535
FORGET_AT_ONCE = 5_000  # rows deleted in one transaction, so that nobody waits long for the table

logger = logging.getLogger(__name__)

_SUMS = [column.name for column in usage_by_day.columns if not column.primary_key]


def values(row: Row) -> tuple[Any, ...]:
    """In the order of the columns. An entry is a row, and has more fields behind."""
    return astuple(row)[: len(COLUMNS)]


class Books:
    def __init__(self, state: sa.Engine) -> None:
        self._state = state
        mark = "?" if state.dialect.paramstyle == "qmark" else "%s"
        values = f"({', '.join([mark] * len(COLUMNS))})"
        self._insert_one = f"INSERT INTO requests ({', '.join(COLUMNS)}) VALUES {values}"  # noqa: S608 -- our names
        self._insert_many = self._insert_one + f", {values}" * (ROWS_AT_ONCE - 1)
        self._add = _adding(state.dialect.name)

    def write(self, rows: Sequence[Row]) -> None:
        """Raises `SQLAlchemyError`; then nothing was written, as far as anybody knows, and it may be tried again."""
        try:
            self._write(rows)
        except IntegrityError:  # an earlier try was written although its end was not heard of
            self._write(self._unwritten(rows))
        except DataError as err:  # one that the database will never take must not keep the others out
            if len(rows) == 1:
                logger.error("accounting: request %s is left out, the database does not take it: %s", rows[0].id, err)
                return
            middle = len(rows) // 2
            self.write(rows[:middle])
            self.write(rows[middle:])

    def _write(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        with self._state.begin() as db:
            whole = len(rows) - len(rows) % ROWS_AT_ONCE
            for start in range(0, whole, ROWS_AT_ONCE):
                many = chain.from_iterable(map(values, rows[start : start + ROWS_AT_ONCE]))
                db.exec_driver_sql(self._insert_many, tuple(many))
            if rest := rows[whole:]:
                db.exec_driver_sql(self._insert_one, [values(row) for row in rest])
            db.execute(self._add, sums(rows))

    def _unwritten(self, rows: Sequence[Row]) -> list[Row]:
        written: set[str] = set()
        with self._state.connect() as db:
            for start in range(0, len(rows), 500):
                ids = [row.id for row in rows[start : start + 500]]
                written.update(db.scalars(sa.select(requests.c.id).where(requests.c.id.in_(ids))))
        return [row for row in rows if row.id not in written]

    def forget(self, before: float) -> int:
        """Delete the rows of requests from before then; returns how many."""
        old = sa.select(requests.c.id).where(requests.c.at < before).limit(FORGET_AT_ONCE).scalar_subquery()
        deleted = 0
        while True:
            with self._state.begin() as db:
                count = db.execute(requests.delete().where(requests.c.id.in_(old))).rowcount
            deleted += count
            if count < FORGET_AT_ONCE:
                return deleted
            time.sleep(0.05)

    def spent(self, key_id: str, now: float) -> Mapping[str, float]:
        """What the key has used of this day and this month, as `counters.Spent` tells it."""
        today = day_of(now)
        table = usage_by_day.c
        tokens = table.prompt_tokens + table.completion_tokens
        spent: dict[str, float] = {}
        with self._state.connect() as db:
            for period, since in (("day", today), ("month", today[:8] + "01")):
                total = sa.select(sa.func.sum(table.requests), sa.func.sum(tokens), sa.func.sum(table.money))
                asked = total.where(table.key_id == key_id, table.day >= since, table.day <= today)
                for unit, amount in zip(("requests", "tokens", "money"), db.execute(asked).one(), strict=True):
                    spent[f"{unit}/{period}"] = float(amount or 0)
        return spent


def sums(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """What `rows` add to the sums of their days, keys and models."""
    found: dict[tuple[int, str, str], list[float]] = {}
    for row in rows:
        slot = (int(row.at // 86_400), row.key_id or "", row.model)
        total = found.get(slot)
        if total is None:
            total = found[slot] = [0, 0, 0, 0, 0, 0.0, 0.0]
        total[0] += 1
        total[1] += row.status >= 500
        total[2] += row.is_cached
        total[3] += row.prompt_tokens
        total[4] += row.completion_tokens
        total[5] += row.money
        total[6] += row.latency_ms
    return [
        {"day": day_of(day * 86_400.0), "key_id": key_id, "model": model} | dict(zip(_SUMS, total, strict=True))
        for (day, key_id, model), total in sorted(found.items())  # in one order, so that two gateways cannot deadlock
    ]


def day_of(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _adding(dialect: str) -> Any:
    insert = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(usage_by_day)
    grown = {name: usage_by_day.c[name] + insert.excluded[name] for name in _SUMS}
    return insert.on_conflict_do_update(index_elements=["day", "key_id", "model"], set_=grown)
