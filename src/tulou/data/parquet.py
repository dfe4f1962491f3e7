"""Rows of one schema to and from `NAME-*.parquet` files in a folder, a bounded number of rows in memory.

Rows and batches are gathered into row groups of about 16,384 rows or 16 MB, large enough to compress and to read fast,
small enough to hold several in memory; a reader sees one row group as one batch or a few.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from tulou.core.errors import DataError
from tulou.core.tables import DOCUMENT

_PENDING_ROWS = 1000  # given one at a time, before they become a batch
_PENDING_CHARS = 8_000_000
_GROUP_ROWS = 16_384
_GROUP_BYTES = 16 << 20
_BATCH_ROWS = 8192
_ROWS_PER_FILE = 500_000
_REPETITIVE = ("source", "uri", "media_type", "language", "label", "modified_at", "step", "rule", "action", "split")


class RowWriter:
    """Writes rows given one at a time, or whole batches; `NAME-00000.parquet`, a new file every half million rows.

    With `is_one_file` all goes into `NAME.parquet`. A file appears even where there are no rows. Rows that are
    `in_passing` are read once by the next stage, and not compressed for it.
    """

    def __init__(
        self, folder: Path, name: str, schema: pa.Schema, *, is_one_file: bool = False, in_passing: bool = False
    ) -> None:
        self._folder = folder
        self._name = name
        self._schema = schema
        self._is_one_file = is_one_file
        self._in_passing = in_passing
        self._rows: list[dict[str, Any]] = []
        self._chars = 0
        self._batches: list[pa.RecordBatch] = []  # of the row group to come
        self._group_rows = 0
        self._group_bytes = 0
        self._file: pq.ParquetWriter | None = None
        self._files = 0
        self._rows_in_file = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._chars += len(row.get("text") or "")
        if len(self._rows) >= _PENDING_ROWS or self._chars >= _PENDING_CHARS:
            self._gather_rows()

    def write(self, batch: pa.RecordBatch) -> None:
        self._gather_rows()
        self._gather(batch)

    def adopt(self, path: Path) -> None:
        """Take over a finished Parquet file of the same schema, as the next in order."""
        self._gather_rows()
        self._end_group()
        self._end_file()
        self._folder.mkdir(parents=True, exist_ok=True)
        path.replace(self._folder / f"{self._name}-{self._files:05d}.parquet")
        self._files += 1

    def close(self) -> None:
        self._gather_rows()
        self._end_group()
        if self._files == 0:
            self._open()
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

    def _gather_rows(self) -> None:
        if self._rows:
            batch = pa.RecordBatch.from_pylist(self._rows, schema=self._schema)
            self._rows, self._chars = [], 0
            self._gather(batch)

    def _gather(self, batch: pa.RecordBatch) -> None:
        start = 0
        while start < batch.num_rows:  # a batch larger than what the group has room for is divided
            part = batch.slice(start, _GROUP_ROWS - self._group_rows)
            start += part.num_rows
            self._batches.append(part)
            self._group_rows += part.num_rows
            self._group_bytes += part.nbytes
            if self._group_rows >= _GROUP_ROWS or self._group_bytes >= _GROUP_BYTES:
                self._end_group()

    def _end_group(self) -> None:
        if not self._batches:
            return
        group = pa.Table.from_batches(self._batches, schema=self._schema)
        self._batches, self._group_rows, self._group_bytes = [], 0, 0
        self._open().write_table(group, row_group_size=len(group))
        self._rows_in_file += len(group)
        if self._rows_in_file >= _ROWS_PER_FILE and not self._is_one_file:
            self._end_file()

    def _open(self) -> pq.ParquetWriter:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            number = "" if self._is_one_file else f"-{self._files:05d}"
            path = self._folder / f"{self._name}{number}.parquet"
            self._file = open_writer(path, self._schema, in_passing=self._in_passing)
            self._files += 1
        return self._file

    def _end_file(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._rows_in_file = None, 0


def open_writer(path: Path, schema: pa.Schema, *, in_passing: bool = False) -> pq.ParquetWriter:
    """A writer as all our files are written.

    Level 1: half the time of the default, at 5 % more bytes. What is written `in_passing` takes three times the room
    and a quarter of the time. A dictionary of values that hardly repeat only costs, so texts and ids are spared it.
    """
    repetitive = [name for name in schema.names if name in _REPETITIVE]
    compression, level = ("none", None) if in_passing else ("zstd", 1)
    return pq.ParquetWriter(path, schema, compression=compression, compression_level=level, use_dictionary=repetitive)


def document_writer(folder: Path, *, is_one_file: bool = False) -> RowWriter:
    """The writer of what is collected; cleaning reads it once."""
    return RowWriter(folder, "documents", DOCUMENT, is_one_file=is_one_file, in_passing=True)


def read_batches(folder: Path, name: str = "documents", columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Record batches of all `NAME-*.parquet` in `folder`, in order. Raises `DataError` where there are none."""
    for path in parquet_files(folder, name):
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for group in range(file.num_row_groups):  # one at a time: a batch never holds more than a group's bytes
                yield from file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], columns=columns)


def count_rows(folder: Path, name: str = "documents") -> int:
    return sum(int(pq.read_metadata(path).num_rows) for path in parquet_files(folder, name))


def parquet_files(folder: Path, name: str = "documents") -> list[Path]:
    paths = sorted(folder.glob(f"{name}-*.parquet"))
    if not paths:
        raise DataError(f"{folder} holds no {name}-*.parquet; run the stage that writes them first")
    return paths
