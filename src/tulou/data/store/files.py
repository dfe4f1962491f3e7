"""Tables as files: `ROOT/DATASET/FINGERPRINT/part-00000.parquet`, a manifest that lists them, and which is the latest.

Object stores cannot rename, so nothing here relies on it: parts are written first, then the manifest, then the pointer
`LATEST.json`. A version without a manifest does not exist, so a killed writer leaves nothing half read; the price is
that its parts stay until the same version is written again. Manifest and pointer appear in one step, however a file
system does that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tulou.core.disk import is_disk_full
from tulou.core.durable import sync_file
from tulou.core.errors import DataError, DiskFullError, TulouError
from tulou.data.store.file_systems import FileSystem, local_system, open_file_system
from tulou.data.store.store import Store, checked_name

_BATCH_ROWS = 4096


class FileStore:
    """A store on any fsspec file system."""

    def __init__(self, system: FileSystem) -> None:
        self._system = system
        self._files = system.files
        self._root = system.root.rstrip("/")
        self._shown = system.shown

    def write(self, dataset: str, fingerprint: str, tables: Iterable[pa.Table]) -> str:
        folder = self._folder(dataset, fingerprint)
        manifest_path = f"{folder}/manifest.json"
        if self._get(manifest_path) is None:
            parts = self._write_parts(folder, dataset, tables)
            self._put(manifest_path, {"dataset": dataset, "fingerprint": fingerprint, "parts": parts})
        self._put(f"{self._root}/{dataset}/LATEST.json", {"fingerprint": fingerprint})
        return f"{self._shown.rstrip('/')}/{dataset}/{fingerprint}"

    def read(self, dataset: str, fingerprint: str | None = None) -> Iterator[pa.RecordBatch]:
        if fingerprint is None:
            pointer = self._get(f"{self._root}/{checked_name(dataset)}/LATEST.json")
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
        with self._reaching("read"):
            try:
                paths = self._files.ls(self._root, detail=False)
            except FileNotFoundError:
                return []
            folders = [str(path).rstrip("/").rpartition("/")[2] for path in paths]
        return sorted(name for name in folders if self._get(f"{self._root}/{name}/LATEST.json") is not None)

    def _folder(self, dataset: str, fingerprint: str) -> str:
        return f"{self._root}/{checked_name(dataset)}/{checked_name(fingerprint)}"

    def _write_parts(self, folder: str, dataset: str, tables: Iterable[pa.Table]) -> list[dict[str, Any]]:
        if self._system.has_folders:
            with self._reaching("written", dataset):
                self._files.makedirs(folder, exist_ok=True)
        parts = []
        for number, table in enumerate(tables):
            name = f"part-{number:05d}.parquet"
            with self._reaching("written", dataset):
                self._write_part(f"{folder}/{name}", table)
            parts.append({"name": name, "rows": table.num_rows})
        return parts

    def _write_part(self, path: str, table: pa.Table) -> None:
        """In one piece: not every remote file takes the many small writes of a Parquet writer."""
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        self._files.pipe_file(path, buffer.getvalue().to_pybytes())

    def _batches(self, paths: list[str]) -> Iterator[pa.RecordBatch]:
        for path in paths:
            with self._reaching("read"):
                content = self._files.cat_file(path)
            with pq.ParquetFile(pa.BufferReader(content)) as file:
                yield from file.iter_batches(batch_size=_BATCH_ROWS)

    def _put(self, path: str, value: dict[str, Any]) -> None:
        with self._reaching("written"):
            self._system.replace(path, json.dumps(value).encode())

    def _get(self, path: str) -> dict[str, Any] | None:
        """The object in a small file; None where there is no file, or only the beginning of one."""
        try:
            with self._reaching("read"):
                value: dict[str, Any] = json.loads(self._files.cat_file(path))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return value

    @contextmanager
    def _reaching(self, done: str, dataset: str = "") -> Iterator[None]:
        """Says in one sentence what the driver, whichever it is, raised."""
        try:
            yield
        except (TulouError, json.JSONDecodeError):
            raise
        except Exception as err:  # a driver raises what its libraries do, from OSError to botocore's own
            if isinstance(err, FileNotFoundError) and done == "read":
                raise
            if is_disk_full(err):
                raise DiskFullError(
                    f"no space left for {dataset or 'data'} in the store {self._shown}; free some and run again"
                ) from err
            reason = " ".join(str(err).split()) or type(err).__name__
            raise DataError(f"the store {self._shown} cannot be {done}: {reason[:500]}") from err


class LocalStore(FileStore):
    """A folder on this machine: nothing is named before it is on the disk, and parts are not read whole."""

    def _write_part(self, path: str, table: pa.Table) -> None:
        pq.write_table(table, path, compression="zstd")
        sync_file(Path(path))

    def _batches(self, paths: list[str]) -> Iterator[pa.RecordBatch]:
        for path in paths:
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(batch_size=_BATCH_ROWS)


def open_file_store(url: str, project: Path) -> Store:
    """Raises `SettingsError` for a kind of URL nobody knows, `DataError` where a server does not answer."""
    if "://" not in url or url.startswith("file://"):
        return LocalStore(local_system(project / url.removeprefix("file://")))
    return FileStore(open_file_system(url))
