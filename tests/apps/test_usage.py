from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
import sqlalchemy as sa

from tulou.apps.usage import Days, Usage, as_csv, days, usage
from tulou.core.errors import DataError
from tulou.core.state import api_keys, open_state, usage_by_day

NOON = 1_795_867_200.0  # 2026-11-28 12:00 UTC


@pytest.fixture
def state(tmp_path: Path) -> sa.Engine:
    state = open_state("sqlite:///state.db", tmp_path)
    counts = {"failures": 1, "cached": 0, "completion_tokens": 5, "money": 0.25}
    with state.begin() as db:
        db.execute(
            api_keys.insert(), {"id": "key_1", "hash": "h", "name": "=shop()", "role": "app", "created_at": NOON}
        )
        db.execute(
            usage_by_day.insert(),
            [
                {
                    "day": day,
                    "key_id": key_id,
                    "model": model,
                    "requests": n,
                    "prompt_tokens": 10 * n,
                    "latency_ms": 30.0,
                }
                | counts
                for day, key_id, model, n in (
                    ("2026-11-27", "key_1", "assistant", 2),
                    ("2026-11-28", "", "encoder", 1),
                    ("2026-11-28", "key_1", "assistant", 3),
                    ("2026-10-01", "key_1", "assistant", 9),
                )
            ],
        )
    return state


def test_usage_is_told_by_day_key_and_model(state: sa.Engine) -> None:
    found = usage(state, days(None, None, NOON))
    assert [(each.day, each.key_id, each.requests) for each in found] == [
        ("2026-11-28", "key_1", 3),
        ("2026-11-28", "", 1),
        ("2026-11-27", "key_1", 2),
    ]
    assert found[0] == Usage("2026-11-28", "key_1", "=shop()", "assistant", 3, 1, 0, 30, 5, 0.25, 10.0)
    assert [each.key_name for each in usage(state, Days("2026-11-28", "2026-11-28"), "")] == [""]


def test_days_are_the_last_thirty_unless_said(state: sa.Engine) -> None:
    assert days(None, None, NOON) == Days("2026-10-30", "2026-11-28")
    assert days("2026-01-01", None, NOON) == Days("2026-01-01", "2026-11-28")
    assert days(None, "2026-03-01", NOON) == Days("2026-01-31", "2026-03-01")
    with pytest.raises(DataError, match="since 'yesterday' is no date; write it as 2026-11-28"):
        days("yesterday", None, NOON)
    with pytest.raises(DataError, match="2026-12-01 is after 2026-11-28"):
        days("2026-12-01", None, NOON)


def test_csv_holds_every_row_and_no_formula(state: sa.Engine) -> None:
    found = usage(state, days(None, None, NOON))
    read = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [int(row["requests"]) for row in read] == [3, 1, 2]
    assert read[0]["key_name"] == "'=shop()"
    assert as_csv([]).startswith("day,key_id,key_name,model,requests,failures,cached,prompt_tokens")
