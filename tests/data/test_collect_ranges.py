"""Reading a large file in ranges gives what reading it line by line gives, or is left to that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tulou.core.progress import Silent
from tulou.core.settings import SourceSettings
from tulou.data.collect import collect, ranges
from tulou.data.engine import InProcess, ProcessPool
from tulou.data.parquet import read_batches

SOURCE = SourceSettings(name="s", url="data/*.jsonl", text=("a", "b"), label="kind", subject_id="who")


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "RANGE_BYTES", 1000)
    monkeypatch.setattr(ranges, "_BLOCK_BYTES", 300)


def write(project: Path, lines: list[bytes], end: bytes = b"\n") -> None:
    (project / "data").mkdir()
    (project / "data" / "x.jsonl").write_bytes(end.join(lines) + end)


def rows(project: Path, engine: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    out = project / f"out-{type(engine).__name__}"
    with engine or InProcess():
        summary = collect(SOURCE, project, out, Silent(), engine=engine)
    assert not [path for path in out.iterdir() if not path.name.startswith("documents-")]
    return [row for batch in read_batches(out) for row in batch.to_pylist()], summary


def lines_of(count: int) -> list[bytes]:
    made = [
        {"a": f"第{n}行", "b": "text " * (n % 40), "kind": "x" if n % 3 else None, "who": f"c{n % 7}"}
        for n in range(count)
    ]
    return [json.dumps(row, ensure_ascii=bool(n % 2)).encode() for n, row in enumerate(made)]


@pytest.mark.parametrize(("mark", "end"), [(b"", b"\n"), (b"\xef\xbb\xbf", b"\r\n")])
def test_plain_lines_are_the_same_in_ranges(tmp_path: Path, mark: bytes, end: bytes) -> None:
    lines = lines_of(200)
    write(tmp_path, [mark + lines[0], *lines[1:]], end)
    expected = rows(tmp_path, None)
    assert len(expected[0]) == 200
    assert rows(tmp_path, InProcess()) == expected
    assert len(list((tmp_path / "out-InProcess").glob("*.parquet"))) > 10


def test_ranges_are_read_by_other_processes(tmp_path: Path) -> None:
    write(tmp_path, lines_of(300))
    assert rows(tmp_path, ProcessPool(2)) == rows(tmp_path, None)


@pytest.mark.parametrize(
    "odd",
    [
        b"not json",
        b'{"a": 1, "b": "x"}',
        b"[]",
        b"",
        b'{"a": "gb \xc4\xe3\xba\xc3", "b": "x"}',
        b'{"a": "' + b"x" * (1 << 20) + b'"}',
    ],
)
def test_one_odd_line_leaves_the_whole_file_to_the_careful_reader(tmp_path: Path, odd: bytes) -> None:
    lines = lines_of(120)
    write(tmp_path, [*lines[:90], odd, *lines[90:]])
    assert rows(tmp_path, InProcess()) == rows(tmp_path, None)
    assert len(list((tmp_path / "out-InProcess").glob("*.parquet"))) == 1
