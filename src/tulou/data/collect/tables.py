"""Tables row by row: csv, tsv, jsonl, json and sheets; each row becomes one document.

Where the source names text columns, a row's text is those columns and nothing else. Otherwise the row must be able to
answer a question on its own, so it reads "column: value" line by line; a title-like column names it and a column of
prose (an answer, a body) stands as it is. A row that cannot be read is reported, and the next one is tried.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tulou.core.errors import DataError
from tulou.core.settings import SourceSettings
from tulou.data.collect.piece import Piece, Refuse
from tulou.data.collect.text import MAX_LINE_BYTES, read_lines

Row = dict[str, str]

MAX_JSON_BYTES = 64 << 20  # a .json file is read whole; .jsonl has no limit

_TITLES = {
    "title",
    "name",
    "question",
    "product",
    "topic",
    "subject",
    "标题",
    "名称",
    "问题",
    "商品",
    "商品名称",
    "产品",
    "主题",
}
_PROSE = {"answer", "body", "content", "text", "description", "答案", "回答", "正文", "内容", "说明", "描述"}
_TITLE_CHARS = 80


class MissingColumnError(DataError):
    """A column named in tulou.toml is not there: a mistake in the settings, so the whole source stops."""


@dataclass(frozen=True)
class TableShape:
    """How to make documents out of rows."""

    source: SourceSettings
    uri: str
    name: str  # of the table: file stem or sheet
    prefix: str = ""  # of positions: "sheet=Prices,"


def read_csv(path: Path, refuse: Refuse, delimiter: str | None = None) -> Iterator[tuple[int, Row]]:
    """Rows by number, 1 being the first after the header; `delimiter` None looks at the header for , ; tab or |."""
    lines = (line.text + "\n" for line in _lines_within_limit(path, refuse))
    first = next(lines, "")
    delimiter = delimiter or max(",;\t|", key=first.count)
    reader = csv.reader(_chain(first, lines), delimiter=delimiter)
    yield from _rows_under_header(_parsed(reader, refuse), refuse)


def read_jsonl(path: Path, refuse: Refuse) -> Iterator[tuple[int, Row]]:
    for line in _lines_within_limit(path, refuse):
        if not line.text.strip():
            continue
        try:
            value = json.loads(line.text)
        except (ValueError, RecursionError) as err:
            refuse(f"line {line.number} is not JSON: {err}")
            continue
        if isinstance(value, dict):
            yield line.number, _flat(value)
        else:
            refuse(f"line {line.number} is {type(value).__name__}, not an object")


def read_json(path: Path, refuse: Refuse) -> Iterator[tuple[int, Row]]:
    """The objects of a JSON array, of an object's only list, or the one object there is."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise DataError(f"is larger than {MAX_JSON_BYTES:,} bytes; save it as jsonl, one object a line")
    try:
        value = json.loads("\n".join(line.text for line in _lines_within_limit(path, refuse)))
    except (ValueError, RecursionError) as err:
        raise DataError(f"is not JSON: {err}") from err
    if isinstance(value, dict):
        lists = [item for item in value.values() if isinstance(item, list)]
        value = lists[0] if len(value) == len(lists) == 1 else [value]
    if not isinstance(value, list):
        raise DataError(f"holds {type(value).__name__}, not an object or a list of objects")
    for number, item in enumerate(value, 1):
        if isinstance(item, dict):
            yield number, _flat(item)
        else:
            refuse(f"item {number} is {type(item).__name__}, not an object")


def read_cells(cells: Sequence[Sequence[str]], refuse: Refuse) -> Iterator[tuple[int, Row]]:
    """Rows of a sheet. Lines above the header (a title, a remark) are those less than half as wide as the table."""
    width = max((sum(bool(cell.strip()) for cell in row) for row in cells), default=0)
    start = next((i for i, row in enumerate(cells) if sum(bool(c.strip()) for c in row) * 2 > width), 0)
    yield from _rows_under_header([(i + 1, list(row)) for i, row in enumerate(cells[start:])], refuse)


