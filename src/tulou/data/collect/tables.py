"""Tables row by row: csv, tsv, jsonl, json, parquet and sheets; each row becomes one document.

Where the source names text columns, a row's text is those columns and nothing else. Otherwise the row must be able to
answer a question on its own, so it reads "column: value" line by line; a title-like column names it and a column of
prose (an answer, a body) stands as it is. A row that cannot be read is reported, and the next one is tried.

Plain files are read in blocks, and of a plain JSON line only the wanted columns are looked at; both give the rows that
the careful way gives, which takes over wherever something is odd.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tulou.core.errors import DataError
from tulou.core.settings import SourceSettings
from tulou.data.collect.blocks import NotPlainError, careful_lines, plain_blocks
from tulou.data.collect.piece import Columns, Piece, Refuse
from tulou.data.collect.text import MAX_LINE_BYTES, Line

Row = dict[str, str]

MAX_JSON_BYTES = 64 << 20  # a .json file is read whole up to here, and as a stream of items beyond; .jsonl has no limit

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
_CHINESE_LINE_END = re.compile(
    r"(?<=[，。！？：；、）])\s*\n\s*(?=[\u3400-\u9fff，。！？：；、（])"
)  # no space takes its place
_CHECKED_ROWS = 1000  # by then every column has shown itself; fail before hours of work
_PARQUET_ROWS = 2048
_TEXT_OR_NONE = frozenset((str, type(None)))


_DECODE = msgspec.json.Decoder().decode


class MissingColumnError(DataError):
    """A column named in tulou.toml is not there: a mistake in the settings, so the whole source stops."""


@dataclass(frozen=True)
class TableShape:
    """How to make documents out of rows."""

    source: SourceSettings
    uri: str
    name: str  # of the table: file stem or sheet
    prefix: str = ""  # of positions: "sheet=Prices,"

    @property
    def wanted(self) -> list[str]:
        """Columns that the settings name, text first."""
        return [*self.source.text, *filter(None, (self.source.label, self.source.subject_id))]


class Record(NamedTuple):
    number: int  # 1 is the first row of the table, the first line of a jsonl file
    row: Row
    raw: bytes  # what the row's hash is of


def csv_pieces(path: Path, shape: TableShape, refuse: Refuse, delimiter: str | None = None) -> Iterator[Piece]:
    """One piece for each row; `delimiter` None looks at the header for , ; tab or |."""
    lines = _csv_lines(path, refuse)
    first = next(lines, "")
    delimiter = delimiter or max(",;\t|", key=first.count)
    watched = _Quotes(chain((first,), lines))
    reader = csv.reader(watched, delimiter=delimiter)
    return pieces(_records_under_header(_parsed(reader, watched, refuse), refuse), shape)


def jsonl_pieces(path: Path, shape: TableShape, refuse: Refuse) -> Iterator[Piece]:
    """One piece for each line."""
    wanted = shape.wanted
    if not shape.source.text or any("." in column for column in wanted):  # a dotted column may be a nested object's
        return pieces(_jsonl_records(path, refuse), shape)
    return _checked(_named_jsonl(path, shape, refuse), shape)


def json_pieces(path: Path, shape: TableShape, refuse: Refuse) -> Iterator[Piece]:
    """One piece for each object of a JSON array, of an object's only list, or for the one object there is."""
    return pieces(_json_records(path, refuse), shape)


def parquet_pieces(path: Path, shape: TableShape, refuse: Refuse) -> Iterator[Piece]:
    """One piece for each row; only the columns wanted are read."""
    return pieces(_parquet_records(path, shape, refuse), shape)


def sheet_pieces(cells: Sequence[Sequence[str]], shape: TableShape, refuse: Refuse) -> Iterator[Piece]:
    """Rows of a sheet. Lines above the header (a title, a remark) are those less than half as wide as the table."""
    width = max((sum(bool(cell.strip()) for cell in row) for row in cells), default=0)
    start = next((i for i, row in enumerate(cells) if sum(bool(c.strip()) for c in row) * 2 > width), 0)
    return pieces(_records_under_header([list(row) for row in cells[start:]], refuse), shape)


def pieces(records: Iterable[Record], shape: TableShape) -> Iterator[Piece]:
    """One piece for each record.

    Raises `MissingColumnError` where the source names a text, label or person column that no row has.
    """
    return _checked(((_piece(record, shape), record.row) for record in records), shape)


