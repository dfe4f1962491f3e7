"""Formats that are text: Markdown, HTML, plain text, CSV and JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from tulou.templates.markup import Block, Heading, Listing, Paragraph, Table, only_table, title

_PAGE = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>body {{ font-family: sans-serif; max-width: 42rem; margin: 2rem auto; line-height: 1.6 }}</style>
</head>
<body>
{body}
</body>
</html>
"""


def write_markdown(blocks: list[Block], path: Path) -> None:
    _write(path, _drawn(blocks, {Heading: _markdown_heading, Table: _markdown_table}))


def write_text(blocks: list[Block], path: Path) -> None:
    """Plain text as people type it: headings on their own line, table rows as `name: value` pairs."""
    _write(path, _drawn(blocks, {Heading: lambda block: block.text, Table: _text_table}))


def write_html(blocks: list[Block], path: Path) -> None:
    body = "\n".join(line for block in blocks for line in _html(block))
    _write(path, _PAGE.format(title=escape(title(blocks)), body=body))


def write_csv(blocks: list[Block], path: Path) -> None:
    table = only_table(blocks)
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([table.header, *table.rows])
    _write(path, lines.getvalue())


def write_jsonl(blocks: list[Block], path: Path) -> None:
    table = only_table(blocks)
    rows = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _drawn(blocks: list[Block], special: dict[type, Callable[[Any], str]]) -> str:
    return "\n\n".join(special.get(type(block), _plain)(block) for block in blocks) + "\n"


def _plain(block: Paragraph | Listing) -> str:
    if isinstance(block, Paragraph):
        return block.text
    marks = (f"{n}." if block.is_ordered else "-" for n in range(1, len(block.items) + 1))
    return "\n".join(f"{mark} {item}" for mark, item in zip(marks, block.items, strict=True))


def _markdown_heading(heading: Heading) -> str:
    return f"{'#' * heading.level} {heading.text}"


def _markdown_table(table: Table) -> str:
    rows = [table.header, ["---"] * len(table.header), *table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _text_table(table: Table) -> str:
    rows = (zip(table.header, row, strict=True) for row in table.rows)
    return "\n".join("; ".join(f"{name}: {value}" for name, value in row) for row in rows)


def _html(block: Block) -> Iterator[str]:
    match block:
        case Heading(level, text):
            yield f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text):
            yield f"<p>{escape(text)}</p>"
        case Listing(items, is_ordered):
            tag = "ol" if is_ordered else "ul"
            yield f"<{tag}>"
            yield from (f"<li>{escape(item)}</li>" for item in items)
            yield f"</{tag}>"
        case Table(header, rows):
            yield "<table>"
            yield _html_row("th", header)
            yield from (_html_row("td", row) for row in rows)
            yield "</table>"


def _html_row(tag: str, cells: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
