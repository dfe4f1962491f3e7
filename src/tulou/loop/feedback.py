"""What users said, as training rows: approved and corrected answers become conversations the chat model learns from.

A snapshot is numbered and never changes, so a training run that used it can be repeated. Thumbs up teach the answer as
given, corrections teach the corrected answer. Beside each snapshot lie preferences: the correction over the answer it
corrects, and of two answers to one question the one with thumbs up over the one with thumbs down.
What customers wrote is protected as [data.clean] asks of all data: no phone number of theirs is learnt.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tulou.core.prompt import support_messages
from tulou.core.settings import SensitiveAction
from tulou.core.state import feedback, turns
from tulou.core.tables import CONVERSATION, PREFERENCE
from tulou.core.types import Passage

if TYPE_CHECKING:
    from tulou.data.clean.record import Rewrite

HELD_OUT_OF = 8  # of so many questions one is held out to validate preferences on


def latest_snapshot(folder: Path) -> Path | None:
    """The newest snapshot in `folder`, or None before the first."""
    snapshots = sorted(folder.glob("feedback-*.parquet"))
    return snapshots[-1] if snapshots else None


def preferences_of(snapshot: Path) -> Path:
    """The PREFERENCE rows that were taken with `snapshot`."""
    return snapshot.with_name(snapshot.name.replace("feedback-", "preferences-"))


def snapshot_digest(folder: Path) -> str:
    newest = latest_snapshot(folder)
    if newest is None:
        return "none"
    beside = preferences_of(newest)
    return hashlib.sha256(newest.read_bytes() + (beside.read_bytes() if beside.exists() else b"")).hexdigest()[:16]


def take_snapshot(
    state: Engine, folder: Path, sensitive: Mapping[str, SensitiveAction], token_key: bytes | None = None
) -> dict[str, Any]:
    """Write the feedback given so far to `folder`, unless the newest snapshot already says the same.

    `sensitive` says what to do with each kind of sensitive data; "tokenize" needs the project's `token_key`. Returns
    counts and the path of the snapshot that now is the newest (None while there is nothing to learn from).
    """
    from tulou.data.clean.sensitive import find_sensitive, kinds_to_drop, protect

    query = sa.select(turns, feedback.c.rating, feedback.c.correction).join(feedback).order_by(feedback.c.id)
    with state.connect() as connection:
        given = list(connection.execute(query).mappings())
    mask = protect(sensitive, token_key)
    finds_unwanted = partial(find_sensitive, kinds=kinds_to_drop(sensitive))
    taught = [
        (dict(turn), row) for turn in given if (row := _conversation(dict(turn), mask, finds_unwanted)) is not None
    ]
    rows = [row for _, row in taught]
    disliked = [dict(turn) for turn in given if turn["rating"] < 0]
    preferred = _preferences(taught, disliked, mask, finds_unwanted)
    newest = latest_snapshot(folder)
    tables = pa.Table.from_pylist(rows, CONVERSATION), pa.Table.from_pylist(preferred, PREFERENCE)
    is_new = bool(rows) and (newest is None or not _says(newest, *tables))
    if is_new:
        number = 1 if newest is None else int(newest.stem.rpartition("-")[2]) + 1
        newest = folder / f"feedback-{number:06d}.parquet"
        _write(tables[1], preferences_of(newest))
        _write(tables[0], newest)
    return {
        "given": len(given),
        "up": sum(turn["rating"] > 0 for turn in given),
        "down": sum(turn["rating"] < 0 for turn in given),
        "corrected": sum(bool(turn["correction"]) for turn in given),
        "conversations": len(rows),
        "preferences": len(preferred),
        "is_new": is_new,
        "snapshot": str(newest) if newest else None,
    }


def _conversation(
    turn: dict[str, Any], mask: Rewrite, finds_unwanted: Callable[[str], object]
) -> dict[str, Any] | None:
    """A training row from an answered question; None where there is no answer worth learning, or one not to keep."""
    answer = (turn["correction"] or "").strip() or (turn["answer"] if turn["rating"] > 0 else "")
    if not answer or (turn["kind"] == "declined" and not turn["correction"]) or not turn["passages"]:
        return None
    if finds_unwanted(f"{turn['question']}\n{answer}"):
        return None
    (question, _), (answer, _) = mask(turn["question"]), mask(answer)
    passages = [_passage(entry, turn["language"]) for entry in turn["passages"]]
    messages = support_messages(question, passages, turn["language"])
    return {
        "id": f"feedback-{turn['id']}",
        "document_id": turn["passages"][0].get("document_id", ""),
        "messages": [{"role": m.role, "content": m.content} for m in messages]
        + [{"role": "assistant", "content": answer}],
        "language": turn["language"],
        "split": "train",
    }


def _preferences(
    taught: Sequence[tuple[dict[str, Any], dict[str, Any]]],
    disliked: Sequence[dict[str, Any]],
    mask: Rewrite,
    finds_unwanted: Callable[[str], object],
) -> list[dict[str, Any]]:
    """What was taught over what was disliked in its place: the answer it corrects, or another to the same question."""
    rows = []
    for turn, row in taught:
        *prompt, answer = row["messages"]
        same = [other for other in disliked if _asks_the_same(turn, other) and not other["correction"]]
        rivals = [turn] if turn["correction"] else same
        for rival in rivals:
            rejected, _ = mask(rival["answer"])
            if rejected.strip() == answer["content"].strip() or finds_unwanted(rival["answer"]):
                continue
            rows.append(
                {
                    "id": f"{row['id']}-over-{rival['id']}",
                    "messages": prompt,
                    "chosen": answer["content"],
                    "rejected": rejected,
                    "language": row["language"],
                    "split": "train" if zlib.crc32(turn["question"].encode()) % HELD_OUT_OF else "validation",
                }
            )
    return rows


def _asks_the_same(turn: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    bare = [re.sub(r"\W+", "", each["question"].casefold()) for each in (turn, other)]
    return bare[0] == bare[1]


def _says(snapshot: Path, conversations: pa.Table, preferences: pa.Table) -> bool:
    """Whether `snapshot` and the preferences beside it hold the rows given."""
    beside = preferences_of(snapshot)
    return bool(pq.read_table(snapshot).equals(conversations)) and (
        beside.exists() and bool(pq.read_table(beside).equals(preferences))
    )


def _passage(entry: dict[str, Any], language: str) -> Passage:
    keys = ("id", "document_id", "source", "uri", "position", "title", "heading", "text")
    return Passage(**{key: entry.get(key, "") for key in keys}, language=entry.get("language", language))


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    pq.write_table(table, partial)
    os.replace(partial, path)
