"""The embedded index: a folder in which LanceDB keeps passages, their words and their vectors.

LanceDB's every write is a new version of the table. `statistics.json` names the version that counts, with the document
frequencies of exactly that version, and is replaced whole after each write: this replacement is the moment a write
becomes true. Readers look for a new one five times a second at most and search the version it names; a writer killed
before leaves a version that nobody reads and the next writer rolls back. The price: each write rewrites the vocabulary
(3 MB for 200,000 terms), so add by the hundred, not one by one.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tulou.core.disk import is_disk_full
from tulou.core.errors import DataError, DiskFullError
from tulou.core.tables import PASSAGE
from tulou.core.types import Hit, Passage
from tulou.data.search.hybrid import (
    Frequencies,
    Rerank,
    Restriction,
    Row,
    hybrid_search,
    milliseconds,
    passage_terms,
    require_dimensions,
    require_query_dimensions,
    storable,
)

_TABLE = "passages"
_STATISTICS = "statistics.json"
_LOCK = "writer.lock"
_LOOK_EVERY_S = 0.2
_FLAT_SEARCH_ROWS = 5_000  # up to here comparing with every vector is exact and takes 5 ms; it is 24 at 20,000
_EF = 350  # neighbours kept in view by a graph search: recall@10 of 200,000 is 0.986 at 250, 0.993 at 350 (+0.3 ms)
_EF_CONSTRUCTION = 100  # 300 took 2.5 times as long for the same recall
_REFINE = 1  # the nearest by 8-bit numbers are put in order by the whole ones
_MAX_WORD_BYTES = 160  # a word is at most 40 characters
_ID_BATCH = 5000
_FILTERED = ("id", "document_id", "source", "language")
_READABLE_FOR = timedelta(hours=1)  # how long files of old versions stay for those who still read them
UNREAD = timedelta(milliseconds=1)  # for an index that nobody but its maker knows
_FOREVER = timedelta(days=36_500)

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Statistics:
    """What `statistics.json` holds."""

    version: int
    passages: int
    dimensions: int
    frequency: Mapping[str, int]


class LanceIndex:
    """Made by `create`, opened by `LanceIndex(folder)`. Raises `DataError` where the folder holds no index."""

    def __init__(
        self, folder: Path, *, readable_for: timedelta = _READABLE_FOR, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._readable_for = readable_for
        self._clock = clock
        self._looking = threading.Lock()
        self._mark: tuple[int, int, int] | None = None
        self._look_again = 0.0
        self._view = self._read()

    @classmethod
    def create(cls, folder: Path, dimensions: int, *, readable_for: timedelta = _READABLE_FOR) -> LanceIndex:
        """A new and empty index in `folder`; whatever index was there is gone.

        `readable_for` is how long old versions stay when it is optimised: `UNREAD` where nobody reads it yet.
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _STATISTICS).unlink(missing_ok=True)
        shutil.rmtree(folder / f"{_TABLE}.lance", ignore_errors=True)
        version = _await(_create_table(folder, dimensions))
        _write_statistics(folder, _Statistics(version, 0, dimensions, {}))
        return cls(folder, readable_for=readable_for)

    @property
    def dimensions(self) -> int:
        return self._view.statistics.dimensions

    @property
    def terms(self) -> int:
        """How many different words the passages have."""
        return len(self._current().statistics.frequency)

    def count(self) -> int:
        return self._current().statistics.passages

    def get(self, ids: Sequence[str]) -> list[Passage]:
        asked = storable(ids)
        if not asked:
            return []
        found = {passage.id: passage for passage in _await(self._current().passages(_among("id", asked)))}
        return [found[key] for key in ids if key in found]

    def search(
        self,
        query: str,
        vector: NDArray[np.float32] | None,
        k: int,
        *,
        languages: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        since: str | None = None,
        until: str | None = None,
        vector_weight: float = 1.0,
        rerank: Rerank | None = None,
    ) -> list[Hit]:
        view = self._current()
        if vector is not None:
            require_query_dimensions(vector, view.statistics.dimensions)
        where = Restriction.of(languages, sources, since, until)
        return hybrid_search(view, query, vector, k, where, vector_weight, rerank)

    def add(self, passages: pa.RecordBatch, vectors: NDArray[np.float32]) -> None:
        require_dimensions(vectors, passages.num_rows, self.dimensions)
        last = {key: place for place, key in enumerate(passages.column("id").to_pylist())}
        if not last:
            return
        if len(last) < passages.num_rows:  # of several rows with one id the last one counts
            places = sorted(last.values())
            passages, vectors = passages.take(pa.array(places)), vectors[places]
        rows = passages.to_pylist()
        terms = [passage_terms(row) for row in rows]
        with self._writing() as draft:
            ids = list(last)
            for start in range(0, len(ids), _ID_BATCH):
                draft.remove(_among("id", ids[start : start + _ID_BATCH]))
            draft.append(_table_rows(passages, rows, terms, vectors), terms)

    def delete(self, *, ids: Sequence[str] = (), document_ids: Sequence[str] = ()) -> int:
        removed = 0
        with self._writing() as draft:
            for column, values in (("id", ids), ("document_id", document_ids)):
                asked = storable(values)
                for start in range(0, len(asked), _ID_BATCH):
                    removed += draft.remove(_among(column, asked[start : start + _ID_BATCH]))
        return removed

    def optimize(self) -> None:
        with self._writing() as draft:
            draft.optimize()
        with self._writing() as draft:  # only now does nothing point to a version that may go
            _await(draft.table.optimize(cleanup_older_than=self._readable_for))
            draft.is_changed = True

    def require_consistent(self) -> None:
        """Raises `DataError` unless the statistics say of the table what counting its words says; reads all of it."""
        view = self._current()
        counted: Counter[str] = Counter()
        texts = _await(_words_where(view.table, "true"))
        for text in texts:
            counted.update(set(text.split()))
        if len(texts) != view.statistics.passages or counted != view.statistics.frequency:
            raise DataError(f"the statistics of the search index in {self._folder} are not those of its passages")

    def close(self) -> None:
        _await(_closed(self._view.table))

    def _current(self) -> _View:
        if self._clock() >= self._look_again and self._looking.acquire(blocking=False):
            try:
                self._look_again = self._clock() + _LOOK_EVERY_S
                if _mark(self._folder) != self._mark:
                    self._view = self._read()
            finally:
                self._looking.release()
        return self._view

    def _read(self) -> _View:
        try:
            mark = _mark(self._folder)
            raw = json.loads((self._folder / _STATISTICS).read_text(encoding="utf-8"))
            statistics = _Statistics(raw["version"], raw["passages"], raw["dimensions"], raw["frequency"])
            table = _await(_open_table(self._folder, statistics.version))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as err:
            raise DataError(f"{self._folder} holds no search index; make one with `tulou run`") from err
        self._mark = mark
        return _View(table, statistics)

    @contextmanager
    def _writing(self) -> Iterator[_Draft]:
        """The newest state to change, alone; what was changed becomes true when the block ends without an error."""
        with (self._folder / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released with the file, so also by a kill
            with self._looking:
                if _mark(self._folder) != self._mark:
                    self._view = self._read()
            view = self._view
            draft = _Draft(_await(_latest_table(self._folder, view.statistics.version)), view.statistics)
            try:
                yield draft
                if draft.is_changed:
                    _write_statistics(self._folder, draft.finished())
            except (OSError, RuntimeError) as err:
                if is_disk_full(err):
                    raise DiskFullError(f"no space left for the search index in {self._folder}") from err
                raise
        self._look_again = 0.0


class _View:
    """One version of the table with its statistics; never changes. A key is a row's number within it."""

    def __init__(self, table: Any, statistics: _Statistics) -> None:
        self.table = table
        self.statistics = statistics

    def frequencies(self, terms: Sequence[str]) -> Frequencies:
        frequency = self.statistics.frequency
        return Frequencies(self.statistics.passages, {term: frequency.get(term, 0) for term in terms})

    def rankings(
        self, terms: Sequence[str], vector: NDArray[np.float32] | None, where: Restriction, limit: int
    ) -> tuple[Sequence[int], Sequence[int]]:
        if not self.statistics.passages:
            return [], []
        return _await(self._rankings(terms, vector, _condition(where), limit))

    def rows(self, keys: Sequence[int], vector: NDArray[np.float32] | None) -> Mapping[int, Row]:
        table: pa.Table = _await(self._take(list(keys), ["packed"] if vector is None else ["packed", "vector"]))
        cosines = np.zeros(table.num_rows) if vector is None else _matrix(table["vector"]) @ vector
        read = zip(table["_rowid"].to_pylist(), table["packed"].to_pylist(), cosines.tolist(), strict=True)
        return {key: Row(*_unpacked(packed), cosine) for key, packed, cosine in read}

    async def passages(self, condition: str) -> list[Passage]:
        found = await self.table.query().where(condition).select(["packed"]).to_arrow()
        return [_unpacked(packed)[0] for packed in found["packed"].to_pylist()]

    async def _rankings(
        self, terms: Sequence[str], vector: NDArray[np.float32] | None, condition: str | None, limit: int
    ) -> tuple[list[int], list[int]]:
        import asyncio

        by_words, by_vector = await asyncio.gather(
            self._by_words(terms, condition, limit), self._by_vector(vector, condition, limit)
        )
        return by_words, by_vector

    async def _by_words(self, terms: Sequence[str], condition: str | None, limit: int) -> list[int]:
        from lancedb.query import MatchQuery

        if not terms:
            return []
        search = self.table.query().nearest_to_text(MatchQuery(" ".join(terms), "words"))
        return await _row_ids(search, condition, "_score", limit)

    async def _by_vector(self, vector: NDArray[np.float32] | None, condition: str | None, limit: int) -> list[int]:
        if vector is None:
            return []
        search = self.table.query().nearest_to(vector).column("vector").distance_type("cosine")
        return await _row_ids(search.ef(_EF).refine_factor(_REFINE), condition, "_distance", limit)

    async def _take(self, keys: list[int], columns: list[str]) -> pa.Table:
        return await self.table.take_row_ids(keys).select(columns).with_row_id().to_arrow()


class _Draft:
    """The newest version of the table, and what the statistics will be."""

    def __init__(self, table: Any, before: _Statistics) -> None:
        self.table = table
        self.is_changed = False
        self._before = before
        self._passages = before.passages
        self._frequency = Counter(before.frequency)

    def append(self, data: pa.Table, terms: Sequence[Sequence[str]]) -> None:
        _await(self.table.add(data))
        self.is_changed = True
        self._passages += data.num_rows
        for row in terms:
            self._frequency.update(set(row))

    def remove(self, condition: str) -> int:
        if not self._passages:
            return 0
        gone = _await(_words_where(self.table, condition))
        if not gone:
            return 0
        _await(self.table.delete(condition))
        self.is_changed = True
        self._passages -= len(gone)
        for row in gone:
            self._frequency.subtract(set(row.split()))
        return len(gone)

    def optimize(self) -> None:
        self.is_changed = True
        _await(_optimized(self.table, self._passages))

    def finished(self) -> _Statistics:
        return _Statistics(
            version=_await(self.table.version()),
            passages=self._passages,
            dimensions=self._before.dimensions,
            frequency={term: count for term, count in self._frequency.items() if count > 0},
        )


def _await(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of `work` on LanceDB's own event loop. Its blocking interface takes 2 ms more for each call."""
    _lancedb()
    from lancedb.background_loop import LOOP

    result: _T = LOOP.run(work)
    return result


def _lancedb() -> Any:
    os.environ.setdefault("LANCEDB_LOG", "error")  # it warns that a new table did not exist before
    import lancedb

    # Replicas are started by fork and exec; what it warns of is a fork that goes on using it.
    warnings.filterwarnings("ignore", "lancedb fork support", RuntimeWarning)
    return lancedb


async def _create_table(folder: Path, dimensions: int) -> int:
    from lancedb.index import FTS

    table = await (await _lancedb().connect_async(str(folder))).create_table(
        _TABLE, schema=_schema(dimensions), mode="overwrite"
    )
    await table.create_index("words", config=_words_index(FTS))
    version: int = await table.version()
    return version


async def _open_table(folder: Path, version: int) -> Any:
    table = await (await _lancedb().connect_async(str(folder))).open_table(_TABLE)
    await table.checkout(version)
    return table


async def _latest_table(folder: Path, version: int) -> Any:
    """The table to write to. What a killed writer left behind `version` is rolled back."""
    table = await (await _lancedb().connect_async(str(folder))).open_table(_TABLE)
    if await table.version() != version:
        await table.checkout(version)
        await table.restore()
    return table


async def _closed(table: Any) -> None:
    table.close()


async def _row_ids(search: Any, condition: str | None, score: str, limit: int) -> list[int]:
    if condition:
        search = search.where(condition)
    found = await search.select([score]).with_row_id().limit(limit).to_arrow()
    ids: list[int] = found["_rowid"].to_pylist()
    return ids


async def _words_where(table: Any, condition: str) -> list[str]:
    found = await table.query().where(condition).select(["words"]).to_arrow()
    words: list[str] = found["words"].to_pylist()
    return words


async def _optimized(table: Any, passages: int) -> None:
    """Few files, and all rows in the indices. Old versions stay: `statistics.json` still names one of them."""
    from lancedb.index import FTS, Bitmap, BTree, HnswSq

    indices = {index.name: index for index in await table.list_indices()}
    unindexed = indices["words_idx"].num_unindexed_rows or 0
    await table.optimize(cleanup_older_than=_FOREVER)
    if 2 * unindexed > passages:  # made anew in a second, it has one part instead of many
        await table.create_index("words", config=_words_index(FTS))
    if passages <= _FLAT_SEARCH_ROWS or "vector_idx" in indices:
        return
    graph = HnswSq(distance_type="cosine", num_partitions=1, ef_construction=_EF_CONSTRUCTION)
    await table.create_index("vector", config=graph)
    for column, kind in (("id", BTree), ("document_id", BTree), ("language", Bitmap), ("source", Bitmap)):
        await table.create_index(column, config=kind())
    await table.create_index("modified_ms", config=BTree())


def _words_index(kind: Any) -> Any:
    return kind(
        base_tokenizer="whitespace",
        stem=False,
        remove_stop_words=False,
        lower_case=False,
        ascii_folding=False,
        max_token_length=_MAX_WORD_BYTES,
    )


def _schema(dimensions: int) -> pa.Schema:
    """What is searched and filtered by, and beside it the whole row `packed` into one.

    Fetching rows costs by the column: 89 rows take 5.6 ms in twelve columns and 3.6 in two.
    """
    return pa.schema(
        [
            *(pa.field(name, pa.string()) for name in _FILTERED),
            pa.field("modified_ms", pa.int64()),
            pa.field("words", pa.string()),
            pa.field("packed", pa.string()),
            pa.field("vector", pa.list_(pa.float32(), dimensions)),
        ]
    )


def _table_rows(
    batch: pa.RecordBatch,
    rows: Sequence[Mapping[str, str]],
    terms: Sequence[Sequence[str]],
    vectors: NDArray[np.float32],
) -> pa.Table:
    columns = {name: batch.column(name) for name in _FILTERED}
    columns["words"] = pa.array([" ".join(row) for row in terms], pa.string())
    columns["modified_ms"] = pa.array([milliseconds(row["modified_at"]) for row in rows], pa.int64())
    columns["packed"] = pa.array([_packed(row, each) for row, each in zip(rows, terms, strict=True)], pa.string())
    numbers = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel(), pa.float32())
    columns["vector"] = pa.FixedSizeListArray.from_arrays(numbers, vectors.shape[1])
    return pa.table(columns, schema=_schema(vectors.shape[1]))


def _packed(row: Mapping[str, str], terms: Sequence[str]) -> str:
    return json.dumps([" ".join(dict.fromkeys(terms)), *(row[name] for name in PASSAGE.names)], ensure_ascii=False)


def _unpacked(packed: str) -> tuple[Passage, str]:
    words, *values = json.loads(packed)
    return Passage(**dict(zip(PASSAGE.names, values, strict=True))), words


def _matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """(rows, dimensions)"""
    flat = column.combine_chunks()
    numbers: NDArray[np.float32] = flat.flatten().to_numpy(zero_copy_only=False).reshape(len(flat), -1)
    return numbers


def _condition(where: Restriction) -> str | None:
    """`where` in SQL. Texts only ever stand between quotes, where SQL knows one special character: the quote."""
    chosen = (("language", where.languages), ("source", where.sources))
    parts = [_among(column, values) for column, values in chosen if values is not None]
    if where.since_ms is not None:
        parts.append(f"modified_ms >= {where.since_ms}")
    if where.until_ms is not None:
        parts.append(f"modified_ms <= {where.until_ms}")
    return " AND ".join(parts) or None


def _among(column: str, values: Sequence[str]) -> str:
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({quoted})"


def _mark(folder: Path) -> tuple[int, int, int]:
    found = (folder / _STATISTICS).stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _write_statistics(folder: Path, statistics: _Statistics) -> None:
    """Replace the file whole, after it has reached the disk: from now on this version counts."""
    partial = folder / f"{_STATISTICS}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump(vars(statistics), file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / _STATISTICS)
