from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.core.settings import SourceSettings
from tulou.data.collect import collect, source_digest, text
from tulou.data.parquet import read_batches


def gather(project: Path, url: str = "data/**/*", **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    out = project / "out"
    summary = collect(SourceSettings(name="s", url=url, **settings), project, out, Silent())
    return summary, [row for batch in read_batches(out) for row in batch.to_pylist()]


def put(project: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = project / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def reasons(summary: dict[str, Any]) -> dict[str, str]:
    return {failure["uri"]: failure["reason"] for failure in summary["failed"]}


def test_text_files_become_documents_with_title_language_and_lineage(tmp_path: Path) -> None:
    put(tmp_path, {"a/退货.md": "# 退货政策\n\n七天无理由退货。", "b.txt": "Opening hours\n\nWe open at nine."})
    summary, rows = gather(tmp_path)
    assert summary["files"] == summary["documents"] == 2
    assert summary["by_media_type"] == {"text/markdown": 1, "text/plain": 1}
    by_uri = {row["uri"]: row for row in rows}
    assert by_uri["data/a/退货.md"]["title"] == "退货政策"
    assert by_uri["data/a/退货.md"]["language"] == "zh"
    assert by_uri["data/b.txt"]["title"] == "Opening hours"
    assert by_uri["data/b.txt"]["position"] == ""
    assert len(by_uri["data/b.txt"]["content_hash"]) == 64


def test_document_ids_do_not_depend_on_the_text(tmp_path: Path) -> None:
    put(tmp_path, {"a.txt": "first"})
    _, before = gather(tmp_path)
    put(tmp_path, {"a.txt": "second"})
    _, after = gather(tmp_path)
    assert before[0]["id"] == after[0]["id"]
    assert before[0]["content_hash"] != after[0]["content_hash"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "big5"])
def test_files_of_older_systems_are_decoded(tmp_path: Path, encoding: str) -> None:
    sentence = "我們的商店每天九點開門" if encoding == "big5" else "我们的商店每天九点开门，欢迎光临。"
    put(tmp_path, {"a.txt": ("\n".join([sentence] * 20)).encode(encoding)})
    _, rows = gather(tmp_path)
    assert rows[0]["text"].splitlines()[0] == sentence


def test_one_gbk_line_in_a_utf8_file_is_read_too(tmp_path: Path) -> None:
    put(tmp_path, {"a.txt": "前面是正常的内容\n".encode() * 30 + "后面来自旧系统".encode("gb18030")})
    _, rows = gather(tmp_path)
    assert rows[0]["text"].endswith("后面来自旧系统")


def test_labelled_table_gives_a_document_for_each_row(tmp_path: Path) -> None:
    put(tmp_path, {"t.csv": "id,who,subject,body,intent\n1,c7,Late,Where is it?,delivery\n2,c8,,只有正文,\n,,,,\n"})
    columns = {"text": ("subject", "body"), "label": "intent", "subject_id": "who"}
    _, rows = gather(tmp_path, "data/t.csv", **columns)
    assert [row["text"] for row in rows] == ["Late\nWhere is it?", "只有正文", ""]
    assert [row["label"] for row in rows] == ["delivery", None, None]
    assert [row["subject_id"] for row in rows] == ["c7", "c8", None]
    assert [row["position"] for row in rows] == ["row=1", "row=2", "row=3"]


def test_gbk_table_is_read(tmp_path: Path) -> None:
    table = "编号,主题,内容,意图\n" + "1,退款,什么时候退款,refund\n" * 5
    put(tmp_path, {"t.csv": table.encode("gb18030")})
    _, rows = gather(tmp_path, text=("主题", "内容"), label="意图")
    assert rows[0]["text"] == "退款\n什么时候退款"


def test_knowledge_rows_read_column_colon_value_and_prose_stands_alone(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "price.csv": "name;price;weight\nKettle;199;1.2 kg\n",
            "faq.jsonl": json.dumps({"question": "何时发货？", "answer": "当天发货。"}, ensure_ascii=False),
            "shop.json": json.dumps({"stores": [{"store": "Hangzhou", "hours": {"open": "9:00"}}]}),
        },
    )
    _, rows = gather(tmp_path)
    by_uri = {row["uri"]: row for row in rows}
    assert by_uri["data/price.csv"]["text"] == "name: Kettle\nprice: 199\nweight: 1.2 kg"
    assert by_uri["data/price.csv"]["title"] == "Kettle"
    assert by_uri["data/faq.jsonl"]["text"] == "# 何时发货？\n\n当天发货。"
    assert by_uri["data/shop.json"]["text"] == "store: Hangzhou\nhours.open: 9:00"


