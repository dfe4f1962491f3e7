from __future__ import annotations

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy.exc import SQLAlchemyError

from tulou.core.state import requests, usage_by_day
from tulou.service.gateway.books import FORGET_AT_ONCE, ROWS_AT_ONCE, Books
from tulou.service.gateway.entry import COLUMNS, Row

NOON = 1_795_867_200.0  # 2026-11-28 12:00 UTC
DAY_S = 86_400


def row(number: int, at: float = NOON, key_id: str | None = "key_1", model: str = "m", **more: object) -> Row:
    written = Row(f"req_{number}", at, key_id, "/v1/x", model, "1", "m-0", 200, 10.0, 7, 3, "", False, None, 0.5)
    return replace(written, **more)


def count(state: sa.Engine) -> int:
    with state.connect() as db:
        return int(db.execute(sa.select(sa.func.count()).select_from(requests)).scalar_one())


def totals(state: sa.Engine) -> list[tuple[object, ...]]:
    with state.connect() as db:
        return [tuple(each) for each in db.execute(sa.select(usage_by_day).order_by(*usage_by_day.primary_key))]


def test_rows_and_sums_are_written_together(state: sa.Engine) -> None:
    books = Books(state)
    books.write([row(1), row(2, status=503, money=0.0), row(3, key_id=None), row(4, is_cached=True)])
    books.write([row(5), row(6, at=NOON + DAY_S), row(7, model="n", variant="new", first_token_ms=4.5)])
    assert count(state) == 7
    assert totals(state) == [
        ("2026-11-28", "", "m", 1, 0, 0, 7, 3, 0.5, 10.0),
        ("2026-11-28", "key_1", "m", 4, 1, 1, 28, 12, 1.5, 40.0),
        ("2026-11-28", "key_1", "n", 1, 0, 0, 7, 3, 0.5, 10.0),
        ("2026-11-29", "key_1", "m", 1, 0, 0, 7, 3, 0.5, 10.0),
    ]
    with state.connect() as db:
        kept = db.execute(sa.select(requests).where(requests.c.id == "req_7")).one()
    assert (kept.variant, kept.first_token_ms, kept.is_cached, kept.key_id) == ("new", 4.5, False, "key_1")


def test_many_rows_are_all_written(state: sa.Engine) -> None:
    many = 2 * ROWS_AT_ONCE + 3
    Books(state).write([row(i) for i in range(many)])
    assert count(state) == many
    assert totals(state)[0][3] == many


def test_what_was_written_already_is_not_counted_twice(state: sa.Engine) -> None:
    books = Books(state)
    books.write([row(1), row(2)])
    books.write([row(1), row(2), row(3)])  # as after an answer of the database that was lost
    assert count(state) == 3
    assert totals(state)[0][3] == 3


def test_what_cannot_be_written_leaves_nothing(state: sa.Engine) -> None:
    usage_by_day.drop(state)
    with pytest.raises(SQLAlchemyError):
        Books(state).write([row(1)])
    usage_by_day.create(state)
    assert count(state) == 0


def test_a_row_that_the_database_never_takes_keeps_no_other_out(
    state: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    if state.dialect.name == "sqlite":
        pytest.skip("SQLite takes texts of any length")
    Books(state).write([row(1), row(2), row(3, variant="x" * 100), row(4), row(5)])
    assert count(state) == 4
    assert totals(state)[0][3] == 4
    assert "request req_3 is left out" in caplog.text


def test_old_rows_are_forgotten_and_their_sums_stay(state: sa.Engine) -> None:
    books = Books(state)
    many = FORGET_AT_ONCE + 10
    books.write([row(i, at=NOON - 40 * DAY_S) for i in range(many)] + [row(-1)])
    assert books.forget(NOON - 30 * DAY_S) == many
    assert count(state) == 1
    assert [each[3] for each in totals(state)] == [many, 1]


def test_what_a_key_has_spent_of_the_day_and_the_month_is_told(state: sa.Engine) -> None:
    books = Books(state)
    books.write(
        [row(1), row(2, model="n"), row(3, at=NOON - 3 * DAY_S), row(4, at=NOON - 28 * DAY_S), row(5, key_id="key_2")]
    )
    assert books.spent("key_1", NOON) == {
        "requests/day": 2,
        "tokens/day": 20,
        "money/day": 1.0,
        "requests/month": 3,
        "tokens/month": 30,
        "money/month": 1.5,
    }
    assert set(books.spent("key_new", NOON).values()) == {0.0}


def test_a_row_has_a_field_for_each_column() -> None:
    assert [column.name for column in requests.columns] == list(COLUMNS)
