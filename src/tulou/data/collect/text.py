"""Plain text and Markdown, in whatever encoding, in bounded memory.

The encoding is decided from the first megabyte: a byte order mark, else UTF-8, else GB18030 where that gives everyday
characters, else charset-normalizer's guess. Each line is then decoded by itself, UTF-8 first, because files glued
together from two systems exist. A line longer than `MAX_LINE_BYTES` is cut and reported.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tulou.core.errors import DataError
from tulou.data.collect.piece import MAX_PIECE_CHARS, Piece, Refuse, file_title

MAX_LINE_BYTES = 1 << 20

_SAMPLE_BYTES = 1 << 20
_SKIP_BYTES = 1 << 20


_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Line:
    number: int  # 1-based
    text: str  # without its line end
    size_bytes: int  # of the whole line, even where `text` was cut
    is_cut: bool


def read_text(path: Path, refuse: Refuse) -> Iterator[Piece]:
    """The file as one piece, or as parts where it is very long; lines that are too long are cut and reported."""
    title = ""
    parts: list[str] = []
    chars = 0
    number = 0
    for line in read_lines(path):
        if line.is_cut:
            refuse(f"line {line.number} is {line.size_bytes:,} bytes long; only its first {MAX_LINE_BYTES:,} were read")
        title = title or _heading(line.text, is_first=not parts and not number)
        for start in range(0, max(len(line.text), 1), MAX_PIECE_CHARS):
            stretch = line.text[start : start + MAX_PIECE_CHARS]
            if chars + len(stretch) > MAX_PIECE_CHARS and parts:
                number += 1
                yield Piece(f"part={number}", title or file_title(path), "\n".join(parts))
                parts, chars = [], 0
            parts.append(stretch)
            chars += len(stretch) + 1
    if parts:
        yield Piece(f"part={number + 1}" if number else "", title or file_title(path), "\n".join(parts))


def read_lines(path: Path) -> Iterator[Line]:
    """The file's lines, none longer than `MAX_LINE_BYTES`.

    Raises `DataError` where the file is binary or in no encoding we can tell.
    """
    encoding = detect_encoding(path)
    if encoding in ("utf-16", "utf-32"):
        with path.open(encoding=encoding, errors="replace", newline="\n") as stream:
            yield from _lines(stream, "\n", lambda raw: raw)
    else:
        with path.open("rb") as stream:
            yield from _lines(stream, b"\n", lambda raw: _decode(raw, encoding))


def detect_encoding(path: Path) -> str:
    """The name of the encoding of most of the file. Raises `DataError` where it is not text."""
    with path.open("rb") as stream:
        sample = stream.read(_SAMPLE_BYTES)
    for mark, name in _BOMS.items():
        if sample.startswith(mark):
            return name
    if b"\0" in sample[:4096]:
        raise DataError("is not text: it contains zero bytes")
    if _decodes(sample, "utf-8"):
        return "utf-8"
    if _decodes(sample, "gb18030") and _is_everyday_chinese(sample.decode("gb18030", errors="ignore")):
        return "gb18030"
    if _share_of_bad_lines(sample) < 0.1:
        return "utf-8"
    from charset_normalizer import from_bytes

    guess = from_bytes(sample[: 1 << 16]).best()
    if guess is None:
        raise DataError("is in no known text encoding; save it as UTF-8")
    return guess.encoding


def _lines(stream: Any, end: Any, decode: Any) -> Iterator[Line]:
    """Lines of a binary or text stream; `end` is of the stream's type."""
    number = 0
    while raw := stream.readline(MAX_LINE_BYTES):
        number += 1
        size = len(raw)
        is_cut = not raw.endswith(end) and len(raw) >= MAX_LINE_BYTES
        if is_cut:
            rest = raw
            while rest and not rest.endswith(end):
                rest = stream.readline(_SKIP_BYTES)
                size += len(rest)
            is_cut = size > len(raw) + len(end)
        text = decode(raw.rstrip(end)).removesuffix("\r")
        yield Line(number, text.removeprefix("\ufeff") if number == 1 else text, size, is_cut)


def _decode(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if encoding.startswith("utf-8"):  # a stray line from an older system
        try:
            text = raw.decode("gb18030")
        except UnicodeDecodeError:
            text = ""
        if text and _is_everyday_chinese(text):
            return text
    return raw.decode(encoding, errors="replace")


def _decodes(sample: bytes, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        decoder.decode(sample, final=len(sample) < _SAMPLE_BYTES)  # a full sample may end inside a character
    except UnicodeDecodeError:
        return False
    return True


def _is_everyday_chinese(text: str) -> bool:
    foreign = [char for char in text if ord(char) > 127]
    everyday = sum(_in_level_1(char) or char in "，。！？：；、（）“”《》【】—…￥" for char in foreign)
    return everyday >= 0.9 * len(foreign)


def _in_level_1(char: str) -> bool:
    try:
        raw = char.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return 0xB0 <= raw[0] <= 0xD7


def _share_of_bad_lines(sample: bytes) -> float:
    lines = sample.split(b"\n")
    return sum(not _decodes(line, "utf-8") for line in lines) / len(lines)


def _heading(line: str, *, is_first: bool) -> str:
    """A Markdown heading, or a short first line that ends like a title."""
    found = re.match(r"#\s+(.+?)\s*#*$", line)
    if found:
        return found[1]
    return line.strip() if is_first and re.fullmatch(r"[^#|<>{}\[].{0,58}[\w?？）)”]", line.strip()) else ""
