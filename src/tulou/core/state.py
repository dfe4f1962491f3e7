"""The state database: keys, requests, conversations and feedback, in SQLite by default and PostgreSQL by URL.

Tables are SQLAlchemy Core, so that queries read as SQL. Times are seconds since the epoch, UTC. SQLite runs in WAL
mode with a busy timeout, so several processes may write. A database made by an earlier version gets the columns it
lacks when it is opened; columns are only ever added, each with a default, so an earlier version can go on using it.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from tulou.core.disk import is_disk_full
from tulou.core.errors import DataError, DiskFullError, SettingsError
from tulou.core.extras import load_extra
from tulou.core.urls import without_secrets

CONNECT_TIMEOUT_S = 5  # a database server that does not answer is told, not waited for
SILENT_TIMEOUT_S = 30  # after which unanswered data is given up

metadata = sa.MetaData()

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),  # public part, safe to log
    sa.Column("hash", sa.String(64), nullable=False, unique=True),  # sha256 of the whole key
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),  # "admin", "app", "viewer"
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("revoked_at", sa.Float),
    sa.Column("old_hash", sa.String(64), index=True),  # of the secret before the last rotation,
    sa.Column("old_until", sa.Float),  # which works until then
    sa.Column("expires_at", sa.Float),
    sa.Column("disabled_at", sa.Float),
    sa.Column("models", sa.JSON(none_as_null=True)),  # ["assistant", ...]; null: all
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),  # the higher, the later it is shed
    sa.Column("budgets", sa.JSON(none_as_null=True)),  # {"requests/minute": 60, ...}
)

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("key_id", sa.String(32)),
    sa.Column("route", sa.String(64), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("model_version", sa.String(64), nullable=False),
    sa.Column("replica", sa.String(64), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("latency_ms", sa.Float, nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("variant", sa.String(64), nullable=False, server_default=""),  # see `Entry.variant`
    sa.Column("is_cached", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("first_token_ms", sa.Float),  # of streamed answers
    sa.Column("money", sa.Float, nullable=False, server_default="0"),  # by [service.prices]
)

# Sums of `requests` that outlive its rows: what budgets are counted by after a restart, and what usage is told from.
usage_by_day = sa.Table(
    "usage_by_day",
    metadata,
    sa.Column("day", sa.String(10), primary_key=True),  # "2026-11-28", UTC
    sa.Column("key_id", sa.String(32), primary_key=True),  # "" for the applications in the gateway's own process
    sa.Column("model", sa.String(200), primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.BigInteger, nullable=False),  # status 500 and above
    sa.Column("cached", sa.BigInteger, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("money", sa.Float, nullable=False),
    sa.Column("latency_ms", sa.Float, nullable=False),  # sum
)

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("app", sa.String(32), nullable=False),  # "support", "content"
    sa.Column("visitor", sa.String(64)),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False, index=True),
)

# One row for each question with its answer; `passages` and `model_version` are the lineage of the answer.
turns = sa.Table(
    "turns",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("conversation_id", sa.String(64), sa.ForeignKey("conversations.id"), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("language", sa.String(8), nullable=False),
    sa.Column("question", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),  # "generated", "quoted", "declined"
    sa.Column("intent", sa.String(200)),
    sa.Column("passages", sa.JSON, nullable=False),  # [{id, uri, title, heading, ...}], best first
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("model_version", sa.String(64), nullable=False),
    sa.Column("latency_ms", sa.Float, nullable=False),
)

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("turn_id", sa.String(64), sa.ForeignKey("turns.id"), nullable=False, unique=True),  # the last one counts
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("rating", sa.Integer, nullable=False),  # 1 up, -1 down
    sa.Column("comment", sa.Text),
    sa.Column("correction", sa.Text),  # the answer a person would have given
)


def open_state(url: str, project: Path) -> Engine:
    """Connect to the state database, making its tables where they are missing.

    A relative SQLite path is taken from the folder `project`. Raises `SettingsError` for a URL that is none, and
    `DataError` where the database cannot be reached, `DiskFullError` where it has no room.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as err:
        raise SettingsError(
            f"data.state {without_secrets(url)!r} is not a database URL, such as sqlite:///.tulou/state.db"
        ) from err
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite and parsed.database and parsed.database != ":memory:":
        path = project / parsed.database
        path.parent.mkdir(parents=True, exist_ok=True)
        parsed = parsed.set(database=str(path))
    if parsed.drivername == "postgresql+psycopg":
        load_extra("psycopg", "postgres", f"data.state {without_secrets(url)}")
        timeouts = {"connect_timeout": f"{CONNECT_TIMEOUT_S}", "tcp_user_timeout": f"{SILENT_TIMEOUT_S * 1000}"}
        parsed = parsed.update_query_dict(timeouts | dict(parsed.query))
    engine = sa.create_engine(parsed, pool_pre_ping=not is_sqlite)
    if is_sqlite:
        sa.event.listen(engine, "connect", _set_sqlite_pragmas)
    try:
        metadata.create_all(engine)
        _add_missing_columns(engine)
    except SQLAlchemyError as err:
        shown = parsed.render_as_string(hide_password=True)
        if is_disk_full(err):
            raise DiskFullError(f"no space left for the state database {shown}; free some and try again") from err
        reason = getattr(err, "orig", None) or err
        raise DataError(f"the state database {shown} cannot be opened: {reason}") from err
    return engine


def _add_missing_columns(engine: Engine) -> None:
    """Bring the tables of an earlier version up to date: `api_keys` and `requests` have grown."""
    for table in (api_keys, requests):
        for column in _missing(engine, table):
            added = sa.schema.CreateColumn(column).compile(engine)
            try:
                with engine.begin() as db:
                    db.execute(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {added}"))
            except SQLAlchemyError:
                if column in _missing(engine, table):  # another process may have been faster
                    raise
        for index in table.indexes:
            index.create(engine, checkfirst=True)


def _missing(engine: Engine, table: sa.Table) -> list[sa.Column[object]]:
    present = {column["name"] for column in sa.inspect(engine).get_columns(table.name)}
    return [column for column in table.columns if column.name not in present]


def _set_sqlite_pragmas(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
