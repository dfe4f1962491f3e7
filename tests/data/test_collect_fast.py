"""The fast way through plain tables against the careful one: the same rows, whatever is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.core.settings import SourceSettings
from tulou.data.collect import blocks, collect, tables
from tulou.data.collect.piece import Piece
from tulou.data.parquet import read_batches

COLUMNS = {"text": ("title", "body"), "label": "intent", "subject_id": "who"}

NASTY_LINES = [
    b'{"title": "a", "body": "plain", "intent": "x", "who": "c1"}',
    b'{"title": null, "body": "null title", "intent": null, "who": null}',
    b'{"title": 5, "body": 1.50, "intent": true, "who": 12345678901234567890}',
    b'{"title": "nested", "body": {"a": {"b": [1, "2", null]}}, "intent": "x", "who": "c"}',
    b'{"title": "list", "body": ["a", 1], "intent": "x", "who": "c"}',
    b'{"title": "escapes \\u4f60\\u597d \\ud83d\\ude00 \\n \\u0000", "body": "b", "intent": "x", "who": "c"}',
    b'{"title": "half \\ud800 a character", "body": "b", "intent": "x", "who": "c"}',
    b'{"title": "first", "title": "last wins", "body": "b", "intent": "x", "who": "c"}',
    b'{"title": "first", "title": 7, "body": "b", "intent": "x", "who": "c"}',
    b'{"body": "no title", "intent": "x", "who": "c"}',
    b'{"title": "crlf", "body": "b", "intent": "x", "who": "c"}\r',
    b'  {"title": "  spaces  ", "body": "\\u3000b\\u3000", "intent": " x ", "who": " "}  ',
    b"",
    b"   ",
    "\u3000".encode(),
    b"not json at all",
    b'{"title": "cut off',
    b'{"title": "two", "body": "b", "intent": "x", "who": "c"} {"title": "objects"}',
    b'[{"title": "in a list"}]',
    b'"a string"',
    b'{"title": "nan", "body": "b", "intent": "x", "who": "c", "n": NaN}',
    b'{"title": "tab	inside", "body": "b", "intent": "x", "who": "c"}',
    b'{"title": "' + b"wide  space " * 20 + b'", "body": "b", "intent": "x", "who": "c"}',
    b'{"title": "deep", "body": "b", "intent": "x", "who": "c", "d": ' + b'{"d":' * 300 + b"1" + b"}" * 300 + b"}",
    b'{"title": "' + "很长".encode() * 3000 + b'", "body": "b", "intent": "x", "who": "c"}',
    b'{"": "empty key", "title": "t", "body": "b", "intent": "x", "who": "c"}',
    b'{"title": "\xef\xbb\xbfmark", "body": "b", "intent": "x", "who": "c"}',
    b"\x1f{}",
    b"{}",
]
OFF_UTF8 = '{"title": "来自旧系统", "body": "退款什么时候到", "intent": "x", "who": "c"}'.encode("gb18030")

NASTY_CSV = [
    b"t1,b1,x,c1",
    b'"quoted, comma","line one\r\nline two",x,c2',
    b'"doubled ""quotes""",b,x,c3',
    b'stray "quote" inside,b,x,c4',
    b'"closed"then more,b,x,c5',
    b"short",
    b"too,many,values,here,and,here",
    b"surplus,but,empty,ones,,",
    b"",
    b",,,",
    "你好，世界,内容,x,c6".encode(),
    b"crlf,b,x,c7\r",
    b"lone\rcarriage,b,x,c8",
    b"  spaced  ,  b  , x , c9 ",
    b"tab\tinside,b,x,c10",
    b"nul\0inside,b,x,c11",
]


