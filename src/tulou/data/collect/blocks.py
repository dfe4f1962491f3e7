"""Whole lines in blocks of some megabytes, for files that are plain: UTF-8, and no line beyond the limit.

Splitting a block costs a tenth of reading the same lines one by one. At the first block that is anything but plain
`NotPlainError` says how many lines were handed out, and the careful reader of `text` takes over after them; that reads
the beginning of the file a second time, which is the price.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

from tulou.data.collect import text as careful

_BLOCK_BYTES = 1 << 20


class NotPlainError(Exception):
    def __init__(self, lines: int) -> None:
        super().__init__(f"not plain after line {lines}")
        self.lines = lines


def plain_blocks(path: Path, *, is_checked: bool = True, block_bytes: int = _BLOCK_BYTES) -> Iterator[bytes]:
    """Stretches of the file that end with a line's end (the last one perhaps not), each valid UTF-8, without a mark.

    Raises `NotPlainError` before the first that is not, and `DataError` where the file is not text at all. Without
    `is_checked` the caller finds out by itself what is not UTF-8.
    """
    if careful.detect_encoding(path) not in ("utf-8", "utf-8-sig"):
        raise NotPlainError(0)
    lines = 0
    rest = b""
    with path.open("rb") as stream:
        while raw := stream.read(block_bytes):
            if not lines and not rest:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            cut = raw.rfind(b"\n") + 1
            block, rest = (rest + raw[:cut], raw[cut:]) if cut else (b"", rest + raw)
            if len(rest) > careful.MAX_LINE_BYTES:
                raise NotPlainError(lines)
            if block:
                yield _plain(block, lines, is_checked)
                lines += block.count(b"\n")
    if rest:
        yield _plain(rest, lines, is_checked)


def careful_lines(path: Path, after: int) -> Iterator[careful.Line]:
    """The lines after number `after`, each decoded by itself."""
    return dropwhile(lambda line: line.number <= after, careful.read_lines(path))


def _plain(block: bytes, lines: int, is_checked: bool) -> bytes:
    start = 0
    while start < len(block):  # hop from line end to line end, as far as a line may reach
        end = block.rfind(b"\n", start, start + careful.MAX_LINE_BYTES + 1)
        if end < 0 and len(block) - start > careful.MAX_LINE_BYTES:
            raise NotPlainError(lines)
        start = len(block) if end < 0 else end + 1
    if is_checked and not block.isascii():
        try:
            block.decode()
        except UnicodeDecodeError:
            raise NotPlainError(lines) from None
    return block
