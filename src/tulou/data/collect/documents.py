"""Word, PowerPoint, Excel and HTML to Markdown, by kreuzberg.

Its Markdown keeps headings, lists and tables of these formats. Its PDF reader is not used: where it takes prose for a
table it loses the rest of the page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tulou.core.errors import DataError
from tulou.data.collect.piece import Piece, file_title, split_long
from tulou.data.collect.text import WIDER, detect_encoding

Sheet = dict[str, Any]  # {"name": str, "cells": [[str]]}

_COMPOUND_FILE = bytes.fromhex("d0cf11e0a1b11ae1")  # MS-CFB, section 2.2
_CHARSET = re.compile(rb"<meta[^<>]{0,200}charset\s*=\s*[\"']?([A-Za-z0-9_:-]{2,40})", re.IGNORECASE)
_CHARSET_WITHIN = 4096  # bytes; browsers look into the first 1024
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

    _require_open_format(path, media_type)
    config = kreuzberg.ExtractionConfig(
        output_format="markdown",
        use_cache=False,
        concurrency=kreuzberg.ConcurrencyConfig(max_threads=2),
    )
    if media_type == "text/html":  # which kreuzberg takes for UTF-8 always
        return kreuzberg.extract_bytes_sync(_page(path).encode(), media_type, config)
    return kreuzberg.extract_file_sync(str(path), mime_type=media_type, config=config)


def _page(path: Path) -> str:
    """A web page as text: UTF-8 where it is that, else in the encoding that it declares, else in the likeliest one."""
    raw = path.read_bytes()
    declared = _CHARSET.search(raw[:_CHARSET_WITHIN])
    named = declared[1].decode("ascii").lower() if declared else "ascii"
    # What can be read so far has a byte for each letter, whatever it says (WHATWG HTML, 13.2.3.2).
    for encoding in ("utf-8-sig", "ascii" if named.startswith(("utf-16", "utf-32", "unicode")) else named):
        try:
            return raw.decode(WIDER.get(encoding, encoding))
        except (UnicodeDecodeError, LookupError):
            continue
    return raw.decode(detect_encoding(path), errors="replace")


def _require_open_format(path: Path, media_type: str) -> None:
    """Raises `DataError` for what Office writes around a document that has a password."""
    with path.open("rb") as stream:
        is_boxed = stream.read(len(_COMPOUND_FILE)) == _COMPOUND_FILE
    if is_boxed and media_type.startswith("application/vnd.openxmlformats"):
        raise DataError(
            f"is locked with a password, or is of Office before 2007; save it as {path.suffix} without a password"
        )


def _title(result: Any, text: str, path: Path) -> str:
    heading = re.search(r"^#{1,2}\s+(.+)$", text, re.MULTILINE)
    declared = str(result.metadata.get("title") or "").strip()
    if declared.startswith("(") or declared.casefold() in ("untitled", "powerpoint presentation"):
        declared = ""  # placeholders that office programs write
    return declared or (heading[1].strip() if heading else file_title(path))
