"""Rows of one schema to and from `NAME-*.parquet` files in a folder, a bounded number of rows in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from tulou.core.errors import DataError
from tulou.core.types import DOCUMENT

_BATCH_ROWS = 1000
_BATCH_CHARS = 8_000_000
_ROWS_PER_FILE = 500_000


class RowWriter:
    """Writes rows given one at a time; `NAME-00000.parquet`, a new file every half million rows.

    With `is_one_file` all goes into `NAME.parquet`. A file appears even where there are no rows.
    """

    def __init__(self, folder: Path, name: str, schema: pa.Schema, *, is_one_file: bool = False) -> None:
        self._folder = folder
        self._name = name
        self._schema = schema
        self._is_one_file = is_one_file
        self._rows: list[dict[str, Any]] = []
        self._chars = 0
        self._file: pq.ParquetWriter | None = None
        self._files = 0
        self._rows_in_file = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._chars += len(row.get("text") or "")
        if len(self._rows) >= _BATCH_ROWS or self._chars >= _BATCH_CHARS:
            self._flush()

    def write(self, batch: pa.RecordBatch) -> None:
        self._flush()
        self._write(batch)

    def close(self) -> None:
        self._flush()
        if self._files == 0:
            self._write(pa.RecordBatch.from_pylist([], schema=self._schema))
        self._end_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._end_file()

    def _flush(self) -> None:
        if self._rows:
            batch = pa.RecordBatch.from_pylist(self._rows, schema=self._schema)
            self._rows, self._chars = [], 0
            self._write(batch)

    def _write(self, batch: pa.RecordBatch) -> None:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            number = "" if self._is_one_file else f"-{self._files:05d}"
            path = self._folder / f"{self._name}{number}.parquet"
            self._file = pq.ParquetWriter(path, self._schema, compression="zstd")
            self._files += 1
        self._file.write_batch(batch)
        self._rows_in_file += batch.num_rows
        if self._rows_in_file >= _ROWS_PER_FILE and not self._is_one_file:
            self._end_file()

    def _end_file(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._rows_in_file = None, 0


def document_writer(folder: Path) -> RowWriter:
    return RowWriter(folder, "documents", DOCUMENT)


def read_batches(folder: Path, name: str = "documents", columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Record batches of all `NAME-*.parquet` in `folder`, in order. Raises `DataError` where there are none."""
    for path in _files(folder, name):
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=columns)


def count_rows(folder: Path, name: str = "documents") -> int:
    return sum(int(pq.read_metadata(path).num_rows) for path in _files(folder, name))


def _files(folder: Path, name: str) -> list[Path]:
    paths = sorted(folder.glob(f"{name}-*.parquet"))
    if not paths:
        raise DataError(f"{folder} holds no {name}-*.parquet; run the stage that writes them first")
    return paths
