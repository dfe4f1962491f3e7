"""Tulou's own conversations as a source."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from tests.data.test_databases import collected

from tulou.core.errors import DataError, SettingsError
from tulou.core.settings import SourceSettings
from tulou.core.state import conversations, feedback, open_state, turns
from tulou.data.collect.databases.collect import database_digest

SOURCE = SourceSettings(name="said", url="tulou://feedback")


@pytest.fixture
def state(tmp_path: Path) -> Engine:
    return open_state("sqlite:///.tulou/state.db", tmp_path)


def say(state: Engine, number: int, question: str, answer: str, intent: str | None = None) -> None:
    with state.begin() as connection:
        row = {"id": f"c{number}", "app": "support", "visitor": f"v{number}", "created_at": 1.0, "updated_at": 1.0}
        connection.execute(sa.insert(conversations).values(row))
        connection.execute(
            sa.insert(turns).values(
                id=f"t{number}",
                conversation_id=f"c{number}",
                at=1_790_000_000.0 + number,
                language="zh",
                question=question,
                answer=answer,
                kind="generated",
                intent=intent,
                passages=[],
                model="assistant",
                model_version="1",
                latency_ms=1.0,
            )
        )


def rate(state: Engine, number: int, rating: int, correction: str | None = None) -> None:
    with state.begin() as connection:
        row = {"turn_id": f"t{number}", "at": 1_790_000_100.0, "rating": rating, "correction": correction}
        connection.execute(sa.insert(feedback).values(row))


def test_conversations_become_documents_with_intent_and_visitor(state: Engine, tmp_path: Path) -> None:
    say(state, 1, "退货要多久？", "七天。", "returns")
    say(state, 2, "Where is it?", "On its way.")
    rate(state, 1, -1, "七天内到账。")
    rows, summary = collected(SOURCE, tmp_path, state=lambda: state)
    assert [row["text"] for row in rows] == ["退货要多久？\n七天。\n七天内到账。", "Where is it?\nOn its way."]
    assert [row["label"] for row in rows] == ["returns", None]
    assert [row["subject_id"] for row in rows] == ["v1", "v2"]
    assert [row["position"] for row in rows] == ["row=t1", "row=t2"]
    assert {row["uri"] for row in rows} == {"tulou://feedback"}
    assert rows[0]["modified_at"] > rows[1]["modified_at"]  # it was rated later
    assert summary["documents"] == 2


def test_digest_changes_with_a_turn_a_rating_and_a_deletion_and_with_nothing_else(
    state: Engine, tmp_path: Path
) -> None:
    digests = [database_digest(SOURCE, tmp_path, lambda: state)]
    say(state, 1, "q", "a")
    digests.append(database_digest(SOURCE, tmp_path, lambda: state))
    rate(state, 1, 1)
    digests.append(database_digest(SOURCE, tmp_path, lambda: state))
    assert database_digest(SOURCE, tmp_path, lambda: state) == digests[-1]
    assert len(set(digests)) == 3


def test_feedback_of_a_new_business_is_empty_and_no_error(state: Engine, tmp_path: Path) -> None:
    rows, summary = collected(SOURCE, tmp_path, state=lambda: state)
    assert rows == []
    assert summary["documents"] == 0


def test_only_feedback_is_a_source_of_tulou(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the only source of Tulou's own is tulou://feedback"):
        collected(SourceSettings(name="x", url="tulou://everything"), tmp_path)
    with pytest.raises(DataError, match="needs the state database"):
        collected(SOURCE, tmp_path)


def test_conversations_are_not_quoted_in_answers_unless_asked_for() -> None:
    assert not SOURCE.is_indexed
    assert SourceSettings(name="said", url="tulou://feedback", index=True).is_indexed
