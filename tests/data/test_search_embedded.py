"""What the folder promises beyond the contract: a write is whole or not there, whoever is killed or writes too."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.passages import DIMENSIONS, batch, row, vectors

from tulou.bench.search import kill_rounds
from tulou.core.errors import DataError, DiskFullError
from tulou.data.search import lance
from tulou.data.search.lance import LanceIndex


def add(index: LanceIndex, *keys: str, text: str = "common") -> None:
    texts = [f"{text} {key}" for key in keys]
    index.add(batch([row(key, each) for key, each in zip(keys, texts, strict=True)]), vectors(texts))


def worded(index: LanceIndex, query: str) -> set[str]:
    return {hit.passage.id for hit in index.search(query, None, 20)}


def test_processes_killed_while_adding_lose_no_acknowledged_row(tmp_path: Path) -> None:
    figures = kill_rounds(tmp_path / "index", 2, 1, lambda _: None)
    assert figures["kill_rows_lost"] == 0
    assert figures["kill_rows_kept"] > 0


def test_a_write_that_broke_off_is_not_seen_and_rolled_back_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = LanceIndex.create(tmp_path, DIMENSIONS)
    add(index, "first")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(lance, "_write_statistics", killed)
        with pytest.raises(KeyboardInterrupt):
            add(index, "second")
    for reader in (index, LanceIndex(tmp_path)):
        assert worded(reader, "common") == {"first"}
        reader.require_consistent()
    add(index, "third")
    for reader in (index, LanceIndex(tmp_path)):
        assert worded(reader, "common") == {"first", "third"}
        assert reader.count() == 2
        reader.require_consistent()


def test_a_full_disk_is_named_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = LanceIndex.create(tmp_path, DIMENSIONS)
    add(index, "first")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(lance, "_write_statistics", full)
        with pytest.raises(DiskFullError, match="no space left for the search index"):
            add(index, "second")
    assert worded(index, "common") == {"first"}


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    LanceIndex.create(tmp_path, DIMENSIONS).close()
    writers = [LanceIndex(tmp_path) for _ in range(2)]

    def write(number: int) -> None:
        for addition in range(6):
            add(writers[number], f"w{number}-{addition}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader = LanceIndex(tmp_path)
    assert reader.count() == 12
    reader.require_consistent()


def test_readers_follow_a_writer_without_being_opened_again(tmp_path: Path) -> None:
    now = [0.0]
    writer = LanceIndex.create(tmp_path, DIMENSIONS)
    reader = LanceIndex(tmp_path, clock=lambda: now[0])
    now[0] = 1.0
    assert worded(reader, "common") == set()
    add(writer, "a", "b")
    now[0] = 2.0
    assert worded(reader, "common") == {"a", "b"}
    writer.delete(ids=["a"])
    writer.optimize()
    now[0] = 3.0
    assert worded(reader, "common") == {"b"}


def test_searching_goes_on_while_the_index_is_written_and_optimised(tmp_path: Path) -> None:
    index = LanceIndex.create(tmp_path, DIMENSIONS)
    add(index, "steady", text="lighthouse")
    is_done = threading.Event()
    found: list[set[str]] = []

    def search() -> None:
        reader = LanceIndex(tmp_path, clock=iter(range(10**9)).__next__)  # looks at every search
        while not is_done.is_set():
            found.append(worded(reader, "lighthouse"))

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(8):
        add(index, *(f"n{number}-{place}" for place in range(50)))
        index.delete(document_ids=[f"doc-n{number}-7"])
        if number % 3 == 2:
            index.optimize()
    is_done.set()
    for thread in threads:
        thread.join()
    assert found
    assert all(each == {"steady"} for each in found)
    index.require_consistent()


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "delete", "forget", "optimize"]), st.lists(st.integers(0, 9), max_size=4)),
        max_size=8,
    )
)
def test_statistics_stay_those_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, list[int]]]
) -> None:
    index = LanceIndex.create(tmp_path_factory.mktemp("index"), DIMENSIONS)
    expected: set[str] = set()
    for what, numbers in changes:
        keys = [f"k{number}" for number in numbers]
        if what == "add":
            add(index, *keys)
            expected |= set(keys)
        elif what == "optimize":
            index.optimize()
        else:
            chosen: dict[str, Any] = {"ids": keys} if what == "delete" else {"document_ids": [f"doc-{k}" for k in keys]}
            assert index.delete(**chosen) == len(expected & set(keys))
            expected -= set(keys)
        assert index.count() == len(expected)
        index.require_consistent()
        assert worded(index, "common") == expected


def test_above_the_limit_of_flat_search_a_graph_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lance, "_FLAT_SEARCH_ROWS", 300)
    index = LanceIndex.create(tmp_path, DIMENSIONS)
    keys = [f"p{number}" for number in range(600)]
    add(index, *keys)
    index.optimize()
    late = [f"late{number}" for number in range(20)]
    add(index, *late)  # not in the graph, found all the same
    for key in ("p5", "p599", "late7"):
        assert index.search("", vectors([f"common {key}"])[0], 1)[0].passage.id == key
    assert index.delete(ids=["p5"]) == 1
    assert index.search("", vectors(["common p5"])[0], 1)[0].passage.id != "p5"
    index.optimize()
    assert index.search("late7", None, 1)[0].passage.id == "late7"
    assert {hit.passage.id for hit in index.search("", vectors(["common p9"])[0], 3, sources=["nobody"])} == set()
    index.require_consistent()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 99, "passages": 1, "dimensions": 4, "frequency": {}}', "{}"]
)
def test_a_folder_that_is_no_index_is_refused(tmp_path: Path, content: str) -> None:
    index = LanceIndex.create(tmp_path, DIMENSIONS)
    add(index, "a")
    (tmp_path / "statistics.json").write_text(content)
    with pytest.raises(DataError, match="holds no search index; make one with `tulou run`"):
        LanceIndex(tmp_path)


def test_statistics_that_are_not_those_of_the_rows_are_told(tmp_path: Path) -> None:
    index = LanceIndex.create(tmp_path, DIMENSIONS)
    add(index, "a")
    raw = json.loads((tmp_path / "statistics.json").read_text())
    (tmp_path / "statistics.json").write_text(json.dumps({**raw, "frequency": {"common": 2}}))
    with pytest.raises(DataError, match="are not those of its passages"):
        LanceIndex(tmp_path).require_consistent()
