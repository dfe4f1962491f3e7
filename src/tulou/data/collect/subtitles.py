"""Subtitles (.srt, .vtt) as stretches of speech: cues joined to half a minute or so, each with its seconds.

A single cue is half a sentence and finds nothing by itself. Lines that a rolling caption repeats are taken once; marks
of style are dropped. What is no cue is passed over, so any text comes to an end, if not to a result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tulou.core.errors import DataError
from tulou.data.collect.piece import Piece, file_title
from tulou.data.collect.text import read_lines

_SEGMENT_SECONDS = 30.0
_SEGMENT_CHARS = 1000
_PAUSE_SECONDS = 5.0  # a longer one ends a segment
_CLOCK = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,6}))?"
_TIMES = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s|$)")
_STYLE = re.compile(r"<[^<>]{0,200}>|\{\\[^{}]{0,200}\}")


@dataclass
class _Segment:
    start: float
    end: float
    lines: list[str] = field(default_factory=list)
    chars: int = 0

    def add(self, line: str, end: float) -> None:
        self.lines.append(line)
        self.chars += len(line)
        self.end = max(self.end, end)

    def fits(self, start: float, end: float, line: str) -> bool:
        is_near = self.start <= start <= self.end + _PAUSE_SECONDS and end - self.start <= _SEGMENT_SECONDS
        return is_near and self.chars + len(line) <= _SEGMENT_CHARS

    @property
    def text(self) -> str:
        """One flow; Chinese needs no space between lines."""
        text = self.lines[0]
        for line in self.lines[1:]:
            text += line if _is_wide(text[-1]) and _is_wide(line[0]) else f" {line}"
        return text


def read_subtitles(path: Path) -> Iterator[Piece]:
    """Raises `DataError` where no line says from when to when."""
    seen: dict[str, int] = {}
    for segment in _segments(_cues(path)):
        position = f"seconds={segment.start:.0f}-{segment.end:.0f}"
        seen[position] = seen.get(position, 0) + 1
        if seen[position] > 1:  # cues can overlap, ids must not
            position += f",part={seen[position]}"
        yield Piece(position, file_title(path), segment.text)
    if not seen:
        raise DataError("holds no subtitles: no line says from when to when, such as 00:00:01,000 --> 00:00:03,000")


def _segments(cues: Iterator[tuple[float, float, str]]) -> Iterator[_Segment]:
    segment: _Segment | None = None
    for start, end, line in cues:
        if segment is not None and line in segment.lines[-2:]:
            segment.end = max(segment.end, end)
            continue
        if segment is not None and not segment.fits(start, end, line):
            yield segment
            segment = None
        if segment is None:
            segment = _Segment(start, end)
        segment.add(line, end)
    if segment is not None:
        yield segment


def _cues(path: Path) -> Iterator[tuple[float, float, str]]:
    """From, to, and one line of what is said."""
    times: tuple[float, float] | None = None
    for line in read_lines(path):
        found = _TIMES.match(line.text)
        if found:
            start, end = _seconds(found.groups()[:4]), _seconds(found.groups()[4:])
            times = (start, max(start, end))
        elif not line.text.strip():
            times = None
        elif times is not None and (said := _STYLE.sub("", line.text).strip()):
            yield (*times, said)


def _seconds(clock: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = clock
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction or 0}")


def _is_wide(char: str) -> bool:
    return ord(char) >= 0x2E80
