"""From an answer back to the files it rests on: turn → passages → cleaned documents → cleaning decisions → raw files.

Nothing is inferred: each link was written down when it was made, in the state database or in a stage's output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tulou.core.errors import DataError
from tulou.core.state import feedback, turns

NAMED_IDS = 5  # of answers that begin alike


def trace_answer(turn_id: str, state: Engine, cleaned: Mapping[str, Path], passages: Path) -> dict[str, Any]:
    """Everything known about how the answer came to be whose id is, or begins with, `turn_id`.

    `cleaned` maps each source to its cleaning stage's folder, `passages` is the folder of the passages' Parquet.
    Raises `DataError` if there is no such answer, or several are.
    """
    with state.connect() as connection:
        turn = _turn(connection, turn_id)
        rated = connection.execute(sa.select(feedback).where(feedback.c.turn_id == turn["id"])).mappings().one_or_none()
    passage_ids = [passage["id"] for passage in turn["passages"]]
    rows = {row["id"]: row for row in _rows(passages, "passages-*.parquet", "id", passage_ids)}
    return {
        "answer": {
            key: turn[key]
            for key in ("id", "conversation_id", "at", "language", "question", "answer", "kind", "intent", "latency_ms")
        },
        "model": {"name": turn["model"], "version": turn["model_version"]},
        "feedback": dict(rated) if rated else None,
        "passages": [_with_document(rows[id_], cleaned) for id_ in passage_ids if id_ in rows],
        "no_longer_in_the_index": [id_ for id_ in passage_ids if id_ not in rows],
    }


def _turn(connection: sa.Connection, given: str) -> sa.RowMapping:
    alike = sa.select(turns).where(turns.c.id.startswith(given, autoescape=True)).order_by(turns.c.id)
    found = connection.execute(alike.limit(NAMED_IDS + 1)).mappings().all() if given else []
    exact = [turn for turn in found if turn["id"] == given]
    if not found:
        raise DataError(f"there is no answer {given!r}; the console lists recent ones, and each answer carries its id")
    if not exact and len(found) > 1:
        named = ", ".join(turn["id"] for turn in found[:NAMED_IDS]) + (" and more" if len(found) > NAMED_IDS else "")
        raise DataError(f"several answers begin with {given!r}: {named}; give more of the id")
    return (exact or found)[0]


def _with_document(passage: dict[str, Any], cleaned: Mapping[str, Path]) -> dict[str, Any]:
    folder = cleaned[passage["source"]]
    documents = _rows(folder, "documents-*.parquet", "id", [passage["document_id"]])
    decisions = _rows(folder, "decisions-*.parquet", "record_id", [passage["document_id"]])
    return {
        **{key: passage[key] for key in ("id", "title", "heading", "text")},
        "document": {
            key: documents[0][key]
            for key in ("id", "source", "uri", "position", "media_type", "content_hash", "modified_at")
        }
        if documents
        else None,
        "decisions": [{key: row[key] for key in ("step", "rule", "action")} for row in decisions],
    }


def _rows(folder: Path, pattern: str, column: str, values: Iterable[str]) -> list[dict[str, Any]]:
    files = sorted(str(path) for path in folder.glob(pattern))
    if not files:
        return []
    table = ds.dataset(files, format="parquet").to_table(filter=pc.field(column).isin(list(values)))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
