"""Values of a database as text a document can hold, and cursor values as text they can be read back from.

Drivers hand over some thirty types. Dates read as ISO 8601, decimals without exponent, nested objects as dotted
columns, lists joined by commas; NaN and NULL are nothing. Bytes that are not text are left out and told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from tulou.core.errors import DataError
from tulou.data.collect.tables import Row

_MAX_DEPTH = 32  # deeper than any document somebody wrote; JSON columns can be made to nest until Python's stack ends


def row_of(values: Mapping[str, Any], binary: Callable[[str], None]) -> Row:
    """The columns as text; `binary` is told the name of each that holds bytes which are no text."""
    row: Row = {}
    _flatten(values, "", row, binary, _MAX_DEPTH)
    return row


def text_of(value: Any) -> str | None:
    """`value` as a person would write it; None for bytes that are no text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else "" if value.is_nan() else str(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return _text_in(bytes(value))
    return str(value)


def joined_key(values: Sequence[Any]) -> str:
    """The values of a key as one text, no two keys alike."""
    texts = [text_of(value) or repr(value) for value in values]
    return texts[0] if len(texts) == 1 else ",".join(text.replace("\\", "\\\\").replace(",", "\\,") for text in texts)


def time_of(value: Any) -> str:
    """ISO 8601 in UTC of a cursor that is a point in time; "" of any other."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return ""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        return ""
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        return aware.astimezone(UTC).isoformat(timespec="seconds")
    except OverflowError:  # the first or last day of the calendar, in another zone
        return ""


def is_usable_cursor(value: Any) -> bool:
    """Whether rows can come after `value`: nothing comes after infinity, and nothing compares with NULL or NaN."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Decimal):
        return value.is_finite()
    return value is not None and value not in ("infinity", "-infinity")


def write_cursor(value: Any) -> list[str]:
    """`value` with its type, as JSON can keep it. Raises `DataError` for a type that nothing can be ordered by."""
    for name, (kind, write, _) in _CURSORS.items():
        if type(value) is kind:
            return [name, write(value)]
    module = type(value).__module__.partition(".")[0]
    if module == "bson":  # ObjectId, Int64 and Decimal128 of MongoDB
        return _write_bson_cursor(value)
    raise DataError(f"a cursor cannot be of type {type(value).__name__} ({value!r}); name a column of numbers or times")


def read_cursor(written: list[str]) -> Any:
    kind, text = written
    if kind in ("object_id", "decimal128"):
        return _read_bson_cursor(kind, text)
    return _CURSORS[kind][2](text)


_CURSORS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "int": (int, str, int),
    "str": (str, str, str),
    "float": (float, repr, float),
    "decimal": (Decimal, str, Decimal),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "seconds": (timedelta, lambda value: repr(value.total_seconds()), lambda text: timedelta(seconds=float(text))),
    "uuid": (UUID, str, UUID),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
}


def _write_bson_cursor(value: Any) -> list[str]:
    from bson import Decimal128, Int64, ObjectId

    if isinstance(value, Int64):
        return ["int", str(int(value))]
    kinds = {ObjectId: "object_id", Decimal128: "decimal128"}
    if type(value) not in kinds:
        raise DataError(
            f"a cursor cannot be of type {type(value).__name__} ({value!r}); name a field of numbers or times"
        )
    return [kinds[type(value)], str(value)]


def _read_bson_cursor(kind: str, text: str) -> Any:
    from bson import Decimal128, ObjectId

    return {"object_id": ObjectId, "decimal128": Decimal128}[kind](text)


def _flatten(values: Mapping[str, Any], prefix: str, row: Row, binary: Callable[[str], None], depth: int) -> None:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if type(value) is str:  # most are
            row[name] = value
            continue
        if isinstance(value, Mapping) and depth > 0:
            _flatten(value, f"{name}.", row, binary, depth - 1)
            continue
        is_list = isinstance(value, list | tuple | set | frozenset)
        texts = [text_of(item) for item in value] if is_list else [text_of(value)]
        if None in texts:
            binary(name)
        row[name] = ", ".join(text for text in texts if text is not None)


def _text_in(raw: bytes) -> str | None:
    """What the bytes say as UTF-8, unless they are a picture, a hash or another thing not meant to be read."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return text if all(char.isprintable() or char in "\t\r\n" for char in text) else None
