"""A large file of JSON lines read in ranges by several processes, where every line is as plain as can be.

Plain means: UTF-8, no line too long, each an object with all wanted columns as text. The first range that is not makes
the whole file go the careful way, line by line in this process; that costs what was read until then.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tulou.core.settings import SourceSettings
from tulou.data.collect import tables, text
from tulou.data.collect.batch import document_batch
from tulou.data.collect.files import SourceFile
from tulou.data.collect.piece import file_title
from tulou.data.engine import Engine
from tulou.data.parquet import document_writer

RANGE_BYTES = 32 << 20  # whatever the number of workers, so that it changes nothing in the output
_GUIDE = 4  # a range is a quarter of what is left, and no less than a quarter of `RANGE_BYTES`
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Range:
    """Whole lines of a file, and where their documents go."""

    file: SourceFile
    source: SourceSettings
    start: int
    end: int
    first_line: int
    out: Path


@dataclass(frozen=True)
class Part:
    path: Path  # Parquet, DOCUMENT
    rows: int


def read_in_ranges(file: SourceFile, source: SourceSettings, engine: Engine, room: Path) -> list[Part] | None:
    """Parquet files in the folder `room`, in the order of the lines; None where the file has to be read carefully."""
    shape = tables.TableShape(source, file.uri, file_title(file.path))
    is_worth_it = file.media_type == "application/jsonl" and file.size_bytes >= 2 * RANGE_BYTES
    if not is_worth_it or not source.text or any("." in column for column in shape.wanted):
        return None
    if text.detect_encoding(file.path) not in ("utf-8", "utf-8-sig"):
        return None
    parts: list[Part] = []
    for part in engine.map(read_range, _ranges(file, source, room)):
        if part is None:
            return None
        parts.append(part)
    return parts


def read_range(asked: Range) -> Part | None:
    """None at the first line that is not plain."""
    source, file = asked.source, asked.file
    shape = tables.TableShape(source, file.uri, file_title(file.path))
    number = asked.first_line
    with document_writer(asked.out, is_one_file=True) as writer:
        for block in _blocks(asked):
            lines = tables.lines_of(block)
            if max(map(len, lines)) > text.MAX_LINE_BYTES:
                return None
            columns = tables.plain_columns(lines, number, shape)
            if columns is None:
                return None
            writer.write(document_batch(columns, file, source.name, lambda: ""))
            number += len(lines)
    return Part(asked.out / "documents.parquet", number - asked.first_line)


def _ranges(file: SourceFile, source: SourceSettings, room: Path) -> Iterator[Range]:
    """One after the other, because lines are counted for it: the first is worked on while the next is measured."""
    first_line = 1
    for place, (start, end) in enumerate(pairwise(_edges(file.path))):
        yield Range(file, source, start, end, first_line, room / f"{place:05d}")
        first_line += _count_lines(file.path, start, end)


def _edges(path: Path) -> list[int]:
    """Where ranges begin: at the beginning of a line each, and the file's end.

    The last ones are smaller, a quarter of what is left, so that no worker waits long for the last one (guided
    self-scheduling, Polychronopoulos and Kuck 1987); so are the row groups made of them, and the shards of those.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        edges = [len(codecs.BOM_UTF8) if stream.read(3) == codecs.BOM_UTF8 else 0]
        while (left := size - edges[-1]) > (length := min(RANGE_BYTES, max(RANGE_BYTES, left) // _GUIDE)):
            stream.seek(edges[-1] + length)
            rest = len(stream.readline(text.MAX_LINE_BYTES + 1))
            edges.append(min(edges[-1] + length + rest, size))
    return edges if edges[-1] == size else [*edges, size]


def _count_lines(path: Path, start: int, end: int) -> int:
    with path.open("rb") as stream:
        stream.seek(start)
        return sum(
            stream.read(min(_BLOCK_BYTES, end - place)).count(b"\n") for place in range(start, end, _BLOCK_BYTES)
        )


def _blocks(asked: Range) -> Iterator[bytes]:
    """Whole lines, a megabyte or so at a time; of a line beyond the limit, more than the limit."""
    with asked.file.path.open("rb") as stream:
        stream.seek(asked.start)
        left = asked.end - asked.start
        while left > 0 and (block := stream.read(min(_BLOCK_BYTES, left))):
            if not block.endswith(b"\n"):
                block += stream.readline(text.MAX_LINE_BYTES + 1)
            left -= len(block)
            yield block
