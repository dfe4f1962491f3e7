"""What was asked and answered, kept in the state database: written after each answer, read by pages and the console.

Plain blocking SQL; callers on the event loop go through a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tulou.core.state import conversations, feedback, turns
from tulou.core.types import Passage


@dataclass(frozen=True)
class Turn:
    """One question with its answer, as stored."""

    id: str
    conversation_id: str
    at: float
    language: str
    question: str
    answer: str
    kind: str
    intent: str | None
    passages: list[dict[str, Any]]
    model: str
    model_version: str
    latency_ms: float
    app: str = "support"
    rating: int | None = None
    comment: str | None = None
    correction: str | None = None


@dataclass(frozen=True)
class AnswerCounts:
    """Answers of an application since some time, by how they were made."""

    total: int
    by_kind: dict[str, int] = field(default_factory=dict)
    up: int = 0
    down: int = 0


def passage_entries(passages: Sequence[Passage], cited: Sequence[Passage]) -> list[dict[str, Any]]:
    """The lineage of an answer as stored: every passage shown to the model, those it rests on marked."""
    cited_ids = {passage.id for passage in cited}
    return [{**asdict(passage), "cited": passage.id in cited_ids} for passage in passages]


def save_turn(state: Engine, turn: Turn, visitor: str | None) -> None:
    """Store an answer, starting its conversation if it is new."""
    row = asdict(turn)
    for key in ("app", "rating", "comment", "correction"):
        row.pop(key)
    with state.begin() as connection:
        updated = connection.execute(
            sa.update(conversations).where(conversations.c.id == turn.conversation_id).values(updated_at=turn.at)
        )
        if not updated.rowcount:
            connection.execute(
                sa.insert(conversations).values(
                    id=turn.conversation_id, app=turn.app, visitor=visitor, created_at=turn.at, updated_at=turn.at
                )
            )
        connection.execute(sa.insert(turns).values(row))


@dataclass(frozen=True)
class Owner:
    visitor: str | None  # None: asked from the command line


def owner_of(state: Engine, conversation_id: str) -> Owner | None:
    """Whose conversation this is; None where there is no such conversation."""
    with state.connect() as connection:
        query = sa.select(conversations.c.visitor).where(conversations.c.id == conversation_id)
        row = connection.execute(query).first()
    return None if row is None else Owner(row.visitor)


def conversation(state: Engine, conversation_id: str) -> list[Turn]:
    """The turns of one conversation, oldest first; empty where there is none."""
    query = _turns().where(turns.c.conversation_id == conversation_id).order_by(turns.c.at, turns.c.id)
    with state.connect() as connection:
        return [Turn(**row) for row in connection.execute(query).mappings()]


def last_question(state: Engine, conversation_id: str) -> str | None:
    query = sa.select(turns.c.question).where(turns.c.conversation_id == conversation_id).order_by(turns.c.at.desc())
    with state.connect() as connection:
        question: str | None = connection.execute(query.limit(1)).scalar_one_or_none()
    return question


def recent_turns(state: Engine, limit: int, before: float | None = None) -> list[Turn]:
    """The newest answers of all applications, newest first; those before a time, for the next page."""
    query = _turns().order_by(turns.c.at.desc(), turns.c.id).limit(limit)
    if before is not None:
        query = query.where(turns.c.at < before)
    with state.connect() as connection:
        return [Turn(**row) for row in connection.execute(query).mappings()]


def count_answers(state: Engine, since: float, app: str = "support") -> AnswerCounts:
    lately = (conversations.c.app == app, turns.c.at >= since)
    asked = sa.select(turns.c.kind, sa.func.count()).join(conversations).where(*lately)
    joined = feedback.join(turns).join(conversations)
    rated = sa.select(feedback.c.rating, sa.func.count()).select_from(joined).where(*lately)
    with state.connect() as connection:
        kinds = {row[0]: row[1] for row in connection.execute(asked.group_by(turns.c.kind))}
        ratings = {row[0]: row[1] for row in connection.execute(rated.group_by(feedback.c.rating))}
    return AnswerCounts(sum(kinds.values()), kinds, ratings.get(1, 0), ratings.get(-1, 0))


def _turns() -> sa.Select[Any]:
    rated = (feedback.c.rating, feedback.c.comment, feedback.c.correction)
    joined = turns.join(conversations).outerjoin(feedback, feedback.c.turn_id == turns.c.id)
    return sa.select(turns, conversations.c.app, *rated).select_from(joined)
