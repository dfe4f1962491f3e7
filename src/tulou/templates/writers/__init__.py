"""One writer for each file format, chosen by suffix: blocks in, a file of that format out.

A writer that lacks a library, font or program on this machine raises `UnavailableError`; the file is then left out and
named, and the rest goes on. Every writer gives the same bytes for the same blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tulou.templates.markup import Block
from tulou.templates.writers.office import write_docx, write_pptx, write_xlsx
from tulou.templates.writers.pdf import write_pdf
from tulou.templates.writers.photo import write_photo
from tulou.templates.writers.speech import write_speech
from tulou.templates.writers.text import write_csv, write_html, write_jsonl, write_markdown, write_text

Writer = Callable[[list[Block], Path], None]

WRITERS: dict[str, Writer] = {
    ".csv": write_csv,
    ".docx": write_docx,
    ".html": write_html,
    ".jsonl": write_jsonl,
    ".md": write_markdown,
    ".pdf": write_pdf,
    ".png": write_photo,
    ".pptx": write_pptx,
    ".txt": write_text,
    ".wav": write_speech,
    ".xlsx": write_xlsx,
}
