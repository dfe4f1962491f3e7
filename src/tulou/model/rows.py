"""Training rows from the Parquet files of a stage's folder, in memory: they are sentences, and few."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tulou.core.errors import DataError


def read_rows(path: Path, schema: pa.Schema) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, or of every Parquet file in a folder, in the order of their names.

    Raises `DataError` where a file lacks a column of `schema`.
    """
    for file in [path] if path.is_file() else sorted(path.glob("*.parquet")):
        with pq.ParquetFile(file) as parquet:
            if missing := [name for name in schema.names if name not in parquet.schema_arrow.names]:
                have = ", ".join(parquet.schema_arrow.names)
                raise DataError(f"{file} has no column {missing[0]!r}; it has {have}")
            for batch in parquet.iter_batches(batch_size=1000, columns=schema.names):
                yield from batch.to_pylist()
