"""Passages into an index, wherever it is: encoded group by group, added, and put in order at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tulou.core.errors import DataError
from tulou.core.progress import Progress
from tulou.core.types import Encode
from tulou.data.search.hybrid import SearchIndex, embedded_text
from tulou.data.search.lance import UNREAD, LanceIndex

__all__ = ["CreateIndex", "SearchIndex", "build_index", "fill_index", "open_index"]

_ENCODE_BATCH = 64
_GROUP = 4096  # passages added at once; what an addition costs beside them is then lost in the encoder's time

CreateIndex = Callable[[int], SearchIndex]
"""Makes a new and empty index for vectors of so many dimensions."""


def build_index(
    passages: Iterable[pa.RecordBatch], encode: Encode, out: Path, progress: Progress, *, total: int | None = None
) -> dict[str, Any]:
    """Index PASSAGE batches into the folder `out`; returns and raises what `fill_index` does."""

    def create(dimensions: int) -> SearchIndex:
        return LanceIndex.create(out, dimensions, readable_for=UNREAD)

    return fill_index(passages, encode, create, progress, total=total)


def fill_index(
    passages: Iterable[pa.RecordBatch],
    encode: Encode,
    create: CreateIndex,
    progress: Progress,
    *,
    total: int | None = None,
) -> dict[str, Any]:
    """Index PASSAGE batches into a new index.

    Returns {"passages", "documents", "dimensions", "by_language"}. Raises `DataError` where there is nothing.
    """
    by_language: Counter[str] = Counter()
    documents: set[str] = set()
    index: SearchIndex | None = None
    with progress.bar("index", total=total, unit="passages") as bar:
        for group in _grouped(passages):
            rows = group.to_pylist()
            vectors = []
            for start in range(0, len(rows), _ENCODE_BATCH):
                part = rows[start : start + _ENCODE_BATCH]
                vectors.append(np.asarray(encode([embedded_text(row) for row in part]), dtype=np.float32))
                bar.advance(len(part))
            index = index or create(vectors[0].shape[1])
            index.add(group, np.concatenate(vectors))
            by_language.update(row["language"] for row in rows)
            documents.update(row["document_id"] for row in rows)
        if index is None:
            raise DataError("there is no passage to index; every indexed source came out empty after cleaning")
        index.optimize()
    summary = {
        "passages": index.count(),
        "documents": len(documents),
        "dimensions": index.dimensions,
        "by_language": dict(by_language),
    }
    index.close()
    return summary


def open_index(folder: str | Path) -> SearchIndex:
    """Open what `build_index` made. Raises `DataError` where there is no index."""
    return LanceIndex(Path(folder))


def _grouped(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of about `_GROUP`."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        for start in range(0, batch.num_rows, _GROUP):
            waiting.append(batch.slice(start, _GROUP))
            if sum(each.num_rows for each in waiting) >= _GROUP:
                yield pa.concat_batches(waiting)
                waiting = []
    if waiting:
        yield pa.concat_batches(waiting)