def test_missing_column_names_the_column_and_those_that_exist(tmp_path: Path) -> None:
    put(tmp_path, {"t.csv": "id,body\n1,hello\n"})
    with pytest.raises(DataError, match=r"data/t\.csv has no column 'intent'; it has 'body', 'id'"):
        gather(tmp_path, text=("body",), label="intent")


def test_unusable_files_are_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "good.md": "# Good",
            "empty.md": b"",
            "blank.csv": "a,b\n",
            "broken.pdf": b"%PDF-1.4 nonsense",
            "broken.docx": b"PK nonsense",
            "broken.png": b"\x89PNG nonsense",
            "binary.txt": b"\0\1\2\3" * 50,
            "bad.json": "{",
            "movie.mkv": b"x",
            "no.wav": b"RIFFxxxx",
        },
    )
    summary, rows = gather(tmp_path)
    assert [row["uri"] for row in rows] == ["data/good.md"]
    told = reasons(summary)
    assert told["data/empty.md"] == "is empty"
    assert told["data/blank.csv"] == "has nothing to read in it"
    assert "damaged" in told["data/broken.pdf"]
    assert "cannot be parsed" in told["data/broken.docx"]
    assert "damaged picture" in told["data/broken.png"]
    assert "not text" in told["data/binary.txt"]
    assert "not JSON" in told["data/bad.json"]
    assert "type .mkv" in told["data/movie.mkv"]
    assert "damaged recording" in told["data/no.wav"] or "not a PCM WAV" in told["data/no.wav"]


def test_broken_rows_are_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": "x,y\n1,2\n3,4,5\n6,7\n", "b.jsonl": '{"x": 1}\nnonsense\n[1]\n{"x": 2}\n'})
    summary, rows = gather(tmp_path)
    assert [row["text"] for row in rows] == ["x: 1\ny: 2", "x: 6\ny: 7", "x: 1", "x: 2"]
    told = [failure["reason"] for failure in summary["failed"]]
    assert told[0] == "row 2 has 3 values for 2 columns and was left out"
    assert told[1].startswith("line 2 is not JSON")
    assert told[2] == "line 3 is list, not an object"


def test_reasons_that_repeat_are_counted(tmp_path: Path) -> None:
    put(tmp_path, {"a.jsonl": '{"x": 1}\n' + "nonsense\n" * 50})
    summary, _ = gather(tmp_path)
    assert len(summary["failed"]) == 21
    assert summary["failed"][-1]["reason"] == "and 30 more reasons like these"


def test_line_over_the_limit_is_cut_in_text_and_left_out_in_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "MAX_LINE_BYTES", 1000)
    long = "长" * 2000
    put(tmp_path, {"a.log": f"before\n{long}\nafter", "b.csv": f"x\nbefore\n{long}\nafter\n"})
    summary, rows = gather(tmp_path)
    log, *table = rows
    assert log["text"].startswith("before\n长长")
    assert log["text"].endswith("\nafter")
    assert len(log["text"]) < 400
    assert [row["text"] for row in table] == ["x: before", "x: after"]
    assert "line 2 is 6,001 bytes long" in reasons(summary)["data/a.log"]
    assert "left out" in reasons(summary)["data/b.csv"]


def test_very_long_text_is_split_into_parts_that_lose_nothing(tmp_path: Path) -> None:
    lines = [f"line {number} of a long log" for number in range(40_000)]
    put(tmp_path, {"a.log": "\n".join(lines)})
    _, rows = gather(tmp_path)
    assert [row["position"] for row in rows] == [f"part={n}" for n in range(1, len(rows) + 1)]
    assert "\n".join(row["text"] for row in rows).split("\n") == lines


