"""Word, PowerPoint, Excel and HTML to Markdown, by kreuzberg.

Its Markdown keeps headings, lists and tables of these formats. Its PDF reader is not used: where it takes prose for a
table it loses the rest of the page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tulou.data.collect.piece import Piece, file_title, split_long

Sheet = dict[str, Any]  # {"name": str, "cells": [[str]]}

_FRONT_MATTER = re.compile(r"\A---\n+(?:#* ?\w+: [^\n]*\n+)+(?:---\n+)?")


def read_document(path: Path, media_type: str) -> list[Piece]:
    """The document as Markdown. Raises what kreuzberg raises for a file it cannot parse."""
    result = _extract(path, media_type)
    text = _FRONT_MATTER.sub("", result.content).strip()
    return split_long(_title(result, text, path), text)


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
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=2),
    )
    return kreuzberg.extract_file_sync(str(path), mime_type=media_type, config=config)


def _title(result: Any, text: str, path: Path) -> str:
    heading = re.search(r"^#{1,2}\s+(.+)$", text, re.MULTILINE)
    declared = str(result.metadata.get("title") or "").strip()
    if declared.startswith("(") or declared.casefold() in ("untitled", "powerpoint presentation"):
        declared = ""  # placeholders that office programs write
    return declared or (heading[1].strip() if heading else file_title(path))
