"""What every store can do, and which one a URL means.

A store keeps tables by dataset and fingerprint. A version is there whole or not at all; writing one that is there
changes nothing but which is the latest. Where the tables lie is the URL's business: a folder, any file system that
fsspec reaches, HDFS, or MongoDB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from tulou.core.errors import DataError
from tulou.core.urls import expand

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Store(Protocol):
    def write(self, dataset: str, fingerprint: str, tables: Iterable[pa.Table]) -> str:
        """Keep `tables` (one schema) as this version of `dataset`, make it the latest, and return its URL.

        A version that is complete already is only made the latest.
        """
        ...

    def read(self, dataset: str, fingerprint: str | None = None) -> Iterator[pa.RecordBatch]:
        """The rows of one version, the latest by default. Raises `DataError` where there is none."""
        ...

    def datasets(self) -> list[str]: ...


def open_store(url: str, project: Path) -> Store:
    """The store at `url`: a path relative to the folder `project`, or a URL; `${NAME}` comes from the environment.

    Raises `SettingsError` for a kind of URL it does not know, `MissingExtraError` where the driver is not installed.
    `DataError` where the server cannot be reached comes within seconds, from here or from the first use.
    """
    url = expand(url)
    scheme = url.partition("://")[0].lower() if "://" in url else "file"
    return _OPENERS.get(scheme, _open_files)(url, project)


def checked_name(name: str) -> str:
    """`name`, which becomes a folder or collection. Raises `DataError` where it could lead elsewhere."""
    if not _NAME.fullmatch(name):
        raise DataError(f"{name!r} cannot name a dataset or version; use letters, digits, '.', '_' and '-'")
    return name


def _open_files(url: str, project: Path) -> Store:
    from tulou.data.store.files import open_file_store

    return open_file_store(url, project)


def _open_mongo(url: str, _project: Path) -> Store:
    from tulou.data.store.mongo import MongoStore

    return MongoStore(url)


_OPENERS: dict[str, Callable[[str, Path], Store]] = {"mongodb": _open_mongo, "mongodb+srv": _open_mongo}