def test_links_out_of_the_project_are_refused(tmp_path: Path) -> None:
    project = tmp_path / "project"
    put(project, {"inside.txt": "inside"})
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (project / "data" / "link.txt").symlink_to(secret)
    (project / "data" / "folder").symlink_to(tmp_path)
    (project / "data" / "same.txt").symlink_to(project / "data" / "inside.txt")
    summary, rows = gather(project)
    assert [row["uri"] for row in rows] == ["data/inside.txt", "data/same.txt"]
    assert "out of the project" in reasons(summary)["data/link.txt"]
    assert "link to a folder" in reasons(summary)["data/folder"]


@pytest.mark.parametrize("url", ["../*.txt", "/etc/*", "data/../../*"])
def test_url_that_leads_out_of_the_project_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match=r"outside the project|leads out of the project"):
        gather(tmp_path, url)


def test_source_without_any_file_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file matches 'data/\*\.csv"):
        gather(tmp_path, "data/*.csv")


@pytest.mark.parametrize("url", ["data", "data/"])
def test_a_folder_as_url_says_how_to_take_its_files(tmp_path: Path, url: str) -> None:
    put(tmp_path, {"a.txt": "Shipping takes three days."})
    with pytest.raises(DataError, match=rf"'{url}' is a folder; url = 'data/\*\*/\*' takes the files in it"):
        gather(tmp_path, url)
    assert gather(tmp_path, "data/**/*")[0]["documents"] == 1


def test_source_of_unusable_files_only_says_why(tmp_path: Path) -> None:
    put(tmp_path, {"a.md": b""})
    with pytest.raises(DataError, match=r"nothing could be read .*a\.md: is empty"):
        gather(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open anything")
def test_folder_without_permission_is_reported(tmp_path: Path) -> None:
    put(tmp_path, {"good.md": "# Good", "locked/a.md": "# Hidden"})
    (tmp_path / "data" / "locked").chmod(0)
    summary, _ = gather(tmp_path)
    (tmp_path / "data" / "locked").chmod(0o700)
    assert "cannot be opened" in reasons(summary)["data/locked"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("data/*.md", ["data/a.md"]),
        ("data/**/*.md", ["data/a.md", "data/x/b.md", "data/x/y/c.md"]),
        ("data/x/?.md", ["data/x/b.md"]),
        ("data/x/[a-c].md", ["data/x/b.md"]),
        ("data/a.md", ["data/a.md"]),
    ],
)
def test_glob_selects_files(tmp_path: Path, pattern: str, expected: Sequence[str]) -> None:
    put(tmp_path, {"a.md": "# a", "x/b.md": "# b", "x/y/c.md": "# c", "x/.hidden.md": "# h", "x/n.txt": "n"})
    _, rows = gather(tmp_path, pattern)
    assert sorted(row["uri"] for row in rows) == sorted(expected)


def test_digest_changes_with_content_and_names_only(tmp_path: Path) -> None:
    source = SourceSettings(name="s", url="data/*")
    put(tmp_path, {"a.md": "one"})
    os.utime(tmp_path / "data" / "a.md", (1e9, 1e9))
    first = source_digest(source, tmp_path)
    os.utime(tmp_path / "data" / "a.md", (1.1e9, 1.1e9))
    assert source_digest(source, tmp_path) == first
    put(tmp_path, {"a.md": "two"})
    second = source_digest(source, tmp_path)
    assert second != first
    put(tmp_path, {"b.md": "one"})
    assert source_digest(source, tmp_path) != second


def test_digest_of_unchanged_files_reads_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SourceSettings(name="s", url="data/*")
    put(tmp_path, {"a.md": "one"})
    os.utime(tmp_path / "data" / "a.md", (1e9, 1e9))
    first = source_digest(source, tmp_path)

    def unexpected(path: Path) -> str:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr("tulou.data.collect.files.file_digest", unexpected)
    assert source_digest(source, tmp_path) == first


def test_whoever_waits_for_large_files_is_told_before_a_new_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SourceSettings(name="s", url="data/*")
    put(tmp_path, {"large.md": "l" * 100, "small.md": "s"})
    os.utime(tmp_path / "data" / "large.md", (1e9, 1e9))
    monkeypatch.setattr("tulou.data.collect.files._LARGE_BYTES", 100)
    told: list[bool] = []
    first = source_digest(source, tmp_path, on_large=lambda: told.append(True))
    assert told == [True]
    assert source_digest(source, tmp_path, on_large=lambda: told.append(True)) == first
    assert told == [True]
