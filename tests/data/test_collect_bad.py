"""Bad input of every kind: each is refused in one clear sentence, and the good file beside it is still read."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import sys
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.core.settings import SourceSettings
from tulou.data.collect import collect, tables
from tulou.data.collect.archive import unpacked
from tulou.data.collect.files import SourceFile
from tulou.data.parquet import read_batches


def gather(project: Path, **columns: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    out = project / "out"
    summary = collect(SourceSettings(name="s", url="data/**/*", **columns), project, out, Silent())
    return summary, [row for batch in read_batches(out) for row in batch.to_pylist()]


def locked_pdf() -> bytes:
    raw = io.BytesIO()
    canvas = Canvas(raw, encrypt=StandardEncryption("secret", ownerPassword="owner"))
    canvas.drawString(100, 100, "hidden")
    canvas.save()
    return raw.getvalue()


def locked_zip() -> bytes:
    """A zip archive whose member says it is encrypted; the flag is in both of its headers."""
    raw = bytearray(zipped({"a.txt": b"hidden"}))
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


def zipped(members: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return raw.getvalue()


def linked_zip() -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        member = zipfile.ZipInfo("link.txt")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    return raw.getvalue()


def crowded_zip() -> bytes:
    """The end record of an archive with 60,000 members; no more of it is ever read."""
    return b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 60_000, 60_000, 0, 0, 0)


def truncated_docx() -> bytes:
    raw = io.BytesIO()
    document = docx.Document()
    document.add_paragraph("words")
    document.save(raw)
    return raw.getvalue()[:5000]


def empty_workbook() -> bytes:
    raw = io.BytesIO()
    openpyxl.Workbook().save(raw)
    return raw.getvalue()


def parquet(table: pa.Table) -> bytes:
    raw = io.BytesIO()
    pq.write_table(table, raw)
    return raw.getvalue()


def mail_without_body() -> bytes:
    message = EmailMessage()
    message["From"] = "a@b.cn"
    return message.as_bytes()


OFFICE_BOX = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 4096  # what Office writes around a locked document

BAD: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "empty": ("a.md", lambda: b"", "is empty"),
    "only white space": ("a.csv", lambda: b"\n\n  \n", "has nothing to read in it"),
    "unknown ending": ("a.xyz", lambda: b"x", "files of type .xyz cannot be read"),
    "no ending": ("README", lambda: b"x", "without an ending cannot be read"),
    "binary as text": ("a.txt", lambda: bytes(range(256)) * 20, "is not text"),
    "picture as table": ("a.csv", lambda: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 9, "is not text"),
    "pdf cut off": ("a.pdf", lambda: locked_pdf()[:200], "is damaged, or no PDF at all"),
    "text as pdf": ("a.pdf", lambda: b"just words", "is damaged, or no PDF at all"),
    "locked pdf": ("a.pdf", locked_pdf, "is locked with a password"),
    "locked zip": ("a.zip", locked_zip, "member 'a.txt' is locked with a password"),
    "locked workbook": ("a.xlsx", lambda: OFFICE_BOX, "is locked with a password"),
    "old document under a new name": ("a.docx", lambda: OFFICE_BOX, "or is of Office before 2007"),
    "docx cut off": ("a.docx", truncated_docx, "cannot be parsed"),
    "empty workbook": ("a.xlsx", empty_workbook, "has nothing to read in it"),
    "zip cut off": ("a.zip", lambda: zipped({"a.txt": b"words"})[:-30], "is damaged, or no zip archive at all"),
    "zip bomb": ("a.zip", lambda: zipped({"a.txt": b"0" * (40 << 20)}), "-fold, as a bomb does"),
    "zip in zip": ("a.zip", lambda: zipped({"b.zip": zipped({"a.txt": b"x"})}), "is an archive within an archive"),
    "zip that leads out": ("a.zip", lambda: zipped({"../../a.txt": b"x"}), "leads out of the archive"),
    "zip with a link": ("a.zip", linked_zip, "is a link and was left out"),
    "zip of many": ("a.zip", crowded_zip, "holds 60,000 members"),
    "empty zip": ("a.zip", lambda: zipped({}), ""),
    "csv with zero bytes": ("a.csv", lambda: b"a,b\n\0\0,1\n", "is not text: it contains zero bytes"),
    "rows too wide": ("a.csv", lambda: b"a,b\n1,2,3\n", "row 1 has 3 values for 2 columns"),
    "quote never closed": ("a.csv", lambda: b'a,b\n"' + b"x" * 200_000, "cannot be read as csv"),
    "json cut off": ("a.json", lambda: b'[{"a": 1}, {"a"', "is not JSON"),
    "json of numbers": ("a.json", lambda: b"[1]", "item 1 is int, not an object"),
    "json a hundred thousand deep": ("a.json", lambda: b"[" * 100_000, "is nested too deep"),
    "json lines deep": ("a.jsonl", lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "is nested too deep"),
    "json line of a megabyte": ("a.jsonl", lambda: json.dumps({"a": "x" * (2 << 20)}).encode(), "was left out"),
    "parquet cut off": ("a.parquet", lambda: parquet(pa.table({"a": ["x"]}))[:-20], "is damaged, or no Parquet file"),
    "text as parquet": ("a.parquet", lambda: b"just words", "is damaged, or no Parquet file"),
    "parquet without rows": ("a.parquet", lambda: parquet(pa.table({"a": pa.array([], "str")})), "has nothing to read"),
    "parquet of broken text": (
        "a.parquet",
        lambda: parquet(pa.table({"a": pa.array([b"\xff\xfe"]).view(pa.string())})),
        "is damaged after row 0",
    ),
    "no mail": ("a.eml", lambda: b"just words\n", "is no mail"),
    "mail without anything": ("a.eml", mail_without_body, "has nothing to read in it"),
    "subtitles without times": ("a.srt", lambda: b"just words\n", "holds no subtitles"),
    "noise as mp3": ("a.mp3", lambda: b"\x12\x34" * 3000, "is a damaged recording, or none at all"),
    "text as film": ("a.mp4", lambda: b"just words", "is a damaged recording, or none at all"),
    "page without words": ("a.html", lambda: b"<html><script>1</script></html>", "has nothing to read in it"),
    "text as picture": ("a.png", lambda: b"just words", "is a damaged picture, or none at all"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_in_one_sentence_and_the_rest_is_read(tmp_path: Path, kind: str) -> None:
    name, content, why = BAD[kind]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a good one.md").write_text("# Good")
    (tmp_path / "data" / name).write_bytes(content())
    summary, rows = gather(tmp_path)
    assert [row["title"] for row in rows] == ["Good"]
    reasons = [failure["reason"] for failure in summary["failed"]]
    assert len(reasons) <= 2
    assert any(why in reason for reason in reasons) or (not reasons and not why), reasons
    for reason in reasons:
        assert "\n" not in reason
        assert "Traceback" not in reason
        assert len(reason) < 500


def test_the_same_bad_input_alone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.zip").write_bytes(zipped({}))
    with pytest.raises(DataError, match="nothing could be read"):
        gather(tmp_path)


def test_bad_members_and_rows_cost_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    members = {"good.md": b"# Good", "bad.pdf": b"x", "../out.md": b"# Out", ".hidden.md": b"# H", "t.csv": b"a\n1\n"}
    members["__MACOSX/good.md"] = b"junk"
    (tmp_path / "data" / "a.zip").write_bytes(zipped(members))
    summary, rows = gather(tmp_path)
    assert [row["uri"] for row in rows] == ["data/a.zip!good.md", "data/a.zip!t.csv"]
    assert {failure["uri"] for failure in summary["failed"]} == {"data/a.zip", "data/a.zip!bad.pdf"}


def test_members_named_in_gbk_keep_their_names(tmp_path: Path) -> None:
    name = "价格表.txt".encode("gb18030")
    raw = zipped({"1234567890"[: len(name) - 4] + ".txt": b"words"}).replace(b"123456.txt", name)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.zip").write_bytes(raw)
    _, [row] = gather(tmp_path)
    assert row["uri"] == "data/a.zip!价格表.txt"
    assert row["title"] == "价格表" or row["text"] == "words"


def test_what_is_unpacked_is_gone_after_each_member(tmp_path: Path) -> None:
    path, room = tmp_path / "a.zip", tmp_path / "room"
    room.mkdir()
    path.write_bytes(zipped({f"{n}.txt": b"words" for n in range(5)}))
    file = SourceFile(path, "a.zip", "application/zip", 1, "")
    refused: list[str] = []
    for member in unpacked(file, room, refused.append):
        assert [member.path.name] == [path.name for path in room.iterdir()]
    assert not refused
    assert not list(room.iterdir())


def test_gbk_table_and_names_in_any_script_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "资料 №1"
    folder.mkdir(parents=True)
    (folder / "ценник—价格🙂.csv").write_bytes("编号,内容\n1,什么时候退款\n".encode("gb18030"))
    _, [row] = gather(tmp_path)
    assert row["uri"] == "data/资料 №1/ценник—价格🙂.csv"
    assert "什么时候退款" in row["text"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep names as Unicode")
def test_a_name_that_is_no_utf8_is_shown_as_far_as_it_can_be(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with open(os.fsencode(tmp_path / "data") + b"/\xcd\xcb\xbb\xf5.md", "w") as stream:
        stream.write("# Good")
    _, [row] = gather(tmp_path)
    assert row["title"] == "Good"
    assert row["uri"].endswith(".md")


def test_a_link_out_a_fifo_and_a_locked_file_are_refused(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    (project / "data" / "good.md").write_text("# Good")
    (tmp_path / "outside.zip").write_bytes(zipped({"a.txt": b"x"}))
    (project / "data" / "link.zip").symlink_to(tmp_path / "outside.zip")
    (project / "data" / "gone.md").symlink_to(project / "nowhere.md")
    os.mkfifo(project / "data" / "pipe.md")
    summary, rows = gather(project)
    assert len(rows) == 1
    told = {failure["uri"]: failure["reason"] for failure in summary["failed"]}
    assert "leads out of the project" in told["data/link.zip"]
    assert "No such file" in told["data/gone.md"]
    assert "not a regular file" in told["data/pipe.md"]


def test_columns_of_the_wrong_type_in_parquet_are_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table = pa.table({"t": pa.array([1.5, None]), "l": pa.array([True, False]), "w": pa.array([b"\xff1", b"ok"])})
    pq.write_table(table, tmp_path / "data" / "a.parquet")
    _, rows = gather(tmp_path, text=("t",), label="l", subject_id="w")
    assert [(row["text"], row["label"], row["subject_id"]) for row in rows] == [
        ("1.5", "True", "\ufffd1"),
        ("", "False", "ok"),
    ]
    with pytest.raises(DataError, match="has no column 'x'; it has 'l', 't', 'w'"):
        gather(tmp_path, text=("x",))


def test_half_characters_in_json_do_not_reach_the_table(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.json").write_text('[{"a": "x\\ud800y"}, {"a": "\\ud83d"}]')
    _, rows = gather(tmp_path, text=("a",))
    assert [row["text"] for row in rows] == ["x\ufffdy", "\ufffd"]


SHAPE = tables.TableShape(SourceSettings(name="s", url="x"), "uri", "name")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([".csv", ".tsv", ".jsonl", ".json", ".parquet"]))
def test_any_bytes_are_a_table_or_a_clear_refusal(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, ending: str
) -> None:
    path = tmp_path_factory.mktemp("table") / f"a{ending}"
    path.write_bytes(raw)
    read = {".jsonl": tables.jsonl_pieces, ".json": tables.json_pieces, ".parquet": tables.parquet_pieces}
    refused: list[str] = []
    try:
        pieces = list(read.get(ending, tables.csv_pieces)(path, SHAPE, refused.append))
    except DataError:
        return
    assert len({piece.position for piece in pieces}) == len(pieces)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_json_value_is_a_table_or_a_clear_refusal(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(value))
    with contextlib.suppress(DataError):
        list(tables.json_pieces(path, SHAPE, lambda reason: None))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
@example(b"\0\0\0\0\0", 397, 0)
def test_any_damage_to_an_archive_is_survived(
    tmp_path_factory: pytest.TempPathFactory, extra: bytes, place: int, value: int
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    raw = bytearray(zipped({"a.txt": b"words " * 20, "b.csv": b"a\n1\n"}) + extra[: place % 7])
    raw[place % len(raw)] = value
    (folder / "a.zip").write_bytes(bytes(raw))
    (folder / "room").mkdir()
    file = SourceFile(folder / "a.zip", "a.zip", "application/zip", len(raw), "")
    with contextlib.suppress(DataError):
        for member in unpacked(file, folder / "room", lambda reason: None):
            assert member.path.stat().st_size < 10_000
