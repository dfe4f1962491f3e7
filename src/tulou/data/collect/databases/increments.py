"""What a project has read of a database so far: numbered Parquet files that only grow in number, and where to go on.

`state.json` names the files and holds the last cursor value; replacing it, one rename, is the commit. A file it does
not name does not exist, so `kill -9` at any point loses what was uncommitted and doubles nothing. The next reading
starts at the last value, not beyond it, and leaves out what it knows already. A row read again under the same id
replaces the older one when they are given out. The price: rows deleted in the database stay; removing the folder reads
everything afresh.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tulou.core.durable import replace_file, sync_file
from tulou.core.errors import DataError
from tulou.data.collect.databases.values import read_cursor, write_cursor

# One record as it was read. The text columns are chosen when documents are made of it, so changing them reads nothing.
RECORD = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("position", pa.string(), nullable=False),
        pa.field("cursor", pa.string(), nullable=False),  # JSON of `write_cursor`; "" where there is none
        pa.field("modified_at", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("values", pa.string(), nullable=False),  # JSON object of column and text
    ]
)
RecordRow = dict[str, str]

_STATE = "state.json"
_BATCH_ROWS = 1000
_ROWS_PER_COMMIT = 50_000  # what a kill can cost


class Increments:
    """The records of one source in `folder`; those of another `identity` (URL, key or cursor) are not taken over."""

    def __init__(self, folder: Path, identity: str, rows_per_commit: int = _ROWS_PER_COMMIT) -> None:
        self._folder = folder
        self._identity = identity
        self._rows_per_commit = rows_per_commit
        self._files: list[dict[str, Any]] = []
        self._last: list[str] | None = None
        self._next_number = 1
        self._load()

    @property
    def last(self) -> Any | None:
        """The cursor value to go on from; None before the first commit."""
        return None if self._last is None else read_cursor(self._last)

    def extend(self, rows: Iterable[RecordRow]) -> int:
        """Keep `rows`, which come in the order of their cursor, and return how many of them were news."""
        self._remove_uncommitted()
        known = self._at_the_last_cursor()
        fresh = (row for row in rows if known.get(row["id"]) != row["content_hash"])
        count = 0
        while part := self._write(fresh):
            count += part
        self._remove_uncommitted()  # those of another identity, which the commit let go of
        return count

    def newest(self) -> Iterator[RecordRow]:
        """Each record once, as it was read last, in the order of reading."""
        wins = self._winners()
        start = 0
        for path in self._paths():
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                    mask = pa.array(wins[start : start + batch.num_rows])
                    start += batch.num_rows
                    yield from batch.filter(mask).to_pylist()

    def _load(self) -> None:
        path = self._folder / _STATE
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except ValueError as err:
            raise DataError(f"{path} is damaged: {err}; remove the folder {self._folder} to read afresh") from err
        self._next_number = state["next_number"]
        if state["identity"] == self._identity:
            self._files, self._last = state["files"], state["last"]

    def _commit(self) -> None:
        state = {
            "identity": self._identity,
            "files": self._files,
            "last": self._last,
            "next_number": self._next_number,
        }
        replace_file(self._folder / _STATE, json.dumps(state, indent=1).encode())

    def _write(self, rows: Iterator[RecordRow]) -> int:
        """One more file with up to `rows_per_commit` of the rows; 0 where there are none left."""
        first = list(islice(rows, 1))
        if not first:
            return 0
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"increment-{self._next_number:06d}.parquet"
        count = 0
        batch = first
        with pq.ParquetWriter(path, RECORD, compression="zstd") as writer:
            while batch:
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=RECORD))
                count += len(batch)
                last = batch[-1]["cursor"]
                batch = list(islice(rows, min(_BATCH_ROWS, self._rows_per_commit - count)))
        sync_file(path)
        self._files = [*self._files, {"name": path.name, "rows": count}]
        self._last = json.loads(last)
        self._next_number += 1
        self._commit()
        return count

    def _remove_uncommitted(self) -> None:
        named = {file["name"] for file in self._files}
        for path in self._folder.glob("increment-*.parquet"):
            if path.name not in named:
                path.unlink()

    def _at_the_last_cursor(self) -> dict[str, str]:
        """Content hash by id of the records that the next reading meets again."""
        last = json.dumps(self._last)
        known: dict[str, str] = {}
        for path in reversed(self._paths()):
            table = pq.read_table(path, columns=["id", "cursor", "content_hash"])
            equal = table.filter(pc.equal(table["cursor"], last))
            for row in equal.to_pylist():
                known.setdefault(row["id"], row["content_hash"])
            if equal.num_rows < table.num_rows:
                break
        return known

    def _winners(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """For each record in the order of reading whether it is the last one with its id."""
        ids = [np.asarray(pq.read_table(path, columns=["id"])["id"].to_numpy(), dtype="S24") for path in self._paths()]
        if not ids:
            return np.zeros(0, dtype=bool)
        backwards = np.concatenate(ids)[::-1]
        wins = np.zeros(len(backwards), dtype=bool)
        wins[np.unique(backwards, return_index=True)[1]] = True
        return wins[::-1]

    def _paths(self) -> list[Path]:
        return [self._folder / file["name"] for file in self._files]


def cursor_text(value: Any) -> str:
    """What a row's `cursor` says, equal for equal values."""
    return json.dumps(write_cursor(value))
