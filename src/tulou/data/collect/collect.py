"""A source into documents, by the kind of its URL: the one place where the kinds of sources meet.

A URL whose scheme names a database is read by `databases`; every other one names files, on this machine or wherever
fsspec reaches. Each kind loads its libraries only when a source of that kind is collected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tulou.core.progress import Progress
from tulou.core.settings import SourceSettings

Collect = Callable[[SourceSettings, Path, Path, Progress], dict[str, Any]]
Digest = Callable[[SourceSettings, Path], str]


@dataclass(frozen=True)
class SourceKind:
    """How sources of one kind are read, and how to tell that one has changed."""

    collect: Collect
    digest: Digest


def collect(source: SourceSettings, project: Path, out: Path, progress: Progress) -> dict[str, Any]:
    """Write `out/documents-*.parquet` (DOCUMENT) from what `source` names.

    Returns counts, and under "failed" what could not be used and why. Raises `DataError` where nothing came out at all,
    where a column named in the settings does not exist, and for a URL that leads out of the project.
    """
    return _kind(source).collect(source, project, out, progress)


def source_digest(source: SourceSettings, project: Path) -> str:
    """A digest that changes when what `source` names has changed, for a stage's fingerprint."""
    return _kind(source).digest(source, project)


def _kind(source: SourceSettings) -> SourceKind:
    scheme = source.url.partition("://")[0] if "://" in source.url else "file"
    return _KINDS.get(scheme.partition("+")[0].casefold(), _files)()


def _files() -> SourceKind:
    from tulou.data.collect.file_source import collect_files
    from tulou.data.collect.locate import files_digest

    return SourceKind(collect_files, files_digest)


def _databases() -> SourceKind:
    from tulou.data.collect.databases import collect_database, database_digest

    return SourceKind(collect_database, database_digest)


_KINDS: dict[str, Callable[[], SourceKind]] = {
    "postgresql": _databases,
    "mysql": _databases,
    "sqlite": _databases,
    "mongodb": _databases,
    "elasticsearch": _databases,
    "tulou": _databases,
}
"""By scheme, what comes before "+" in it; every other scheme names files."""
