"""A source into documents, by the kind of its URL: the one place where the kinds of sources meet.

A URL whose scheme names a database is read by `databases`; every other one names files, on this machine or wherever
fsspec reaches. Each kind loads its libraries only when a source of that kind is collected.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.progress import Progress
from tulou.core.settings import SourceSettings
from tulou.data.collect.databases.openers import is_database
from tulou.data.collect.locate import files_digest

if TYPE_CHECKING:
    import sqlalchemy as sa

    from tulou.data.engine import Engine


def collect(
    source: SourceSettings,
    project: Path,
    out: Path,
    progress: Progress,
    state: Callable[[], sa.Engine] | None = None,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Write `out/documents-*.parquet` (DOCUMENT) from what `source` names.

    `state` opens the database that tulou:// sources read; `engine` reads large files in several processes.

    Returns counts, and under "failed" what could not be used and why. Raises `DataError` where nothing came out at all,
    where a column named in the settings does not exist, and for a URL that leads out of the project.
    """
    if is_database(source):
        from tulou.data.collect.databases.collect import collect_database

        return collect_database(source, project, out, progress, state)
    from tulou.data.collect.file_source import collect_files

    return collect_files(source, project, out, progress, engine)


def source_digest(
    source: SourceSettings,
    project: Path,
    state: Callable[[], sa.Engine] | None = None,
    on_large: Callable[[], None] | None = None,
) -> str:
    """A digest that changes when what `source` names has changed, for a stage's fingerprint.

    `on_large` is called before a large new file is read for it: several processes will be wanted soon.
    """
    if is_database(source):
        from tulou.data.collect.databases.collect import database_digest

        return database_digest(source, project, state)
    return files_digest(source, project, on_large)
