"""What Tulou's own users asked, were answered and said about it, as a table like any other.

It is read whole from the state database each time something in it is new: conversations that were deleted or erased
there leave no copy in increments here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tulou.core.state import conversations, feedback, turns
from tulou.data.collect.databases.table import BATCH_RECORDS, Extent, Record

TEXT = ("question", "answer", "correction")
LABEL = "intent"
SUBJECT = "visitor"

_CHANGED_AT = sa.case((feedback.c.at > turns.c.at, feedback.c.at), else_=turns.c.at)


class FeedbackTable:
    uri = "tulou://feedback"
    name = "feedback"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def extent(self) -> Extent:
        joined = turns.outerjoin(feedback)
        counts = sa.select(sa.func.count(), sa.func.count(feedback.c.id), sa.func.max(_CHANGED_AT)).select_from(joined)
        total, rated, last = self._connection.execute(counts).one()
        return Extent(int(total), 0, (int(rated), last))

    def records(self, since: Any | None) -> Iterator[Record]:
        query = (
            sa.select(
                turns.c.id,
                _CHANGED_AT.label("changed_at"),
                *(turns.c[name] for name in ("question", "answer", "intent", "language", "kind", "model")),
                *(feedback.c[name] for name in ("correction", "comment", "rating")),
                conversations.c.visitor,
            )
            .select_from(turns.join(conversations).outerjoin(feedback))
            .order_by(turns.c.at, turns.c.id)
        )
        options = {"stream_results": True, "yield_per": BATCH_RECORDS}
        for row in self._connection.execute(query, execution_options=options).mappings():
            values = {name: value for name, value in row.items() if name not in ("id", "changed_at")}
            yield Record(row["id"], _time(row["changed_at"]), values)


@contextmanager
def open_feedback(state: Engine) -> Iterator[FeedbackTable]:
    with state.connect() as connection:
        yield FeedbackTable(connection)


def _time(seconds: float) -> str:

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
