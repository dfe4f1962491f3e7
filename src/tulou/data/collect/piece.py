"""What a parser makes of a file: pieces of text, each with the place it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

# A longer text is split into several documents. Long enough for any handbook, short enough to clean in memory.
MAX_PIECE_CHARS = 200_000

Refuse = Callable[[str], None]
"""Told the reason for each part of a file that cannot be used; the parser then goes on."""


class Piece(NamedTuple):
    """One document to be: a whole short file, a part of a long one, a table row, a stretch of speech."""

    position: str  # "" for the whole; "part=2", "row=17", "sheet=Prices,row=3", "seconds=0-12"
    title: str
    text: str
    label: str | None = None
    subject_id: str | None = None
    content_hash: str | None = None  # of the row; None: of the whole file
    media_type: str | None = None  # where it is not the file's: an attachment's
    modified_at: str | None = None  # where the record says; None: the file's


class Columns(NamedTuple):
    """Pieces column by column, which many are made and written by faster."""

    position: Sequence[str]
    title: Sequence[str]
    text: Sequence[str]
    label: Sequence[str | None]
    subject_id: Sequence[str | None]
    content_hash: Sequence[str | None]
    media_type: Sequence[str | None]
    modified_at: Sequence[str | None]


def file_title(path: Path) -> str:
    """What to call a file that names itself nowhere."""
    return path.stem.replace("_", " ").replace("-", " ").strip() or path.name


def split_long(title: str, text: str) -> list[Piece]:
    """`text` as one piece, or as parts of at most `MAX_PIECE_CHARS`, cut at line ends where there are any."""
    if len(text) <= MAX_PIECE_CHARS:
        return [Piece("", title, text)]
    parts = []
    start = 0
    while start < len(text):
        end = start + MAX_PIECE_CHARS
        if end < len(text):
            end = text.rfind("\n", start + 1, end) + 1 or end
        parts.append(text[start:end])
        start = end
    return [Piece(f"part={number}", title, part) for number, part in enumerate(parts, 1)]
