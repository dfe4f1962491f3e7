"""One contract for every store, on each implementation.

Local folders, memory, S3 (a moto server), and our side of WebHDFS and MongoDB (stand-ins that speak the protocol)
always run; real MongoDB and HDFS where TULOU_TEST_MONGODB_URL and TULOU_TEST_HDFS_URL name them (`pytest -m live`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest
from tests.data.servers import (
    mongodb_stand_in_url,
    s3_endpoint,
    url_from_environment,
    webhdfs_stand_in_url,
)

from tulou.core.errors import DataError, SettingsError
from tulou.data.store import Store, open_store

__all__ = ["mongodb_stand_in_url", "s3_endpoint", "webhdfs_stand_in_url"]

KINDS = [
    "local",
    "memory",
    "s3",
    "webhdfs_stand_in",
    "mongodb_stand_in",
    pytest.param("mongodb", marks=pytest.mark.live),
    pytest.param("hdfs", marks=pytest.mark.live),
]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place of each kind."""
    name = f"t{uuid.uuid4().hex[:12]}"
    if request.param == "s3":
        return made_bucket(request.getfixturevalue("s3_endpoint"), name, monkeypatch)
    if request.param == "mongodb":
        return with_database(url_from_environment("TULOU_TEST_MONGODB_URL"), name)
    if request.param == "hdfs":
        return f"{url_from_environment('TULOU_TEST_HDFS_URL').rstrip('/')}/tulou-test/{name}"
    if request.param == "mongodb_stand_in":
        return with_database(request.getfixturevalue("mongodb_stand_in_url"), name)
    if request.param == "webhdfs_stand_in":
        return f"{request.getfixturevalue('webhdfs_stand_in_url')}/{name}"
    return {"local": ".tulou/store", "memory": f"memory://{name}/store"}[str(request.param)]


def made_bucket(endpoint: str, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    import boto3  # type: ignore[import-untyped]

    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "geheim", "AWS_DEFAULT_REGION": "us-east-1"}
    for variable, value in keys.items():
        monkeypatch.setenv(variable, value)
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=name)
    return f"s3://{name}/store?endpoint_url={quote(endpoint, safe='')}"


def with_database(url: str, name: str) -> str:
    from urllib.parse import urlsplit, urlunsplit

    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture
def store(url: str, tmp_path: Path) -> Store:
    return open_store(url, tmp_path)


def tables(*numbers: int) -> list[pa.Table]:
    return [pa.table({"number": [number]}) for number in numbers]


def numbers(batches: Iterator[pa.RecordBatch]) -> list[int]:
    return [row["number"] for batch in batches for row in batch.to_pylist()]


def test_what_was_written_is_read_back_in_order(store: Store) -> None:
    url = store.write("tickets", "f1", tables(1, 2, 3))
    assert url.endswith("tickets/f1")
    assert numbers(store.read("tickets")) == [1, 2, 3]
    assert store.datasets() == ["tickets"]


def test_store_that_is_empty_has_no_datasets(store: Store) -> None:
    assert store.datasets() == []
    with pytest.raises(DataError, match="no dataset 'tickets'; it has: nothing yet"):
        store.read("tickets")


def test_schema_and_values_come_back_as_they_were(store: Store) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": "a",
            "text": "退货 😀 \x00 zero",
            "label": None,
            "n": 2**60,
            "x": 0.1,
            "f": 0.5,
            "b": b"\x00\xff",
            "l": ["一", None],
        },
        {"id": "b", "text": "", "label": "l", "n": None, "x": float("inf"), "f": None, "b": None, "l": []},
    ]
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            ("label", pa.string()),
            ("n", pa.int64()),
            ("x", pa.float64()),
            ("f", pa.float32()),
            ("b", pa.binary()),
            ("l", pa.list_(pa.string())),
            ("s", pa.struct([("role", pa.string()), ("at", pa.int32())])),
        ]
    )
    rows[0]["s"] = {"role": "user", "at": -1}
    table = pa.Table.from_pylist(rows, schema=schema)
    store.write("odd", "f1", [table])
    read = pa.Table.from_batches(list(store.read("odd")))
    assert read.schema.equals(schema)
    assert read.equals(table)


def test_many_rows_in_many_tables_keep_their_order(store: Store) -> None:
    store.write("many", "f1", (pa.table({"number": range(n, n + 1500)}) for n in range(0, 4500, 1500)))
    assert numbers(store.read("many")) == list(range(4500))


def test_dataset_without_rows_is_a_dataset(store: Store) -> None:
    store.write("none", "f1", [])
    assert numbers(store.read("none")) == []
    store.write("none", "f2", [pa.table({"number": pa.array([], pa.int64())})])
    assert numbers(store.read("none")) == []
    assert store.datasets() == ["none"]


def test_latest_is_the_last_written_and_older_versions_stay(store: Store) -> None:
    store.write("tickets", "f1", tables(1))
    store.write("tickets", "f2", tables(2))
    assert numbers(store.read("tickets")) == [2]
    assert numbers(store.read("tickets", "f1")) == [1]


def test_another_reader_sees_what_this_one_wrote_at_once(store: Store, url: str, tmp_path: Path) -> None:
    other = open_store(url, tmp_path)
    assert other.datasets() == []
    store.write("tickets", "f1", tables(1))
    assert other.datasets() == ["tickets"]
    assert numbers(other.read("tickets")) == [1]
    store.write("tickets", "f2", tables(2))
    assert numbers(other.read("tickets")) == [2]


def test_version_that_is_there_is_not_written_again_but_made_latest(store: Store) -> None:
    store.write("tickets", "f1", tables(1))
    store.write("tickets", "f2", tables(2))

    store.write("tickets", "f1", (pytest.fail("written again") for _ in range(1)))
    assert numbers(store.read("tickets")) == [1]


def test_writer_cut_off_leaves_the_latest_as_it_was(store: Store) -> None:
    store.write("tickets", "f1", tables(1))

    def cut_off() -> Iterator[pa.Table]:
        yield from tables(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write("tickets", "f2", cut_off())
    assert numbers(store.read("tickets")) == [1]
    with pytest.raises(DataError, match="no complete version 'f2'"):
        store.read("tickets", "f2")
    store.write("tickets", "f2", tables(2))
    assert numbers(store.read("tickets")) == [2]


def test_what_fails_in_the_rows_themselves_is_not_blamed_on_the_store(store: Store) -> None:
    def failing() -> Iterator[pa.Table]:
        yield from tables(2)
        raise ValueError("a row")

    with pytest.raises(ValueError, match="a row"):
        store.write("tickets", "f2", failing())


def test_unknown_dataset_is_answered_with_those_there_are(store: Store) -> None:
    store.write("tickets", "f1", tables(1))
    with pytest.raises(DataError, match="no dataset 'nothing'; it has: tickets"):
        store.read("nothing")


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden"])
def test_names_that_lead_elsewhere_are_refused(store: Store, name: str) -> None:
    with pytest.raises(DataError, match="cannot name a dataset"):
        store.write(name, "f1", tables(1))


def test_unknown_kind_of_url_is_refused_without_showing_its_password(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nonsense://host/x' cannot be used") as caught:
        open_store("nonsense://user:secret@host/x", tmp_path)
    assert "secret" not in str(caught.value)