def both(path: Path, columns: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[list[Piece], list[Piece]]:
    """What the fast and the careful way make of a file, reasons for refusal in the last piece."""
    read = tables.csv_pieces if path.suffix == ".csv" else tables.jsonl_pieces
    shape = tables.TableShape(SourceSettings(name="s", url="x", **columns), "uri", "name")

    def run() -> list[Piece]:
        refused: list[str] = []
        made = list(read(path, shape, refused.append))
        return [*made, Piece("refused", "", "\n".join(refused))]

    fast = run()

    def never(path: Path, **_: Any) -> Iterator[bytes]:
        if path:
            raise blocks.NotPlainError(0)
        yield b""

    with monkeypatch.context() as patch:
        patch.setattr(tables, "plain_blocks", never)
        return fast, run()


def test_nasty_json_lines_give_the_same_rows_fast_and_carefully(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    for content in (b"\n".join(NASTY_LINES), b"\xef\xbb\xbf" + b"\r\n".join(NASTY_LINES) + b"\r\n"):
        path.write_bytes(content)
        fast, careful = both(path, COLUMNS, monkeypatch)
        assert fast == careful
        assert len(fast) > 15


@pytest.mark.parametrize("place", [0, 3, 40, 79])
def test_a_line_in_another_encoding_sends_the_rest_the_careful_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    lines = [NASTY_LINES[0]] * 80
    lines.insert(place, OFF_UTF8)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    fast, careful = both(path, COLUMNS, monkeypatch)
    assert fast == careful
    assert fast[place].position == f"row={place + 1}"
    assert fast[place].title == "来自旧系统"
    assert len(fast) == 82


def test_a_line_beyond_the_limit_is_left_out_either_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tulou.data.collect.text.MAX_LINE_BYTES", 2000)
    for name, line in (("a.jsonl", NASTY_LINES[0]), ("a.csv", b"t,b,x,c")):
        path = tmp_path / name
        long = line.replace(b"b", b"b" * 5000, 1)
        path.write_bytes(b"\n".join([b"title,body,intent,who", line, line, long, line, line]))
        fast, careful = both(path, COLUMNS, monkeypatch)
        assert fast == careful
        assert "left out" in fast[-1].text
        assert len(fast) == 5


def test_nasty_csv_gives_the_same_rows_fast_and_carefully(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    header = b"title,body,intent,who"
    for end in (b"\n", b"\r\n"):
        path.write_bytes(b"\xef\xbb\xbf" + end.join([header, *([b"t,b,x,c"] * 300), *NASTY_CSV]))
        for columns in (COLUMNS, {}):
            fast, careful = both(path, columns, monkeypatch)
            assert fast == careful
            assert len(fast) > 305


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(NASTY_LINES) | st.binary(max_size=30), max_size=12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from([16, 200, 1 << 20]),
)
def test_any_json_lines_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes, block_bytes: int
) -> None:
    _same(tmp_path_factory.mktemp("any") / "a.jsonl", [NASTY_LINES[0], *lines], end, block_bytes)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(NASTY_CSV) | st.binary(max_size=30), max_size=12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from([16, 200, 1 << 20]),
)
def test_any_csv_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes, block_bytes: int
) -> None:
    _same(tmp_path_factory.mktemp("any") / "a.csv", [b"title,body,intent,who", b"t,b,x,c", *lines], end, block_bytes)


def _same(path: Path, lines: list[bytes], end: bytes, block_bytes: int) -> None:
    path.write_bytes(end.join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks.plain_blocks, "__kwdefaults__", {"is_checked": True, "block_bytes": block_bytes})
        try:
            fast, careful = both(path, COLUMNS, patch)
        except DataError:
            return  # not text at all, or a column that nothing has
        assert fast == careful


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.sampled_from(["好。", "\n", "  ", "，", "word", "很长的词" * 20, "x" * 79, "\u3000", "\t"]), max_size=30
    )
)
def test_a_title_is_what_the_whole_text_on_one_line_begins_with(parts: list[str]) -> None:
    text = "".join(parts).strip()
    whole = " ".join(tables._CHINESE_LINE_END.sub("", text).split())
    assert tables._short(text) == whole[:80].rstrip()


