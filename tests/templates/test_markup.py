"""The small Markdown that sample texts are written in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tulou.templates.markup import Heading, Listing, Paragraph, Table, parse
from tulou.templates.shop.knowledge import render
from tulou.templates.writers import WRITERS

TEXT = """# Returns
Two lines
of one paragraph.

## How
1. Ask
2. Send

- a
- b

| item | days |
|---|---|
| kettle | 15 |
"""


def test_every_kind_of_block_is_read_in_order() -> None:
    assert parse(TEXT) == [
        Heading(1, "Returns"),
        Paragraph("Two lines of one paragraph."),
        Heading(2, "How"),
        Listing(("Ask", "Send"), is_ordered=True),
        Listing(("a", "b"), is_ordered=False),
        Table(("item", "days"), (("kettle", "15"),)),
    ]


def test_a_line_break_between_chinese_characters_is_no_space() -> None:
    assert parse("十五天内\n可以退货") == [Paragraph("十五天内可以退货")]


def test_markdown_is_written_as_it_was_read(tmp_path: Path) -> None:
    WRITERS[".md"](parse(TEXT), tmp_path / "a.md")
    assert parse((tmp_path / "a.md").read_text("utf-8")) == parse(TEXT)


def test_html_escapes_what_it_shows(tmp_path: Path) -> None:
    WRITERS[".html"](parse("# a < b\n\n| x & y |\n|---|\n| <script> |"), tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "a &lt; b" in page
    assert "x &amp; y" in page
    assert "<script>" not in page


def test_json_lines_hold_the_rows_of_the_table(tmp_path: Path) -> None:
    WRITERS[".jsonl"](parse("| 问题 | 回答 |\n|---|---|\n| 几天？ | 15 天 |"), tmp_path / "a.jsonl")
    assert json.loads((tmp_path / "a.jsonl").read_text("utf-8")) == {"问题": "几天？", "回答": "15 天"}


def test_a_file_of_rows_needs_exactly_one_table(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exactly one table, not 0"):
        WRITERS[".csv"](parse("no table here"), tmp_path / "a.csv")


def test_a_document_without_its_target_line_is_refused() -> None:
    with pytest.raises(ValueError, match=r"starts with 'write: PATH'"):
        render("# Returns\n", {})
