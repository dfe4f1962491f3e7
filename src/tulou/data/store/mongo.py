"""Tables as documents in MongoDB: a collection for each dataset, a document for each row, fields as in the table.

Each document carries in `_version` the attempt it was written by, and in `_row` its number. The versions there are
stand in the collection `_tulou`, written last: rows of an attempt that no version names do not exist, and the next
writer of the dataset removes them. Writers of one dataset exclude each other by a lease, which ends by itself where one
was killed. The price: who reads the collection by hand asks `_tulou` first which attempt is whole.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from tulou.core.errors import BusyError, DataError, DiskFullError, SettingsError
from tulou.core.extras import load_extra
from tulou.core.urls import without_secrets
from tulou.data.store.store import checked_name

_CONTROL = "_tulou"  # no dataset can be called so
_BATCH_ROWS = 1000
_LEASE_S = 60.0
_CONNECT_TIMEOUT_MS = 5000
_SILENT_SERVER_MS = 120_000
_MAX_DOCUMENT_BYTES = 16 << 20
_TOO_LARGE, _NO_SPACE = (10334, 17419, 17280), (14031, 28)  # codes of the server's errors


class MongoStore:
    """A store in the database that a mongodb:// URL names. Connects when it is used."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._pymongo = load_extra("pymongo", "mongo", "a store in MongoDB")
        self._url = url
        self._shown = without_secrets(url).partition("?")[0]
        self._clock = clock

    def write(self, dataset: str, fingerprint: str, tables: Iterable[pa.Table]) -> str:
        version_id = f"version/{self._checked(dataset)}/{checked_name(fingerprint)}"
        with self._database("written") as database, self._lease(database, dataset) as renew:
            control = database[_CONTROL]
            if control.find_one({"_id": version_id}) is None:
                version = self._write_rows(database, dataset, fingerprint, tables, renew)
                renew()
                control.insert_one({"_id": version_id, "dataset": dataset, "fingerprint": fingerprint, **version})
            latest = {"dataset": dataset, "fingerprint": fingerprint}
            control.replace_one({"_id": f"latest/{dataset}"}, latest, upsert=True)
        return f"{self._shown.rstrip('/')}/{dataset}/{fingerprint}"

    def read(self, dataset: str, fingerprint: str | None = None) -> Iterator[pa.RecordBatch]:
        with self._database("read") as database:
            control = database[_CONTROL]
            if fingerprint is None:
                latest = control.find_one({"_id": f"latest/{self._checked(dataset)}"})
                if latest is None:
                    have = ", ".join(_latest_names(control)) or "nothing yet"
                    raise DataError(f"the store {self._shown} has no dataset {dataset!r}; it has: {have}")
                fingerprint = str(latest["fingerprint"])
            version = control.find_one({"_id": f"version/{self._checked(dataset)}/{checked_name(fingerprint)}"})
        if version is None:
            raise DataError(f"the store {self._shown} has no complete version {fingerprint!r} of {dataset!r}")
        return self._batches(dataset, version)

    def datasets(self) -> list[str]:
        with self._database("read") as database:
            return _latest_names(database[_CONTROL])

    # --- rows -----------------------------------------------------------------------------------------------------

    def _write_rows(
        self, database: Any, dataset: str, fingerprint: str, tables: Iterable[pa.Table], renew: Callable[[], None]
    ) -> dict[str, Any]:
        """What a version says of its rows, once they are all there."""
        collection = database[dataset]
        collection.create_index([("_version", 1), ("_row", 1)], unique=True)
        self._remove_unnamed(database, dataset)
        attempt = f"{fingerprint}.{uuid.uuid4().hex[:12]}"
        schema: pa.Schema | None = None
        count = 0
        for table in tables:
            if schema is None:
                schema = table.schema
                _require_exact(schema, dataset)
            for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
                renew()
                rows = batch.to_pylist()
                documents = [{"_version": attempt, "_row": count + n, **row} for n, row in enumerate(rows)]
                if batch.nbytes > _MAX_DOCUMENT_BYTES // 4:  # one of its rows may be too large; BSON needs more room
                    self._require_small(documents, dataset)
                if documents:
                    self._insert(collection, documents, dataset)
                count += len(documents)
        written = b"" if schema is None else schema.serialize().to_pybytes()
        return {"attempt": attempt, "rows": count, "schema": written}

    def _insert(self, collection: Any, documents: list[dict[str, Any]], dataset: str) -> None:
        errors = self._pymongo.errors
        try:
            collection.insert_many(documents, ordered=True)
        except (errors.DocumentTooLarge, errors.BulkWriteError, errors.OperationFailure) as err:
            details = getattr(err, "details", None) or {}
            codes = {failure.get("code") for failure in details.get("writeErrors", ())} | {getattr(err, "code", None)}
            if isinstance(err, errors.DocumentTooLarge) or codes & set(_TOO_LARGE):
                self._require_small(documents, dataset)
            raise
        except OverflowError as err:
            raise DataError(
                f"{dataset} cannot be kept in {self._shown}: it holds whole numbers beyond 64 bits"
            ) from err

    def _require_small(self, documents: list[dict[str, Any]], dataset: str) -> None:
        """Raises `DataError` that names the first row MongoDB refuses for its size."""
        from bson import encode

        for document in documents:
            size_bytes = len(encode(document))
            if size_bytes > _MAX_DOCUMENT_BYTES:
                raise DataError(
                    f"row {document['_row']} of {dataset} takes {size_bytes:,} bytes, and a document of MongoDB holds "
                    f"{_MAX_DOCUMENT_BYTES:,}; cut it into parts, or keep this dataset in a store of files"
                )

    def _remove_unnamed(self, database: Any, dataset: str) -> None:
        """What killed writers left; whoever calls holds the lease, so none of them is at work."""
        versions = database[_CONTROL].find({"dataset": dataset, "attempt": {"$exists": True}}, {"attempt": 1})
        named = [version["attempt"] for version in versions]
        database[dataset].delete_many({"_version": {"$nin": named}})

    def _batches(self, dataset: str, version: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        if not version["schema"]:
            return
        schema = pa.ipc.read_schema(pa.py_buffer(version["schema"]))
        count = 0
        with self._database("read") as database:
            found = database[dataset].find({"_version": version["attempt"]}, {"_id": 0, "_version": 0, "_row": 0})
            rows: list[dict[str, Any]] = []
            for document in found.sort("_row", 1).batch_size(_BATCH_ROWS):
                rows.append(document)
                if len(rows) == _BATCH_ROWS:
                    yield pa.RecordBatch.from_pylist(rows, schema=schema)
                    count, rows = count + len(rows), []
            if rows:
                yield pa.RecordBatch.from_pylist(rows, schema=schema)
        count += len(rows)
        if count != version["rows"]:
            raise DataError(
                f"the store {self._shown} holds {count:,} of {version['rows']:,} rows of {dataset} "
                f"{version['fingerprint']}: somebody removed some; run again to write it anew"
            )

    # --- the server -----------------------------------------------------------------------------------------------

    def _checked(self, dataset: str) -> str:
        if dataset.startswith("system."):
            raise DataError(f"{dataset!r} cannot name a dataset in MongoDB, which keeps 'system.' for itself")
        return checked_name(dataset)

    @contextmanager
    def _database(self, done: str) -> Iterator[Any]:
        errors = self._pymongo.errors
        try:
            client = self._pymongo.MongoClient(
                self._url,
                serverSelectionTimeoutMS=_CONNECT_TIMEOUT_MS,
                connectTimeoutMS=_CONNECT_TIMEOUT_MS,
                socketTimeoutMS=_SILENT_SERVER_MS,
                appname="tulou",
            )
        except (errors.PyMongoError, ValueError) as err:
            raise SettingsError(f"data.store {self._shown!r} cannot be used: {err}") from err
        with client:
            name = unquote(urlsplit(self._url).path.strip("/"))
            if not name:
                raise SettingsError(f"data.store {self._shown!r} names no database; write mongodb://HOST/DATABASE")
            safe = client[name].with_options(write_concern=self._pymongo.WriteConcern(w="majority", j=True))
            try:
                yield safe
            except errors.PyMongoError as err:
                if getattr(err, "code", None) in _NO_SPACE:
                    raise DiskFullError(f"no space left in the store {self._shown}; free some and run again") from err
                reason = " ".join(str(err).split())[:500]
                raise DataError(f"the store {self._shown} cannot be {done}: {reason}") from err

    @contextmanager
    def _lease(self, database: Any, dataset: str) -> Iterator[Callable[[], None]]:
        """The right to write `dataset`, and how to keep it. Raises `BusyError` where another holds it."""
        control, lease_id, owner = database[_CONTROL], f"lease/{dataset}", uuid.uuid4().hex
        holder = {"owner": owner, "place": _place(), "pid": os.getpid()}
        now = self._clock()
        mine = {"$set": {**holder, "until": now + _LEASE_S}}
        self._drop_lease_of_the_dead(control, lease_id)
        try:
            control.find_one_and_update({"_id": lease_id, "until": {"$lt": now}}, mine, upsert=True)
        except self._pymongo.errors.DuplicateKeyError:
            raise BusyError(
                f"another process is writing {dataset} to the store {self._shown}; wait for it, or "
                f"{_LEASE_S:.0f} s where it was killed on another machine"
            ) from None

        def renew() -> None:
            kept = control.update_one({"_id": lease_id, "owner": owner}, {"$set": {"until": self._clock() + _LEASE_S}})
            if kept.matched_count == 0:
                raise BusyError(f"another process took over writing {dataset} to the store {self._shown}; run again")

        try:
            yield renew
        finally:
            control.delete_one({"_id": lease_id, "owner": owner})

    def _drop_lease_of_the_dead(self, control: Any, lease_id: str) -> None:
        """Where the holder ran here and is gone, nobody has to wait for its lease to end."""
        held = control.find_one({"_id": lease_id})
        if held is not None and held["place"] == _place() and not _is_alive(held["pid"]):
            control.delete_one({"_id": lease_id, "owner": held["owner"]})


def _latest_names(control: Any) -> list[str]:
    found = control.find({"_id": {"$gte": "latest/", "$lt": "latest0"}})  # "0" comes after "/"
    return sorted(pointer["dataset"] for pointer in found)


def _require_exact(schema: pa.Schema, dataset: str) -> None:
    """Raises `DataError` for what MongoDB would hand back as something else, or cannot name."""
    for column in schema:
        if column.name.startswith(("$", "_version", "_row", "_id")) or "." in column.name or "\0" in column.name:
            raise DataError(f"{dataset} has a column {column.name!r}, which no document of MongoDB can have; rename it")
        if not _is_exact(column.type):
            raise DataError(
                f"column {column.name!r} of {dataset} is of type {column.type}, which MongoDB does not keep exactly; "
                "turn it into text, or keep this dataset in a store of files"
            )


def _is_exact(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind):
        return _is_exact(kind.value_type)
    if types.is_struct(kind):
        return all(_is_exact(part.type) for part in kind)
    checks = (types.is_string, types.is_large_string, types.is_boolean, types.is_integer, types.is_null)
    return any(check(kind) for check in (*checks, types.is_float32, types.is_float64, types.is_binary))


def _place() -> str:
    """This machine and its numbering of processes: within one, a process number says who is meant."""
    try:
        numbering = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbering = ""
    return f"{socket.gethostname()} {numbering}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
