"""The small Markdown that sample texts are written in, read into blocks that every file format can draw.

Headings, paragraphs, one level of lists, and tables: what a shop's documents need. Emphasis, links and nesting are left
out, so that each writer stays short.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Listing:
    items: tuple[str, ...]
    is_ordered: bool


@dataclass(frozen=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Listing | Table

_HEADING = re.compile(r"(#+) +(.+)")
_ITEM = re.compile(r"(- |\d+\. )(.+)")
_CJK_LINE_BREAK = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u3000-\u9fff\uff00-\uffef])")


def parse(markdown: str) -> list[Block]:
    """Blocks in reading order; blocks are separated by blank lines, except that a heading ends with its line."""
    return [_block(chunk) for chunk in _chunks(markdown)]


def _chunks(markdown: str) -> Iterator[str]:
    lines: list[str] = []
    for line in [*markdown.splitlines(), ""]:
        if lines and (not line.strip() or _HEADING.match(line)):
            yield "\n".join(lines)
            lines = []
        if _HEADING.match(line):
            yield line
        elif line.strip():
            lines.append(line.strip())


def _block(chunk: str) -> Block:
    if heading := _HEADING.match(chunk):
        return Heading(len(heading[1]), heading[2].strip())
    lines = chunk.splitlines()
    if lines[0].startswith("|"):
        header, _rule, *rows = (tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines)
        return Table(header, tuple(rows))
    items = [_ITEM.match(line) for line in lines]
    if all(items):
        return Listing(tuple(item[2] for item in items if item), is_ordered=lines[0][0].isdigit())
    return Paragraph(_CJK_LINE_BREAK.sub("", chunk).replace("\n", " "))


def title(blocks: list[Block]) -> str:
    """The text of the first heading, or nothing."""
    return next((block.text for block in blocks if isinstance(block, Heading)), "")


def only_table(blocks: list[Block]) -> Table:
    """The table of a document that is written as rows; raises `ValueError` where there is none or more than one."""
    tables = [block for block in blocks if isinstance(block, Table)]
    if len(tables) != 1:
        raise ValueError(f"a file of rows is written from exactly one table, not {len(tables)}")
    return tables[0]