def test_a_missing_column_is_told_as_early_and_in_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"body": "b", "n": {"deep": 1}}\n' * 1500)
    with pytest.raises(tables.MissingColumnError, match=r"uri has no column 'title'; it has 'body', 'n\.deep'"):
        both(path, {"text": ("title", "body")}, monkeypatch)


def test_parquet_rows_equal_those_of_json_lines(tmp_path: Path) -> None:
    rows = [
        {"title": "a", "body": "b", "intent": "x", "who": "c", "more": {"x": [1, 2]}},
        {"title": None, "body": "只有正文", "intent": None, "who": None, "more": None},
        {"title": " spaced ", "body": "line\nline", "intent": "y", "who": "d", "more": {"x": []}},
    ]
    data = tmp_path / "data"
    data.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), data / "a.parquet", row_group_size=2)
    (data / "b.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    collect(SourceSettings(name="s", url="data/*", **COLUMNS), tmp_path, tmp_path / "out", Silent())
    read = [row for batch in read_batches(tmp_path / "out") for row in batch.to_pylist()]
    same = ("position", "title", "text", "label", "subject_id", "language")
    assert [[row[key] for key in same if key != "title"] for row in read[:3]] == [
        [row[key] for key in same if key != "title"] for row in read[3:]
    ]
    assert read[0]["media_type"] == "application/vnd.apache.parquet"
    assert len({row["id"] for row in read}) == len({row["content_hash"] for row in read}) == 6


def test_many_rows_are_written_in_groups_and_read_in_bounded_batches(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.jsonl").write_text("".join(f'{{"t": "row {n}"}}\n' for n in range(20_000)))
    collect(SourceSettings(name="s", url="data/*", text=("t",)), tmp_path, tmp_path / "out", Silent())
    batches = list(read_batches(tmp_path / "out"))
    assert sum(batch.num_rows for batch in batches) == 20_000
    assert max(batch.num_rows for batch in batches) <= 8192
    [file] = (tmp_path / "out").glob("*.parquet")
    assert pq.ParquetFile(file).metadata.num_row_groups == 2
    assert batches[-1].column("position")[-1].as_py() == "row=20000"
    assert set(batches[0].column("language").to_pylist()) == {"en"}


@pytest.mark.parametrize("wrap", ["{}", '{{"stores": {}}}', "\ufeff{}"])
def test_a_large_json_file_is_streamed_to_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrap: str
) -> None:
    pytest.importorskip("ijson")
    items = [
        {"q": "何时发货？", "n": {"x": 1.5, "y": None}},
        {"q": "b", "n": {"x": 10**15, "y": True}},
        {"q": "c", "l": [1]},
    ]
    path = tmp_path / "a.json"
    path.write_text(wrap.format(json.dumps(items, ensure_ascii=False)), encoding="utf-8")
    shape = tables.TableShape(SourceSettings(name="s", url="x"), "uri", "name")
    whole = list(tables.json_pieces(path, shape, print))
    monkeypatch.setattr(tables, "MAX_JSON_BYTES", 10)
    assert list(tables.json_pieces(path, shape, print)) == whole
    assert len(whole) == 3


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"a": 1, "b": 2222222}', "does not begin with a list"),
        (b'[{"a": 1}, {"a": ', "is not JSON in UTF-8"),
        (b'[{"a": "\xff\xfe\xff"}]', "is not JSON in UTF-8"),
        (b"nonsense words", "is not JSON in UTF-8"),
    ],
)
def test_a_large_json_file_that_is_broken_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, why: str
) -> None:
    pytest.importorskip("ijson")
    monkeypatch.setattr(tables, "MAX_JSON_BYTES", 10)
    (tmp_path / "a.json").write_bytes(content)
    shape = tables.TableShape(SourceSettings(name="s", url="x"), "uri", "name")
    with pytest.raises(DataError, match=why):
        list(tables.json_pieces(tmp_path / "a.json", shape, print))
