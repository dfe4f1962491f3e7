"""Tables kept by dataset and fingerprint: `ROOT/DATASET/FINGERPRINT/part-00000.parquet`, and which one is the latest.

Object stores cannot rename, so nothing here relies on it: parts are written first, then a manifest that lists them,
then the pointer `LATEST.json`. A version without a manifest does not exist, so a killed writer leaves nothing half
read; the price is that its parts stay until the same version is written again. Local files are renamed into place.
"""

from __future__ import annotations

import errno
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from tulou.core.errors import DataError, DiskFullError, SettingsError
from tulou.core.urls import without_secrets

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_BATCH_ROWS = 4096


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


class FileStore:
    """A store on any fsspec file system."""

    def __init__(self, files: Any, root: str, shown: str) -> None:
        self._files = files
        self._root = root.rstrip("/")
        self._shown = shown  # the URL without credentials, for messages

    def write(self, dataset: str, fingerprint: str, tables: Iterable[pa.Table]) -> str:
        folder = self._folder(dataset, fingerprint)
        manifest_path = f"{folder}/manifest.json"
        try:
            if not self._files.exists(manifest_path):
                parts = self._write_parts(folder, tables)
                self._put(manifest_path, {"dataset": dataset, "fingerprint": fingerprint, "parts": parts})
            self._put(f"{self._root}/{dataset}/LATEST.json", {"fingerprint": fingerprint})
        except OSError as err:
            if err.errno == errno.ENOSPC:
                raise DiskFullError(
                    f"no space left for {dataset} in the store {self._shown}; free some and run again"
                ) from err
            raise DataError(f"the store {self._shown} cannot be written: {err}") from err
        return f"{self._shown.rstrip('/')}/{dataset}/{fingerprint}"

    def read(self, dataset: str, fingerprint: str | None = None) -> Iterator[pa.RecordBatch]:
        if fingerprint is None:
            pointer = self._get(f"{self._root}/{_checked(dataset)}/LATEST.json")
            if pointer is None:
                have = ", ".join(self.datasets()) or "nothing yet"
                raise DataError(f"the store {self._shown} has no dataset {dataset!r}; it has: {have}")
            fingerprint = str(pointer["fingerprint"])
        folder = self._folder(dataset, fingerprint)
        manifest = self._get(f"{folder}/manifest.json")
        if manifest is None:
            raise DataError(f"the store {self._shown} has no complete version {fingerprint!r} of {dataset!r}")
        return self._batches([f"{folder}/{part['name']}" for part in manifest["parts"]])

    def datasets(self) -> list[str]:
        if not self._files.isdir(self._root):
            return []
        folders = [str(path).rstrip("/").rpartition("/")[2] for path in self._files.ls(self._root, detail=False)]
        return sorted(name for name in folders if self._files.exists(f"{self._root}/{name}/LATEST.json"))

    def _folder(self, dataset: str, fingerprint: str) -> str:
        return f"{self._root}/{_checked(dataset)}/{_checked(fingerprint)}"

    def _write_parts(self, folder: str, tables: Iterable[pa.Table]) -> list[dict[str, Any]]:
        self._files.makedirs(folder, exist_ok=True)
        parts = []
        for number, table in enumerate(tables):
            name = f"part-{number:05d}.parquet"
            with self._files.open(f"{folder}/{name}", "wb") as stream:
                pq.write_table(table, stream, compression="zstd")
            parts.append({"name": name, "rows": table.num_rows})
        return parts

    def _batches(self, paths: list[str]) -> Iterator[pa.RecordBatch]:
        for path in paths:
            with self._files.open(path, "rb") as stream, pq.ParquetFile(stream) as file:
                yield from file.iter_batches(batch_size=_BATCH_ROWS)

    def _put(self, path: str, value: dict[str, Any]) -> None:
        self._files.pipe_file(path, json.dumps(value).encode())

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            value: dict[str, Any] = json.loads(self._files.cat_file(path))
        except FileNotFoundError:
            return None
        return value


class LocalStore(FileStore):
    """A folder on this machine, where small files can be replaced in one step."""

    def _put(self, path: str, value: dict[str, Any]) -> None:
        partial = f"{path}.{uuid.uuid4().hex}.partial"
        with open(partial, "w", encoding="utf-8") as stream:
            json.dump(value, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)


def open_store(url: str, project: Path) -> Store:
    """The store at `url`: a path relative to the folder `project`, or a URL of any kind fsspec knows.

    Raises `SettingsError` for a kind it does not know or whose driver is not installed.
    """
    import fsspec

    if "://" not in url or url.startswith("file://"):
        root = project / url.removeprefix("file://")
        return LocalStore(fsspec.filesystem("file"), str(root), str(root))
    try:
        files, root_path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError, OSError) as err:
        raise SettingsError(f"data.store {without_secrets(url)!r} cannot be used: {err}") from err
    return FileStore(files, str(root_path), without_secrets(url))


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise DataError(f"{name!r} cannot name a dataset or version; use letters, digits, '.', '_' and '-'")
    return name
