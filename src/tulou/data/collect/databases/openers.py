"""Which URLs name databases, and who opens them.

Light to import: nothing of a database is loaded before one is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from tulou.core.errors import DataError, SettingsError
from tulou.core.settings import SourceSettings
from tulou.core.urls import expand

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from tulou.data.collect.databases.table import Table

FEEDBACK = "tulou://feedback"

State = Callable[[], "Engine"]
"""Opens Tulou's own state database."""


def is_database(source: SourceSettings) -> bool:
    """Whether `source` is a table of a database, not files. Raises `SettingsError` for a variable that is not set."""
    return _scheme(expand(source.url)) in _OPENERS


def open_table(source: SourceSettings, project: Path, state: State | None) -> AbstractContextManager[Table]:
    url = expand(source.url)
    if source.url == FEEDBACK:
        from tulou.data.collect.databases.feedback import open_feedback

        if state is None:
            raise DataError(f"source {source.name!r}: {FEEDBACK} needs the state database of a project")
        return open_feedback(state())
    opener = _OPENERS[_scheme(url)]
    return opener(source, project, url)


def _sql(source: SourceSettings, project: Path, url: str) -> AbstractContextManager[Table]:
    from tulou.data.collect.databases.sql import open_sql

    return open_sql(source, project, url)


def _mongo(source: SourceSettings, _project: Path, url: str) -> AbstractContextManager[Table]:
    from tulou.data.collect.databases.mongo import open_mongo

    return open_mongo(source, url)


def _elastic(source: SourceSettings, _project: Path, url: str) -> AbstractContextManager[Table]:
    from tulou.data.collect.databases.elastic import open_elastic

    return open_elastic(source, url)


def _tulou(source: SourceSettings, _project: Path, url: str) -> AbstractContextManager[Table]:
    raise SettingsError(f"source {source.name!r}: {url!r} is unknown; the only source of Tulou's own is {FEEDBACK}")


_OPENERS: dict[str, Callable[[SourceSettings, Path, str], AbstractContextManager[Table]]] = {
    **dict.fromkeys(("postgresql", "postgres", "mysql", "mariadb", "sqlite"), _sql),
    **dict.fromkeys(("mongodb", "mongodb+srv"), _mongo),
    **dict.fromkeys(("elasticsearch", "elasticsearch+http", "elasticsearch+https"), _elastic),
    "tulou": _tulou,
}


def _scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    return scheme.lower().removesuffix("+psycopg").removesuffix("+pymysql") if separator else ""
