"""A table of a database into documents, all of it or what came since the last run.

Without a cursor column the table is read whole, twice where it changed: once for its digest, once for its documents.
With one, only rows at or beyond the last value are read, and the digest is the largest value and the number of rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tulou.core.errors import DataError
from tulou.core.progress import Bar, Progress
from tulou.core.settings import SourceSettings
from tulou.core.urls import expand, url_digest, without_secrets
from tulou.data.collect import tables
from tulou.data.collect.batch import document_batches
from tulou.data.collect.databases.increments import Increments, RecordRow, cursor_text
from tulou.data.collect.databases.openers import FEEDBACK, State, open_table
from tulou.data.collect.databases.table import Record, Table
from tulou.data.collect.databases.values import is_usable_cursor, row_of, text_of, time_of
from tulou.data.collect.files import SourceFile
from tulou.data.collect.piece import Piece
from tulou.data.collect.tables import Row
from tulou.data.collect.text import MAX_LINE_BYTES
from tulou.data.parquet import document_writer

MEDIA_TYPE = "application/json"  # a record is kept as a JSON object
STATE_FOLDER = Path(".tulou/collect")


def collect_database(
    source: SourceSettings, project: Path, out: Path, progress: Progress, state: State | None = None
) -> dict[str, Any]:
    """Write `out/documents-*.parquet` (DOCUMENT) from the table that `source` names, and return counts as for files.

    Raises `DataError` where the database cannot be reached, has no such table or column, or nothing came out at all.
    Only Tulou's own feedback may be empty: a new business has none.
    """
    left_out = _LeftOut()
    count = size_bytes = 0
    with open_table(source, project, state) as table, progress.bar(f"collect {source.name}", unit="rows") as bar:
        rows = _rows(source, project, table, left_out, bar)
        with document_writer(out) as writer:
            for batch in _documents(source, table, rows):
                writer.write(batch)
                count += batch.num_rows
                size_bytes += int(pc.sum(pc.binary_length(batch["text"])).as_py())
    failed = left_out.failures(table.uri)
    if count == 0 and source.url != FEEDBACK:
        reason = f" ({failed[0]['reason']})" if failed else ""
        raise DataError(f"source {source.name!r}: nothing could be read from {table.uri}{reason}")
    return {
        "files": 0,
        "documents": count,
        "by_media_type": {MEDIA_TYPE: count},
        "failed": failed,
        "bytes": size_bytes,
        "rows_read": left_out.read,
    }


def database_digest(source: SourceSettings, project: Path, state: State | None = None) -> str:
    """Digest of the table's content for a stage's fingerprint; cheap for a table with a cursor, else it is read."""
    with open_table(source, project, state) as table:
        if source.cursor or source.url == FEEDBACK:
            extent = table.extent()
            return hashlib.sha256(repr((extent.records, extent.without_cursor, str(extent.last))).encode()).hexdigest()
        total = count = 0
        for row in _read(source, table, None, _LeftOut()):
            # A sum does not depend on the order, which a server is free to change.
            total += int(hashlib.sha256(f"{row['position']}\0{row['content_hash']}".encode()).hexdigest(), 16)
            count += 1
        return hashlib.sha256(f"{count} {total:x}".encode()).hexdigest()


# --- records ------------------------------------------------------------------------------------------------------


@dataclass
class _LeftOut:
    """What was read and not used, counted by reason, each with the first place it was met at."""

    read: int = 0
    without_cursor: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, place: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.first.setdefault(reason, place)

    def failures(self, uri: str) -> list[dict[str, str]]:
        return [
            {"uri": uri, "reason": f"{reason}: {count:,} times, first {self.first[reason]}"}
            for reason, count in self.counts.items()
        ]


def _rows(source: SourceSettings, project: Path, table: Table, left_out: _LeftOut, bar: Bar) -> Iterator[RecordRow]:
    if source.cursor is None or source.url == FEEDBACK:
        yield from _watched(_read(source, table, None, left_out), bar)
        return
    identity = url_digest(f"{without_secrets(expand(source.url))}\0{source.cursor}")
    increments = Increments(project / STATE_FOLDER / source.name, identity)
    if missing := table.extent().without_cursor:
        left_out.counts[f"has no {source.cursor!r} and is not found by it"] = missing
        left_out.first[f"has no {source.cursor!r} and is not found by it"] = "a row with NULL"
    left_out.read = increments.extend(_watched(_read(source, table, increments.last, left_out), bar))
    yield from increments.newest()


def _watched(rows: Iterator[RecordRow], bar: Bar) -> Iterator[RecordRow]:
    for row in rows:
        bar.advance()
        yield row


def _read(source: SourceSettings, table: Table, since: Any | None, left_out: _LeftOut) -> Iterator[RecordRow]:
    for number, record in enumerate(table.records(since), 1):
        left_out.read += 1
        row = _row(source, table, record, number, left_out)
        if row is not None:
            yield row


def _row(source: SourceSettings, table: Table, record: Record, number: int, left_out: _LeftOut) -> RecordRow | None:
    binary: list[str] = []
    values = row_of(record.values, binary.append)
    encoded = _encoded(values)
    digest = hashlib.sha256(encoded).hexdigest()
    position = _position(source, record, number, digest)
    for column in binary:
        left_out.add(f"column {column!r} holds bytes that are no text, and was left out", position)
    if len(encoded) > MAX_LINE_BYTES:
        left_out.add(f"is longer than the {MAX_LINE_BYTES:,} bytes a record may have, and was left out", position)
        return None
    if source.cursor is not None and not is_usable_cursor(record.cursor):
        left_out.add(f"has a {source.cursor!r} that nothing can come after, and was left out", position)
        return None
    return {
        "id": hashlib.sha256(f"{source.name}\0{table.uri}\0{position}".encode("utf-8", "replace")).hexdigest()[:24],
        "position": position,
        "cursor": "" if source.cursor is None else cursor_text(record.cursor),
        "modified_at": time_of(record.cursor),
        "content_hash": digest,
        "values": encoded.decode(),
    }


def _encoded(values: Row) -> bytes:
    try:
        return msgspec.json.encode(values)
    except UnicodeEncodeError:  # a JSON column can hold half a character
        return json.dumps(values, ensure_ascii=False).encode("utf-8", "replace")


def _position(source: SourceSettings, record: Record, number: int, digest: str) -> str:
    """Where the record is found again; without a key its content is part of that, since rows may share a cursor."""
    if record.key:
        return f"row={record.key}"
    if source.cursor is not None:
        return f"{source.cursor}={text_of(record.cursor)},sha256={digest[:12]}"
    return f"row={number}"


# --- documents ----------------------------------------------------------------------------------------------------


def _documents(source: SourceSettings, table: Table, rows: Iterator[RecordRow]) -> Iterator[pa.RecordBatch]:
    """Batches of DOCUMENT; an id is made of source, uri and position, as a file's is."""
    whole = SourceFile(Path(), table.uri, MEDIA_TYPE, 0, "")
    return document_batches(_pieces(source, table, rows), whole, source.name, lambda: "")


def _pieces(source: SourceSettings, table: Table, rows: Iterator[RecordRow]) -> Iterator[Piece]:
    current: list[RecordRow] = []

    def told() -> Iterator[tables.Record]:
        for number, row in enumerate(rows, 1):
            current[:] = [row]  # `pieces` makes one piece of each record before it asks for the next
            yield tables.Record(number, msgspec.json.decode(row["values"]), b"")

    for piece in tables.pieces(told(), tables.TableShape(_shaped(source), table.uri, table.name)):
        if piece.text.strip():
            [row] = current
            yield piece._replace(
                position=row["position"], content_hash=row["content_hash"], modified_at=row["modified_at"]
            )


def _shaped(source: SourceSettings) -> SourceSettings:
    """Conversations name their columns themselves: what was asked, answered and corrected."""
    if source.url != FEEDBACK:
        return source
    from tulou.data.collect.databases.feedback import LABEL, SUBJECT, TEXT

    columns: Mapping[str, Any] = {
        "text": source.text or TEXT,
        "label": source.label or LABEL,
        "subject_id": source.subject_id or SUBJECT,
    }
    return source.model_copy(update=columns)
