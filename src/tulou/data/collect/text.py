"""Plain text and Markdown, in whatever encoding, in bounded memory.

The encoding is decided from the first megabyte: a byte order mark, UTF-16 and UTF-32 by what their zero bytes leave,
UTF-8, else GB18030, Big5 or Windows-1252 by which of them reads best, else charset-normalizer's guess. Each line is
then decoded by itself, because files glued together from two systems exist; what is binary is refused. A line longer
than `MAX_LINE_BYTES` is cut and reported.
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
from tulou.data.everyday import everyday_score, is_writing

WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "big5": "big5hkscs", "iso-8859-1": "cp1252"}
"""What is meant by the name that a mail or a page gives its encoding (WHATWG Encoding, section 4.2)."""

MAX_LINE_BYTES = 1 << 20

_SAMPLE_BYTES = 1 << 20
_JUDGED_BYTES = 1 << 16  # of the sample, by slower means
_SKIP_BYTES = 1 << 20

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")  # without a byte order mark
_OLDER = ("gb18030", "big5hkscs", "cp1252", "latin-1")  # latin-1 for the five bytes that cp1252 lacks
_CONTROL = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
_MAX_CONTROL_SHARE = 0.01  # text has none but a stray one; packed data has one in ten
_MIN_ASCII_SHARE = 0.02  # spaces, digits and line ends, of which the zero bytes are
_MIN_WIDE_MEAN = -2.0  # of everyday score for each character: any script reads so, the wrong byte order reads as -4

# In a Western language accented letters stand beside plain ones, and seldom beside each other or a sign.
_WESTERN = re.compile(
    "[A-Za-z][\xc0-\xff]|[\xc0-\xff][A-Za-z]|[A-Za-z][’–—…]|[“„‘«¿¡][A-Za-z\xc0-\xff]|[£€©] ?[0-9]|°C"
)
_ODD = re.compile(
    "[\x80-\x9f]|[\xa1-\xbf\xd7\xf7][\xa1-\xff]|[\xc0-\xff][\xa1-\xba\xbc-\xbf\xd7\xf7]|[\xdf-\xff][\xc0-\xde]"
)


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
    if encoding.startswith(("utf-16", "utf-32")):
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
    if b"\0" in sample:
        return _wide_encoding(sample)
    if _decodes(sample, "utf-8"):
        _refuse_binary(sample)
        return "utf-8"
    lines = [line for line in sample.splitlines() if not line.isascii()]
    broken = [line for line in lines if not _decodes(line, "utf-8")]
    if 2 * len(broken) < len(lines):
        _refuse_binary(sample)
        return "utf-8"
    score, encoding = _best_encoding(b"\n".join(broken)[:_JUDGED_BYTES])
    wide_score, wide = _best_wide(sample[:_JUDGED_BYTES])
    if wide and wide_score > max(score, 0):  # Chinese without a single space or line end
        return wide
    _refuse_binary(sample)
    return encoding if score > 0 else _guessed(sample)


def _wide_encoding(sample: bytes) -> str:
    _, encoding = _best_wide(sample[:_JUDGED_BYTES])
    if not encoding:
        raise DataError("is not text: it contains zero bytes")
    return encoding


def _best_wide(sample: bytes) -> tuple[float, str]:
    """The best of UTF-16 and UTF-32 with its score, and "" where `sample` is none of them."""
    best = (0.0, "")
    for encoding in _WIDE:
        text = codecs.getincrementaldecoder(encoding)("replace").decode(sample)  # may end inside a character
        if not text or "\ufffd" in text or not all(map(is_writing, text)):
            continue
        score = everyday_score(text)
        ascii_chars = sum(char < "\x80" for char in text)
        is_likely = score > 0 or (score > _MIN_WIDE_MEAN * len(text) and ascii_chars > _MIN_ASCII_SHARE * len(text))
        if is_likely and (not best[1] or score > best[0]):
            best = (score, encoding)
    return best


def _refuse_binary(sample: bytes) -> None:
    found = len(_CONTROL.findall(sample))
    if found > 1 and found > _MAX_CONTROL_SHARE * len(sample):
        raise DataError(f"is not text: {found:,} of its first {len(sample):,} bytes are control characters")


def _best_encoding(sample: bytes) -> tuple[float, str]:
    """The older encoding in which the lines of `sample` read best, and its score; 0 is as good as noise."""
    lines = sample.split(b"\n")
    scores = [(sum(_score(line, encoding) for line in lines), encoding) for encoding in _OLDER]
    return max(scores, key=lambda pair: pair[0])


def _score(line: bytes, encoding: str) -> float:
    try:
        text = line.decode(encoding)
    except UnicodeDecodeError:
        return -0.1 * len(line)
    if encoding in ("gb18030", "big5hkscs"):
        return everyday_score(text)
    return len(_WESTERN.findall(text)) - 2.0 * len(_ODD.findall(text))


def _guessed(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    guess = from_bytes(sample[:_JUDGED_BYTES]).best()
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
    """A line, in the encoding of the file or, where that cannot be, in that of another system."""
    if raw.isascii():
        return raw.decode("ascii")
    is_utf8 = _decodes(raw, "utf-8")
    if is_utf8 and encoding.startswith("utf-8"):
        return raw.decode("utf-8")
    if not encoding.startswith("utf-8") and _decodes(raw, encoding):
        text = raw.decode(encoding)
        if is_utf8 and everyday_score(raw.decode("utf-8")) > everyday_score(text):
            return raw.decode("utf-8")
        if encoding not in _OLDER or _score(raw, encoding) > 0:
            return text
    if is_utf8:
        return raw.decode("utf-8")
    score, other = _best_encoding(raw)
    return raw.decode(other if score > 0 else encoding, errors="replace")


def _decodes(sample: bytes, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        decoder.decode(sample, final=len(sample) < _SAMPLE_BYTES)  # a full sample may end inside a character
    except UnicodeDecodeError:
        return False
    return True


def _heading(line: str, *, is_first: bool) -> str:
    """A Markdown heading, or a short first line that ends like a title."""
    found = re.match(r"#\s+(.+?)\s*#*$", line)
    if found:
        return found[1]
    return line.strip() if is_first and re.fullmatch(r"[^#|<>{}\[].{0,58}[\w?？）)”]", line.strip()) else ""