def _checked(made: Iterable[tuple[Piece, Row | None]], shape: TableShape) -> Iterator[Piece]:
    """The pieces, and the error for a wanted column that none of the first rows has."""
    missing = set(shape.wanted)
    seen: set[str] = set()
    count = 0
    for piece, row in made:
        count += 1
        if missing:
            seen.update(row or ())
            missing -= seen if row is not None else missing  # None: a row that has all of them
            if missing and count == _CHECKED_ROWS:
                break
        yield piece
    if missing and count:
        column = next(name for name in shape.wanted if name in missing)
        have = ", ".join(repr(name) for name in sorted(seen))
        raise MissingColumnError(f"source {shape.source.name!r}: {shape.uri} has no column {column!r}; it has {have}")


def _piece(record: Record, shape: TableShape) -> Piece:
    source, row = shape.source, record.row
    if source.text:
        title, text = _joined([row.get(column, "") for column in source.text], shape)
    else:
        title, text = _told(row, shape)
    return Piece(
        position=f"{shape.prefix}row={record.number}",
        title=_short(title),
        text=text,
        label=(row.get(source.label, "").strip() or None) if source.label else None,
        subject_id=(row.get(source.subject_id, "").strip() or None) if source.subject_id else None,
        content_hash=hashlib.sha256(record.raw).hexdigest(),
    )


def _joined(values: Sequence[str], shape: TableShape) -> tuple[str, str]:
    """Title and text of a row whose text columns are named."""
    filled = [value for value in map(str.strip, values) if value]
    return (filled[0], "\n".join(filled)) if filled else (shape.name, "")


def _short(title: str) -> str:
    """At most `_TITLE_CHARS` of a title, on one line; a long text is not split up for it where that changes nothing."""
    head = title[:_TITLE_CHARS].rstrip()
    if head.isprintable() and "  " not in head:  # of white space only the space is printable
        return head.rstrip()
    head = _on_one_line(title[: 3 * _TITLE_CHARS].rstrip())  # ends within a word: the whole begins with it
    return (head if len(head) >= _TITLE_CHARS else _on_one_line(title))[:_TITLE_CHARS].rstrip()


def _on_one_line(text: str) -> str:
    return " ".join((text if text.isascii() else _CHINESE_LINE_END.sub("", text)).split())


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


# --- csv --------------------------------------------------------------------------------------------------------


def _csv_lines(path: Path, refuse: Refuse) -> Iterator[str]:
    """Lines that end with one line feed, all of them."""
    try:
        for block in plain_blocks(path):
            text = block.decode() if block.endswith(b"\n") else block.decode() + "\n"
            yield from io.StringIO(text.replace("\r\n", "\n"), newline="\n")
    except NotPlainError as err:
        for line in _within_limit(careful_lines(path, after=err.lines), refuse):
            yield line.text + "\n"


