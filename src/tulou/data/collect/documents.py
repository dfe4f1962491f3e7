"""PDF, Word, PowerPoint, Excel and HTML to Markdown, by kreuzberg.

Word, PowerPoint and HTML come out as good Markdown. A PDF has no structure to read, so kreuzberg's guess at its blocks
is put together again here: headings that stand on two lines are two headings, and short lines (a table, a list) keep
their line ends instead of flowing into one sentence. Tables without ruling lines stay plain lines.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from tulou.data.collect.piece import Piece, split_long

Sheet = dict[str, Any]  # {"name": str, "cells": [[str]]}

_FRONT_MATTER = re.compile(r"\A---\n+(?:#* ?\w+: [^\n]*\n+)+(?:---\n+)?")
_SPLIT_HEADING_WIDTH = 30  # two heading lines shorter than this are not one title that wrapped
_SHORT_LINE = 0.6  # of the longest line: a line that ends so early ended on purpose


def read_document(path: Path, media_type: str) -> list[Piece]:
    """The document as Markdown. Raises what kreuzberg raises for a file it cannot parse."""
    result = _extract(path, media_type)
    text = _pdf_markdown(result) if media_type == "application/pdf" else result.content
    title = _title(result, text, path)
    return split_long(title, _FRONT_MATTER.sub("", text).strip())


def read_workbook(path: Path, media_type: str) -> list[Sheet]:
    """The cells of each sheet, as text."""
    result = _extract(path, media_type)
    names = [line[3:].strip() for line in result.content.splitlines() if line.startswith("## ")]
    sheets = []
    for number, table in enumerate(result.tables):
        name = names[number] if number < len(names) else f"sheet {number + 1}"
        cells = [[str(cell).removesuffix(" 00:00:00") for cell in row] for row in table.cells]
        sheets.append({"name": name, "cells": cells})
    return sheets


def _extract(path: Path, media_type: str) -> Any:
    import kreuzberg

    config = kreuzberg.ExtractionConfig(
        output_format="markdown",
        use_cache=False,
        include_document_structure=media_type == "application/pdf",
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=2),
    )
    return kreuzberg.extract_file_sync(str(path), mime_type=media_type, config=config)


def _pdf_markdown(result: Any) -> str:
    nodes = result.document["nodes"] if result.document else []
    blocks = [node["content"] for node in nodes]
    lines = [line for block in blocks for line in block.get("text", "").splitlines()]
    longest = max(map(_width, lines), default=0)
    out: list[str] = []
    for block in blocks:
        text = block.get("text", "").strip()
        if block["node_type"] == "heading":
            out.extend(_headings(text, int(block.get("level", 1))))
        elif block["node_type"] == "table" and block.get("grid"):
            out.append(_grid_markdown(block["grid"]))
        elif text and block["node_type"] != "group":
            out.append(_paragraph(text.splitlines(), longest))
    return "\n\n".join(out) or result.content


def _headings(text: str, level: int) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(_width(line) > _SPLIT_HEADING_WIDTH for line in lines[:-1]):
        return [f"{'#' * level} {' '.join(lines)}"]
    return [f"{'#' * min(level + i, 6)} {line}" for i, line in enumerate(lines)]


def _paragraph(lines: list[str], longest: int) -> str:
    text = lines[0].strip()
    for before, line in pairwise(lines):
        if _width(before) < _SHORT_LINE * longest:
            text += "\n"
        elif before.rstrip()[-1:].isascii() or line.lstrip()[:1].isascii():
            text += " "
        text += line.strip()
    return text


def _grid_markdown(grid: dict[str, Any]) -> str:
    rows = [[""] * grid["cols"] for _ in range(grid["rows"])]
    for cell in grid["cells"]:
        rows[cell["row"]][cell["col"]] = " ".join(str(cell["content"]).split())
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * grid["cols"], *lines[1:]])


def _width(line: str) -> int:
    """Columns on paper: a Chinese character is as wide as two letters."""
    return sum(1 if ord(char) < 0x2E80 else 2 for char in line)


def _title(result: Any, text: str, path: Path) -> str:
    heading = re.search(r"^#{1,2}\s+(.+)$", text, re.MULTILINE)
    declared = str(result.metadata.get("title") or "").strip()
    if declared.startswith("(") or declared.casefold() in ("untitled", "powerpoint presentation"):
        declared = ""  # placeholders that office programs write
    return declared or (heading[1].strip() if heading else path.stem)
