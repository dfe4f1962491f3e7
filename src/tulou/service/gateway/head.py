"""Lines of an answer's head as bytes, each with its end: joined once and never taken apart on the hot path."""

from __future__ import annotations

from collections.abc import Iterable


def pairs(lines: bytes) -> list[tuple[bytes, bytes]]:
    """As ASGI has them: names and values."""
    split = (line.partition(b": ") for line in lines.split(b"\r\n") if line)
    return [(name, value) for name, _, value in split]


def lines_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])
