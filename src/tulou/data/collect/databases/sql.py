"""PostgreSQL, MySQL and SQLite through SQLAlchemy: one table, view or query, read as a stream and never written to.

Rows come through a server-side cursor inside a read-only transaction, 256 at a time. Columns are read as the driver
gives them, without SQLAlchemy's types, because one date that Python cannot hold must not end the stream; PostgreSQL's
times therefore come as text. A row committed late with a smaller cursor than one already seen is missed: the price of
cursors.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from tulou.core.errors import DataError, SettingsError
from tulou.core.extras import load_extra
from tulou.core.settings import SourceSettings
from tulou.core.urls import split_options, without_secrets
from tulou.data.collect.databases.table import (
    BATCH_RECORDS,
    CONNECT_TIMEOUT_S,
    Extent,
    Record,
    named,
    reading,
    require_columns,
)
from tulou.data.collect.databases.values import joined_key

_OPTIONS = ("table", "query", "key")
_SILENT_SERVER_MS = 30_000  # unanswered data is given up after this long
_TIMES = ("date", "time", "timetz", "timestamp", "timestamptz", "interval")


class SqlTable:
    def __init__(
        self,
        connection: Connection,
        rows: sa.FromClause | sa.TextClause,
        columns: Sequence[str],
        key: Sequence[str],
        cursor: str | None,
        uri: str,
        name: str,
    ) -> None:
        self.uri = uri
        self.name = name
        self._connection = connection
        self._rows = rows
        self._columns = columns
        self._key = key
        self._cursor = cursor

    def extent(self) -> Extent:
        assert self._cursor is not None
        cursor: sa.ColumnClause[Any] = sa.column(self._cursor)
        total, filled = self._connection.execute(self._select(sa.func.count(), sa.func.count(cursor))).one()
        newest = self._select(cursor).where(cursor.is_not(None)).order_by(cursor.desc()).limit(1)
        return Extent(int(total), int(total) - int(filled), self._connection.execute(newest).scalar())

    def records(self, since: Any | None) -> Iterator[Record]:
        options = {"stream_results": True, "yield_per": BATCH_RECORDS}
        result = self._connection.execute(self._statement(since), execution_options=options)
        places = [self._columns.index(name) for name in self._key]
        cursor_place = None if self._cursor is None else self._columns.index(self._cursor)
        for batch in result.partitions():
            for row in batch:
                key = joined_key([row[place] for place in places])
                cursor = None if cursor_place is None else row[cursor_place]
                yield Record(key, cursor, dict(zip(self._columns, row, strict=True)))

    def _statement(self, since: Any | None) -> sa.Executable:
        if isinstance(self._rows, sa.TextClause) and self._cursor is None:
            return self._rows  # as it was written: its order is its author's
        order: list[sa.ColumnClause[Any]] = [sa.column(name) for name in self._key]
        select = self._select(*(sa.column(name) for name in self._columns))
        if self._cursor is None:
            return select.order_by(*order)
        cursor: sa.ColumnClause[Any] = sa.column(self._cursor)
        # A parameter without a type is compared as what the column is; SQLAlchemy would cast text to VARCHAR.
        first = (
            cursor.is_not(None) if since is None else cursor >= sa.bindparam("since", since, type_=sa.types.NullType())
        )
        return select.where(first).order_by(cursor, *order)

    def _select(self, *columns: Any) -> sa.Select[Any]:
        return sa.select(*columns).select_from(_from(self._rows))


@contextmanager
def open_sql(source: SourceSettings, project: Path, url: str) -> Iterator[SqlTable]:
    """The table that `url` names, open for as long as the context.

    Raises `SettingsError` for a URL that is none, and `DataError` where the database cannot be reached or has no such
    table or column.
    """
    url, options = split_options(url, _OPTIONS)
    if ("table" in options) == ("query" in options):
        raise SettingsError(
            f"source {source.name!r}: say in the url what to read: {without_secrets(url)}?table=NAME or ?query=SELECT …"
        )
    uri = f"{without_secrets(url).partition('?')[0]}/{options.get('table') or 'query'}"
    with reading(source, uri, url, (DBAPIError,)):
        engine = _engine(source, project, url)
        with engine.connect() as connection:
            _begin(connection)
            rows = _rows(connection, source, options, uri)
            columns = list(connection.execute(sa.select(sa.text("*")).select_from(_from(rows)).limit(0)).keys())
            if len(set(columns)) < len(columns):
                raise DataError(
                    f"source {source.name!r}: two columns of the query have one name; tell them apart with AS"
                )
            key = _key(connection, source, options, columns, uri)
            require_columns(source, uri, columns)
            yield SqlTable(connection, rows, columns, key, source.cursor, uri, options.get("table") or source.name)
            connection.rollback()


def _engine(source: SourceSettings, project: Path, url: str) -> Engine:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as err:
        shown = without_secrets(url)
        raise SettingsError(
            f"source {source.name!r}: {shown!r} is no database URL; write postgresql://HOST/DB"
        ) from err
    kind = parsed.get_backend_name()
    try:
        return _ENGINES[{"postgres": "postgresql", "mariadb": "mysql"}.get(kind, kind)](source, project, parsed)
    except SQLAlchemyError as err:
        raise SettingsError(f"source {source.name!r}: {without_secrets(url)!r} cannot be used: {err}") from err


def _postgresql(_source: SourceSettings, _project: Path, url: URL) -> Engine:
    load_extra("psycopg", "postgres", "reading PostgreSQL")
    timeouts = {"connect_timeout": CONNECT_TIMEOUT_S, "tcp_user_timeout": _SILENT_SERVER_MS}
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        isolation_level="REPEATABLE READ",  # one state of the table for the whole stream
        connect_args={**timeouts, **url.query},
    )
    sa.event.listen(engine, "connect", _take_times_as_text)
    return engine.execution_options(postgresql_readonly=True)


def _mysql(_source: SourceSettings, _project: Path, url: URL) -> Engine:
    load_extra("pymysql", "mysql", "reading MySQL")
    return sa.create_engine(
        url.set(drivername="mysql+pymysql").update_query_dict({"charset": "utf8mb4"}),
        poolclass=NullPool,
        isolation_level="REPEATABLE READ",
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
    )


def _sqlite(source: SourceSettings, project: Path, url: URL) -> Engine:
    path = (project / (url.database or "")).resolve()
    if url.database in (None, "", ":memory:") or not path.is_relative_to(project.resolve()):
        raise DataError(
            f"source {source.name!r}: {url.database or 'memory'!r} is no file of the project; "
            "write sqlite:///FILE with a path relative to it, and copy or mount the file there"
        )
    if not path.is_file():
        raise DataError(f"source {source.name!r}: there is no database {url.database!r} in {project}")

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=CONNECT_TIMEOUT_S)
        connection.text_factory = _text
        return connection

    return sa.create_engine("sqlite://", creator=connect, poolclass=NullPool)


_FIRST = {
    "postgresql": ("SET LOCAL TIME ZONE 'UTC'", "SET LOCAL DateStyle = 'ISO'"),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET time_zone = '+00:00'", "START TRANSACTION READ ONLY"),
    "mariadb": ("SET SESSION TRANSACTION READ ONLY", "SET time_zone = '+00:00'", "START TRANSACTION READ ONLY"),
}

_ENGINES = {"postgresql": _postgresql, "mysql": _mysql, "sqlite": _sqlite}


def _take_times_as_text(connection: Any, _record: object) -> None:
    """PostgreSQL knows infinity and years before Christ, Python's datetime does not."""
    from psycopg.types.string import TextLoader

    for name in _TIMES:
        connection.adapters.register_loader(name, TextLoader)


