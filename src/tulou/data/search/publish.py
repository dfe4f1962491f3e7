"""Where indices live for their readers: each has the name of its fingerprint, and a pointer names the one in use.

A new index is made whole and the pointer moved in one step, so a reader opens either the old or the new one. The
previous index stays for readers that still have it open; older ones are removed, and nothing else is touched. Which
kind of home it is, the scheme of the URL says; without one it is a folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tulou.core.errors import DataError, SettingsError
from tulou.core.stage import read_json, write_json
from tulou.core.urls import without_secrets
from tulou.data.search.hybrid import SearchIndex
from tulou.data.search.lance import UNREAD, LanceIndex

_POINTER = "current.json"
_OURS = re.compile(r"[0-9a-f]{16}(\.partial)?")  # a stage's fingerprint


class IndexHome(Protocol):
    def create(self, fingerprint: str, dimensions: int, scratch: Path) -> SearchIndex:
        """A new and empty index that no reader sees; `scratch` is a folder for what is built here first."""
        ...

    def publish(self, fingerprint: str, scratch: Path) -> None:
        """Let readers find the index made by `create` with the same arguments."""
        ...

    def current(self) -> str | None:
        """Which index is in use; asking is cheap. None before the first was published."""
        ...

    def open(self) -> SearchIndex:
        """The index in use. Raises `DataError` where none was published."""
        ...

    def close(self) -> None: ...


class FolderHome:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, fingerprint: str, dimensions: int, scratch: Path) -> SearchIndex:
        return LanceIndex.create(scratch / fingerprint, dimensions, readable_for=UNREAD)

    def publish(self, fingerprint: str, scratch: Path) -> None:
        publish_index(scratch / fingerprint, self._folder, fingerprint)

    def current(self) -> str | None:
        pointer = read_json(self._folder / _POINTER)
        return pointer["index"] if pointer else None

    def open(self) -> SearchIndex:
        return LanceIndex(current_index(self._folder))

    def close(self) -> None:
        pass


class ElasticHome:
    def __init__(self, url: str) -> None:
        from tulou.data.search.elastic import Cluster

        self._cluster = Cluster(url)

    def create(self, fingerprint: str, dimensions: int, scratch: Path) -> SearchIndex:
        from tulou.data.search.elastic import ElasticIndex

        return ElasticIndex.create(self._cluster, self._cluster.name(fingerprint), dimensions)

    def publish(self, fingerprint: str, scratch: Path) -> None:
        self._cluster.publish(self._cluster.name(fingerprint))

    def current(self) -> str | None:
        return self._cluster.current()

    def open(self) -> SearchIndex:
        from tulou.data.search.elastic import ElasticIndex

        name = self._cluster.current()
        if name is None:
            raise DataError(f"there is no search index at {self._cluster.shown}; `tulou run --redo index` makes one")
        return ElasticIndex(self._cluster, name)

    def close(self) -> None:
        self._cluster.close()


HOMES: dict[str, Callable[[str], IndexHome]] = {
    "elasticsearch": ElasticHome,
    "elasticsearch+http": ElasticHome,
    "elasticsearch+https": ElasticHome,
}


def open_home(url: str, project: Path) -> IndexHome:
    """The home that `data.search` names: a URL, or a folder relative to `project`."""
    scheme, found, _ = url.partition("://")
    if not found:
        return FolderHome(project / url)
    if scheme not in HOMES:
        raise SettingsError(
            f"data.search {without_secrets(url)!r} is neither a folder nor one of {', '.join(HOMES)}://"
        )
    return HOMES[scheme](url)


def publish_index(built: Path, home: Path, fingerprint: str) -> None:
    """Make the index in the folder `built` the current one of `home`."""
    home.mkdir(parents=True, exist_ok=True)
    target, arriving = home / fingerprint, home / f"{fingerprint}.partial"
    shutil.rmtree(arriving, ignore_errors=True)
    shutil.copytree(built, arriving)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(arriving, target)
    previous = (read_json(home / _POINTER) or {}).get("index")
    write_json(home / _POINTER, {"index": fingerprint})
    for other in home.iterdir():
        if other.is_dir() and _OURS.fullmatch(other.name) and other.name not in (fingerprint, previous):
            shutil.rmtree(other, ignore_errors=True)


def current_index(home: Path) -> Path:
    """Folder of the current index. Raises `DataError` where none was published."""
    pointer = read_json(home / _POINTER)
    if pointer is None or not (home / pointer["index"]).is_dir():
        raise DataError(f"there is no search index in {home}; `tulou run` makes one (`tulou run --redo index` again)")
    folder: Path = home / pointer["index"]
    return folder
