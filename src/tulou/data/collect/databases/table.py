"""What every database looks like from here: one table of records, in an order, from a point on.

A `Table` reads and never writes. Drivers' errors become one sentence here, without the password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from tulou.core.errors import DataError
from tulou.core.settings import SourceSettings
from tulou.data.collect.tables import MissingColumnError

CONNECT_TIMEOUT_S = 5
BATCH_RECORDS = 256  # at once in memory, and on the wire; a record may be a megabyte

_SHOWN_NAMES = 30


@dataclass(frozen=True)
class Record:
    """One row or document. `key` names it in its table for good; "" where the table has no key."""

    key: str
    cursor: Any  # value of the cursor column; None where the source names none
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Extent:
    """How far a table reaches: what can be said of it without reading it."""

    records: int
    without_cursor: int  # of these, those that a cursor cannot find
    last: Any  # largest cursor value; None where there is none


class Table(Protocol):
    uri: str  # without user, password and parameters
    name: str

    def extent(self) -> Extent: ...

    def records(self, since: Any | None) -> Iterator[Record]:
        """Those whose cursor is at or beyond `since`, smallest first; all of them where it is None."""
        ...


def require_columns(source: SourceSettings, uri: str, have: Sequence[str], what: str = "column") -> None:
    """Raises `MissingColumnError` that says what there is instead."""
    wanted = [*source.text, *filter(None, (source.label, source.subject_id, source.cursor))]
    for name in wanted:
        if name not in have and name.partition(".")[0] not in have:  # "data.title" lies within a JSON column
            raise MissingColumnError(f"source {source.name!r}: {uri} has no {what} {name!r}; it has {named(have)}")


def named(names: Sequence[str]) -> str:
    """The names for a message, not more than can be read."""
    shown = ", ".join(repr(name) for name in sorted(names)[:_SHOWN_NAMES])
    surplus = len(names) - _SHOWN_NAMES
    return (f"{shown} and {surplus} more" if surplus > 0 else shown) or "nothing"


@contextmanager
def reading(source: SourceSettings, uri: str, url: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turns the driver's `errors` into a `DataError` that says which source and server, and never the password."""
    try:
        yield
    except errors as err:
        reason = " ".join(str(getattr(err, "orig", None) or err).split())
        raise DataError(
            f"source {source.name!r}: {uri} cannot be read: {_without_password(reason, url)[:600]}"
        ) from err


def _without_password(reason: str, url: str) -> str:
    try:
        password = urlsplit(url).password
    except ValueError:
        password = None
    for secret in {password, unquote(password)} if password else ():
        if len(secret) > 3:  # a shorter one is part of ordinary words
            reason = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "…", reason)
    return reason
