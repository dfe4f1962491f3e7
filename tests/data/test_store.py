"""One contract for every store, on each implementation."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tulou.core.errors import DataError, SettingsError
from tulou.data.store import Store, open_store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    urls = {"local": ".tulou/store", "memory": f"memory://{uuid.uuid4().hex}/store"}
    return open_store(urls[request.param], tmp_path)


def tables(*numbers: int) -> list[pa.Table]:
    return [pa.table({"number": [number]}) for number in numbers]


def numbers(batches: Iterator[pa.RecordBatch]) -> list[int]:
    return [row["number"] for batch in batches for row in batch.to_pylist()]


def test_what_was_written_is_read_back_in_order(store: Store) -> None:
    url = store.write("tickets", "f1", tables(1, 2, 3))
    assert url.endswith("tickets/f1")
    assert numbers(store.read("tickets")) == [1, 2, 3]
    assert store.datasets() == ["tickets"]


def test_latest_is_the_last_written_and_older_versions_stay(store: Store) -> None:
    store.write("tickets", "f1", tables(1))
    store.write("tickets", "f2", tables(2))
    assert numbers(store.read("tickets")) == [2]
    assert numbers(store.read("tickets", "f1")) == [1]


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
