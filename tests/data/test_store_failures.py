"""What goes wrong with stores: dead servers, wrong keys, kills, two writers, documents too large."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pytest
from tests.data.servers import (
    free_port,
    mongodb_stand_in_url,
    s3_endpoint,
    webhdfs_stand_in_url,
)
from tests.data.test_store import made_bucket, numbers, tables, with_database

from tulou.core.errors import BusyError, DataError, SettingsError
from tulou.data.store import open_store
from tulou.data.store.mongo import MongoStore

__all__ = ["mongodb_stand_in_url", "s3_endpoint", "webhdfs_stand_in_url"]

SLOW_WRITER = """
import sys, time
from pathlib import Path
import pyarrow as pa
from tulou.data.store import open_store
def tables():
    for number in range(1000):
        if number == 5: print("writing", flush=True)
        yield pa.table({"number": [number]})
        time.sleep(0.01)
open_store(sys.argv[1], Path(sys.argv[2])).write("tickets", "f2", tables())
"""


@pytest.mark.parametrize("kind", ["local", "s3", "webhdfs", "mongodb"])
def test_killed_writer_leaves_nothing_visible_and_the_next_one_cleans_up(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"t{uuid.uuid4().hex[:12]}"
    if kind == "local":
        url = "store"
    elif kind == "s3":
        url = made_bucket(request.getfixturevalue("s3_endpoint"), name, monkeypatch)
    elif kind == "webhdfs":
        url = f"{request.getfixturevalue('webhdfs_stand_in_url')}/{name}"
    else:
        url = with_database(request.getfixturevalue("mongodb_stand_in_url"), name)
    store = open_store(url, tmp_path)
    store.write("tickets", "f1", tables(1))
    writer = subprocess.Popen([sys.executable, "-c", SLOW_WRITER, url, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"writing\n"
    if kind == "mongodb":
        with pytest.raises(BusyError, match="another process is writing tickets"):
            store.write("tickets", "f3", tables(3))
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()

    assert numbers(store.read("tickets")) == [1]
    with pytest.raises(DataError, match="no complete version 'f2'"):
        store.read("tickets", "f2")
    store.write("tickets", "f2", tables(2))
    assert numbers(store.read("tickets")) == [2]
    assert numbers(store.read("tickets", "f1")) == [1]
    if kind == "mongodb":
        import pymongo

        with pymongo.MongoClient(url) as client:
            assert client[name]["tickets"].count_documents({}) == 2


@pytest.mark.parametrize(
    "url",
    [
        "hdfs://127.0.0.1:{}/tulou",
        "webhdfs://127.0.0.1:{}/tulou",
        "mongodb://u:geheim@127.0.0.1:{}/tulou",
        "s3://key:geheim@bucket/x?endpoint_url=http://127.0.0.1:{}",
    ],
)
def test_server_that_is_not_there_is_told_within_seconds(url: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match=r"the store .* cannot be") as caught:
        open_store(url.format(free_port()), tmp_path).write("tickets", "f1", tables(1))
    assert time.monotonic() - started < 15
    assert "geheim" not in str(caught.value)


def test_hdfs_server_that_accepts_and_says_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tulou.data.store.file_systems._ANSWER_TIMEOUT_S", 1.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        for scheme in ("hdfs", "webhdfs"):
            started = time.monotonic()
            with pytest.raises(DataError, match="does not answer within 1 s"):
                open_store(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/x", tmp_path)
            assert time.monotonic() - started < 5


def test_bucket_that_is_missing_is_told(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_bucket(s3_endpoint, f"t{uuid.uuid4().hex[:12]}", monkeypatch)
    url = f"s3://no-such-bucket-{uuid.uuid4().hex[:8]}/x?endpoint_url={quote(s3_endpoint, safe='')}"
    with pytest.raises(DataError, match=r"cannot be written: .*bucket does not exist"):
        open_store(url, tmp_path).write("tickets", "f1", tables(1))
    assert open_store(url, tmp_path).datasets() == []


def test_keys_of_s3_may_stand_in_the_url_and_are_never_shown(
    s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = made_bucket(s3_endpoint, f"t{uuid.uuid4().hex[:12]}", monkeypatch)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("MINIO_SECRET", "ge/h@eim")
    keyed = url.replace("s3://", "s3://key:${MINIO_SECRET}@")
    written = open_store(keyed, tmp_path).write("tickets", "f1", tables(1))
    assert written.startswith("s3://t")
    assert "eim" not in written
    assert numbers(open_store(keyed, tmp_path).read("tickets")) == [1]


def test_document_beyond_what_mongodb_holds_is_named(mongodb_stand_in_url: str, tmp_path: Path) -> None:
    store = open_store(with_database(mongodb_stand_in_url, f"t{uuid.uuid4().hex[:12]}"), tmp_path)
    table = pa.table({"text": ["short", "x" * (17 << 20), "short"]})
    with pytest.raises(DataError, match=r"row 1 of tickets takes 17,.* a document of MongoDB holds 16,777,216; cut it"):
        store.write("tickets", "f1", [table])
    assert store.datasets() == []
    store.write("tickets", "f1", tables(1))
    assert numbers(store.read("tickets")) == [1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"a.b": [1]}), "has a column 'a.b', which no document of MongoDB can have"),
        (pa.table({"$a": [1]}), "has a column"),
        (pa.table({"_row": [1]}), "has a column '_row'"),
        (pa.table({"at": pa.array([1], pa.timestamp("ns"))}), "which MongoDB does not keep exactly"),
        (pa.table({"n": pa.array([2**64 - 1], pa.uint64())}), "whole numbers beyond 64 bits"),
    ],
)
def test_table_that_mongodb_cannot_keep_exactly_is_refused(
    mongodb_stand_in_url: str, table: pa.Table, message: str, tmp_path: Path
) -> None:
    store = open_store(with_database(mongodb_stand_in_url, f"t{uuid.uuid4().hex[:12]}"), tmp_path)
    with pytest.raises(DataError, match=message.replace("$", r"\$")):
        store.write("tickets", "f1", [table])


def test_lease_of_a_writer_killed_elsewhere_ends_by_itself(mongodb_stand_in_url: str) -> None:
    import pymongo

    name = f"t{uuid.uuid4().hex[:12]}"
    url = with_database(mongodb_stand_in_url, name)
    with pymongo.MongoClient(url) as client:
        held = {"_id": "lease/tickets", "owner": "x", "place": "elsewhere", "pid": 1, "until": 100.0}
        client[name]["_tulou"].insert_one(held)
    with pytest.raises(BusyError):
        MongoStore(url, clock=lambda: 99.0).write("tickets", "f1", tables(1))
    MongoStore(url, clock=lambda: 101.0).write("tickets", "f1", tables(1))
    assert numbers(MongoStore(url).read("tickets")) == [1]


def test_writer_whose_lease_was_taken_over_stops(mongodb_stand_in_url: str) -> None:
    import pymongo

    name = f"t{uuid.uuid4().hex[:12]}"
    url = with_database(mongodb_stand_in_url, name)

    def taken_over() -> Iterator[pa.Table]:
        yield from tables(1)
        with pymongo.MongoClient(url) as client:
            client[name]["_tulou"].update_one({"_id": "lease/tickets"}, {"$set": {"owner": "another"}})
        yield from tables(2)

    with pytest.raises(BusyError, match="another process took over"):
        MongoStore(url).write("tickets", "f1", taken_over())
    assert MongoStore(url).datasets() == []


def test_rows_that_somebody_removed_are_missed(mongodb_stand_in_url: str, tmp_path: Path) -> None:
    import pymongo

    name = f"t{uuid.uuid4().hex[:12]}"
    url = with_database(mongodb_stand_in_url, name)
    store = open_store(url, tmp_path)
    store.write("tickets", "f1", tables(1, 2))
    with pymongo.MongoClient(url) as client:
        client[name]["tickets"].delete_one({"number": 1})
    with pytest.raises(DataError, match="holds 1 of 2 rows of tickets f1"):
        numbers(store.read("tickets"))


@pytest.mark.parametrize("url", ["mongodb://127.0.0.1:1/", "mongodb://"])
def test_url_of_mongodb_must_name_a_database(url: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"data\.store"):
        open_store(url, tmp_path).datasets()


def test_webhdfs_pointer_is_there_at_every_moment(webhdfs_stand_in_url: str, tmp_path: Path) -> None:
    """Read while it is replaced again and again: there is always one, and always a whole one."""
    url = f"{webhdfs_stand_in_url}/t{uuid.uuid4().hex[:12]}"
    store = open_store(url, tmp_path)
    store.write("tickets", "f0", tables(0))
    for number in range(1, 4):
        store.write("tickets", f"f{number}", tables(number))
    program = (
        "import sys; from pathlib import Path; from tulou.data.store import open_store\n"
        "store = open_store(sys.argv[1], Path('.')); print('reading', flush=True)\n"
        "for _ in range(80): assert len(list(store.read('tickets'))) == 1\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE)
    assert reader.stdout is not None
    reader.stdout.readline()
    for number in range(30):
        store.write("tickets", f"f{number % 4}", [])
    reader.stdout.close()
    assert reader.wait() == 0