def pieces(rows: Iterable[tuple[int, Row]], shape: TableShape) -> Iterator[Piece]:
    """One piece for each row.

    Raises `MissingColumnError` where the source names a text, label or person column that no row has.
    """
    wanted = [*shape.source.text, *filter(None, (shape.source.label, shape.source.subject_id))]
    seen: set[str] = set()
    count = 0
    for number, row in rows:
        count += 1
        seen.update(row)
        yield _piece(number, row, shape)
        if count == 1000:  # by now every column has shown itself; fail before hours of work
            _check_columns(wanted, seen, shape)
    if count:
        _check_columns(wanted, seen, shape)


def _check_columns(wanted: Sequence[str], seen: set[str], shape: TableShape) -> None:
    for column in wanted:
        if column not in seen:
            have = ", ".join(repr(name) for name in sorted(seen))
            raise MissingColumnError(
                f"source {shape.source.name!r}: {shape.uri} has no column {column!r}; it has {have}"
            )


def _piece(number: int, row: Row, shape: TableShape) -> Piece:
    source = shape.source
    raw = json.dumps(row, ensure_ascii=False, sort_keys=True).encode()
    if source.text:
        values = [row.get(column, "").strip() for column in source.text]
        text = "\n".join(value for value in values if value)
        title = next((value for value in values if value), shape.name)
    else:
        title, text = _told(row, shape)
    return Piece(
        position=f"{shape.prefix}row={number}",
        title=" ".join(title.split())[:_TITLE_CHARS],
        text=text,
        label=(row.get(source.label, "").strip() or None) if source.label else None,
        subject_id=(row.get(source.subject_id, "").strip() or None) if source.subject_id else None,
        content_hash=hashlib.sha256(raw).hexdigest(),
    )


def _told(row: Row, shape: TableShape) -> tuple[str, str]:
    """Title and text of a row that has to speak for itself."""
    hidden = {shape.source.label, shape.source.subject_id}
    filled = {column: value.strip() for column, value in row.items() if value.strip() and column not in hidden}
    title_column = next((column for column in filled if column.strip().casefold() in _TITLES), None)
    has_prose = any(column.strip().casefold() in _PROSE for column in filled)
    lines: list[str] = []
    for column, value in filled.items():
        if column == title_column and has_prose:
            lines.insert(0, f"# {' '.join(value.split())}\n")
        elif column.strip().casefold() in _PROSE:
            lines.append(value)
        else:
            lines.append(f"{column}: {value}")
    return filled[title_column] if title_column else shape.name, "\n".join(lines)


def _lines_within_limit(path: Path, refuse: Refuse) -> Iterator[Any]:
    for line in read_lines(path):
        if line.is_cut:
            refuse(
                f"line {line.number} is {line.size_bytes:,} bytes long and was left out; "
                f"a record may have {MAX_LINE_BYTES:,}"
            )
        else:
            yield line


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _parsed(reader: Any, refuse: Refuse) -> Iterator[tuple[int, list[str]]]:
    number = 0
    while True:
        number += 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as err:  # such as a quote that is never closed; the reader starts afresh on the next line
            refuse(f"line {reader.line_num} cannot be read as csv: {err}")


def _rows_under_header(records: Iterable[tuple[int, list[str]]], refuse: Refuse) -> Iterator[tuple[int, Row]]:
    header: list[str] = []
    row_number = 0
    for _, values in records:
        if not values:
            continue
        if not header:
            if any(value.strip() for value in values):
                header = _unique_names(values)
            continue
        row_number += 1
        surplus = [value for value in values[len(header) :] if value.strip()]
        if surplus:
            refuse(f"row {row_number} has {len(values)} values for {len(header)} columns and was left out")
            continue
        padded = [*values, *[""] * (len(header) - len(values))]
        yield row_number, dict(zip(header, padded, strict=False))


def _unique_names(values: Sequence[str]) -> list[str]:
    names: list[str] = []
    for place, value in enumerate(values, 1):
        name = value.strip() or f"column {place}"
        names.append(name if name not in names else f"{name} ({place})")
    return names


def _flat(value: dict[str, Any], prefix: str = "") -> Row:
    """Nested objects as dotted columns, lists joined by commas."""
    row: Row = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, dict):
            row.update(_flat(item, f"{name}."))
        elif isinstance(item, list):
            row[name] = ", ".join(str(part) for part in item)
        else:
            row[name] = "" if item is None else str(item)
    return row