class _Quotes:
    """Lines, and whether their quotes so far come in pairs."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.count = 0

    def __iter__(self) -> _Quotes:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.count += line.count('"')
        return line


def _parsed(reader: Any, watched: _Quotes, refuse: Refuse) -> Iterator[list[str]]:
    first = quotes = 0  # line before the record, and quotes up to there
    while True:
        try:
            for values in reader:
                lines, is_open = reader.line_num - first, (watched.count - quotes) % 2
                if lines > 1 and is_open:  # only the end of the file ends a record so
                    refuse(f"a quote after line {first} is never closed: {lines} lines were read as one row")
                first, quotes = reader.line_num, watched.count
                yield values
        except csv.Error as err:  # such as a quote that is never closed; the reader starts afresh on the next line
            refuse(f"line {reader.line_num} cannot be read as csv: {err}")
        else:
            return


def _records_under_header(records: Iterable[list[str]], refuse: Refuse) -> Iterator[Record]:
    header: list[str] = []
    number = 0
    for values in records:
        if not values:
            continue
        if not header:
            if any(value.strip() for value in values):
                header = _unique_names(values)
            continue
        number += 1
        if len(values) > len(header):
            if any(value.strip() for value in values[len(header) :]):
                refuse(f"row {number} has {len(values)} values for {len(header)} columns and was left out")
                continue
            values = values[: len(header)]
        elif len(values) < len(header):
            values = [*values, *[""] * (len(header) - len(values))]
        yield Record(number, dict(zip(header, values, strict=True)), _bytes("\0".join(values)))


def _unique_names(values: Sequence[str]) -> list[str]:
    names: list[str] = []
    for place, value in enumerate(values, 1):
        name = value.strip() or f"column {place}"
        names.append(name if name not in names else f"{name} ({place})")
    return names


# --- json -------------------------------------------------------------------------------------------------------


def _named_jsonl(path: Path, shape: TableShape, refuse: Refuse) -> Iterator[tuple[Piece, Row | None]]:
    """Pieces of a jsonl file whose text columns are named, with the row where it had to be looked at closely."""
    done = 0
    try:
        for block in plain_blocks(path, is_checked=False):  # every string is checked when it is decoded
            lines = lines_of(block)
            made = plain_pieces(lines, done + 1, shape)
            if made is not None:
                yield from zip(made, repeat(None))
            else:
                yield from _each_line(lines, done + 1, shape, refuse)
            done += len(lines)
    except NotPlainError as err:
        for line in _within_limit(careful_lines(path, after=err.lines), refuse):
            if (record := _json_record(line.number, line.text, refuse)) is not None:
                yield _piece(record, shape), record.row


def lines_of(block: bytes) -> list[bytes]:
    block = block.removesuffix(b"\n")
    if b"\r" in block:  # looking costs a thirtieth of replacing nothing
        block = block.replace(b"\r\n", b"\n").removesuffix(b"\r")
    return block.split(b"\n")


def _each_line(
    lines: Sequence[bytes], first: int, shape: TableShape, refuse: Refuse
) -> Iterator[tuple[Piece, Row | None]]:
    for number, raw in enumerate(lines, first):
        if made := plain_pieces([raw], number, shape):
            yield made[0], None
        elif (record := _json_record(number, _decoded(raw, number), refuse)) is not None:
            yield _piece(record, shape), record.row


def plain_pieces(lines: Sequence[bytes], first: int, shape: TableShape) -> list[Piece] | None:
    """A piece for each line; None unless each is an object with all wanted columns as text."""
    columns = plain_columns(lines, first, shape)
    return None if columns is None else list(map(Piece, *columns))


def plain_columns(lines: Sequence[bytes], first: int, shape: TableShape) -> Columns | None:
    """What `plain_pieces` gives, column by column."""
    try:
        rows = list(map(_DECODE, lines))
        columns = {name: [row[name] for row in rows] for name in shape.wanted}
    except (ValueError, TypeError, LookupError, RecursionError):  # msgspec.DecodeError is a ValueError
        return None
    if not all(_TEXT_OR_NONE.issuperset(map(type, values)) for values in columns.values()):
        return None
    source, numbers, sha256 = shape.source, range(first, first + len(lines)), hashlib.sha256
    filled = {name: [value.strip() if value else "" for value in values] for name, values in columns.items()}
    if len(source.text) == 1:
        texts = filled[source.text[0]]
        titles = [_short(text or shape.name) for text in texts]
    else:
        joined = [_joined(values, shape) for values in zip(*(filled[name] for name in source.text), strict=True)]
        titles, texts = [_short(title) for title, _ in joined], [text for _, text in joined]
    nothing = [None] * len(lines)
    return Columns(
        position=[f"{shape.prefix}row={number}" for number in numbers],
        title=titles,
        text=texts,
        label=[value or None for value in filled[source.label]] if source.label else nothing,
        subject_id=[value or None for value in filled[source.subject_id]] if source.subject_id else nothing,
        content_hash=[sha256(line).hexdigest() for line in lines],
        media_type=nothing,
        modified_at=nothing,
    )


def _decoded(raw: bytes, number: int) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise NotPlainError(number - 1) from None


def _jsonl_records(path: Path, refuse: Refuse) -> Iterator[Record]:
    for line in _within_limit(careful_lines(path, after=0), refuse):
        record = _json_record(line.number, line.text, refuse)
        if record is not None:
            yield record


def _json_record(number: int, text: str, refuse: Refuse) -> Record | None:
    """The record in one line of jsonl, None where there is none; the careful way."""
    if not text.strip():
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as err:
        refuse(f"line {number} is not JSON: {_why(err)}")
        return None
    return _object_record(number, value, _bytes(text), f"line {number}", refuse)


def _object_record(number: int, value: Any, raw: bytes, place: str, refuse: Refuse) -> Record | None:
    if isinstance(value, dict):
        return Record(number, _flat(value), raw)
    refuse(f"{place} is {type(value).__name__}, not an object")
    return None


def _json_records(path: Path, refuse: Refuse) -> Iterator[Record]:
    for number, item in enumerate(_json_items(path, refuse), 1):
        place = f"item {number}"
        try:
            raw = _bytes(json.dumps(item, ensure_ascii=False, sort_keys=True, default=str))
        except RecursionError as err:
            refuse(f"{place} cannot be read: {_why(err)}")
            continue
        record = _object_record(number, item, raw, place, refuse)
        if record is not None:
            yield record


def _json_items(path: Path, refuse: Refuse) -> Iterable[Any]:
    if path.stat().st_size > MAX_JSON_BYTES:
        return _streamed_items(path)
    try:
        value = json.loads("\n".join(line.text for line in _within_limit(careful_lines(path, after=0), refuse)))
    except (ValueError, RecursionError) as err:
        raise DataError(f"is not JSON: {_why(err)}") from err
    if isinstance(value, dict):
        lists = [item for item in value.values() if isinstance(item, list)]
        value = lists[0] if len(value) == len(lists) == 1 else [value]
    if not isinstance(value, list):
        raise DataError(f"holds {type(value).__name__}, not an object or a list of objects")
    return value


def _streamed_items(path: Path) -> Iterator[Any]:
    """The items of a list at the top, or of the list that an object begins with, one at a time."""
    if find_spec("ijson") is None:
        raise DataError(f"is larger than {MAX_JSON_BYTES:,} bytes; save it as jsonl, one object a line")
    ijson: Any = import_module("ijson")
    try:
        with path.open("rb") as stream:
            start = len(codecs.BOM_UTF8) if stream.read(3) == codecs.BOM_UTF8 else 0
            stream.seek(start)
            events = [event for event, _ in zip(ijson.parse(stream), range(3), strict=False)]
            kinds = [kind for _, kind, _ in events]
            if kinds[:1] == ["start_array"]:
                prefix = "item"
            elif kinds == ["start_map", "map_key", "start_array"]:
                prefix = f"{events[1][2]}.item"
            else:
                raise DataError(
                    f"is larger than {MAX_JSON_BYTES:,} bytes and does not begin with a list; save it as jsonl"
                )
            stream.seek(start)
            yield from ijson.items(stream, prefix, use_float=True)
    except (ijson.JSONError, ValueError) as err:
        raise DataError(f"is not JSON in UTF-8: {_one_line(err)}") from err


def _why(err: Exception) -> str:
    return "it is nested too deep" if isinstance(err, RecursionError) else str(err)


def _flat(value: dict[str, Any]) -> Row:
    """Nested objects as dotted columns, lists joined by commas."""
    row: Row = {}
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:  # and no recursion: a line may hold a thousand objects within each other
        prefix, item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend((f"{prefix}.{key}" if prefix else str(key), part) for key, part in reversed(item.items()))
        else:
            row[prefix] = _plain(item)
    return row


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    try:
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    except (RecursionError, ValueError):  # lists a thousand deep; numbers of thousands of digits
        return ""


# --- parquet ----------------------------------------------------------------------------------------------------


def _parquet_records(path: Path, shape: TableShape, refuse: Refuse) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as err:
        raise DataError(f"is damaged, or no Parquet file at all: {_one_line(err)}") from err
    number = 0
    with file:
        names = file.schema_arrow.names
        columns = [name for name in names if not shape.source.text or _is_wanted(name, shape.wanted)]
        if shape.source.text and not columns:
            columns = names  # none of the wanted is there: read what is, so that the error can name it
        try:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    values = _flat(row)
                    yield Record(number, values, _bytes("\0".join(values.values())))
        except (pa.ArrowException, OSError, ValueError) as err:  # ValueError: text that is no UTF-8
            refuse(f"is damaged after row {number:,}; the rest was left out: {_one_line(err)}")


def _is_wanted(column: str, wanted: Sequence[str]) -> bool:
    return any(name == column or name.startswith(f"{column}.") for name in wanted)


# --- lines ------------------------------------------------------------------------------------------------------


def _within_limit(lines: Iterable[Line], refuse: Refuse) -> Iterator[Line]:
    for line in lines:
        if line.is_cut:
            refuse(
                f"line {line.number} is {line.size_bytes:,} bytes long and was left out; "
                f"a record may have {MAX_LINE_BYTES:,}"
            )
        else:
            yield line


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")  # JSON can escape half a character


def _one_line(err: Exception) -> str:
    return " ".join(str(err).split())[:300]
