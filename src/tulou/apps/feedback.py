"""Thumbs, comments and corrections on answers: one row an answer, and the last word counts."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from tulou.core.errors import DataError
from tulou.core.state import conversations, feedback, turns
from tulou.core.telemetry import Metrics

RATINGS = {1: "up", -1: "down"}
MAX_CHARS = 4000  # of a comment or correction


def give_feedback(
    state: Engine,
    metrics: Metrics,
    turn_id: str,
    rating: int,
    *,
    at: float,
    comment: str | None = None,
    correction: str | None = None,
    visitor: str | None = None,
) -> None:
    """Store what someone thinks of the answer `turn_id`, replacing what was said about it before.

    With a `visitor`, only answers given to this visitor can be rated. Raises `DataError` for an answer that does not
    exist (or is somebody else's) and for a rating other than 1 and -1. Blocks.
    """
    if rating not in RATINGS:
        raise DataError(f"rating {rating!r} is neither 1 (helpful) nor -1 (not helpful)")
    for name, text in (("comment", comment), ("correction", correction)):
        if text and len(text) > MAX_CHARS:
            raise DataError(
                f"the {name} has {len(text):,} characters; at most {MAX_CHARS:,} are kept, please shorten it"
            )
    row = {"at": at, "rating": rating, "comment": comment or None, "correction": correction or None}
    _require_turn(state, turn_id, visitor)
    try:
        _upsert(state, turn_id, row)
    except IntegrityError:  # two clicks at once: the row is there by now
        _upsert(state, turn_id, row)
    metrics.feedback.labels(rating=RATINGS[rating]).inc()


def _require_turn(state: Engine, turn_id: str, visitor: str | None) -> None:
    query = sa.select(conversations.c.visitor).join(turns).where(turns.c.id == turn_id)
    with state.connect() as connection:
        found = connection.execute(query).first()
    if found is None or (visitor is not None and found.visitor != visitor):
        raise DataError(f"there is no answer {turn_id!r} to rate")


def _upsert(state: Engine, turn_id: str, row: Mapping[str, object]) -> None:
    with state.begin() as connection:
        updated = connection.execute(sa.update(feedback).where(feedback.c.turn_id == turn_id).values(row))
        if not updated.rowcount:
            connection.execute(sa.insert(feedback).values(turn_id=turn_id, **row))