def _begin(connection: Connection) -> None:
    for statement in _FIRST.get(connection.dialect.name, ()):
        connection.exec_driver_sql(statement)


def _text(raw: bytes) -> str:
    """SQLite takes any bytes for text; what is not UTF-8 was written by an old program in its own code page."""
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace")


def _rows(
    connection: Connection, source: SourceSettings, options: dict[str, str], uri: str
) -> sa.FromClause | sa.TextClause:
    if "query" in options:
        query = options["query"].strip().rstrip(";").replace(":", "\\:")  # a colon is no parameter of ours
        return sa.text(query + "\n")  # the line end closes a remark
    name = options["table"]
    inspector = sa.inspect(connection)
    schema, _, table = name.rpartition(".")
    if inspector.has_table(name):
        return sa.table(name)
    if schema and inspector.has_table(table, schema=schema):
        return sa.table(table, schema=schema)
    have = named([*inspector.get_table_names(), *inspector.get_view_names()])
    raise DataError(f"source {source.name!r}: {uri.rpartition('/')[0]} has no table {name!r}; it has {have}")


def _from(rows: sa.FromClause | sa.TextClause) -> sa.FromClause:
    return rows.columns().subquery("rows_of_query") if isinstance(rows, sa.TextClause) else rows


def _key(
    connection: Connection, source: SourceSettings, options: dict[str, str], columns: Sequence[str], uri: str
) -> list[str]:
    """The columns that tell a row from all others: those of `key=`, or the table's primary key."""
    if "key" in options:
        key = [name.strip() for name in options["key"].split(",")]
        for name in key:
            if name not in columns:
                raise DataError(f"source {source.name!r}: {uri} has no column {name!r} (key=); it has {named(columns)}")
        return key
    if "query" in options:
        return []
    inspector = sa.inspect(connection)
    schema, _, table = options["table"].rpartition(".")
    is_plain = inspector.has_table(options["table"])
    found = inspector.get_pk_constraint(options["table"]) if is_plain else inspector.get_pk_constraint(table, schema)
    return list(found["constrained_columns"])
