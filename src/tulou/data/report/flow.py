"""The flow picture: bands as thick as records are many, from the sources through the steps to what was kept.

Each step that dropped something has a band of its own, which leaves the others where the step stands in the order. The
steps' bands lie below each other in that order, so that none ever crosses another. Pure inline SVG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

_ROW = 42  # px from one label to the next, at least
_BAR = 10  # px, the posts at both ends
_THINNEST = 1.5  # px, so that one record in a million is seen


@dataclass(frozen=True)
class Shape:
    """Where things stand in the picture, px."""

    width: int
    left: int  # of the width, for the sources' names
    right: int  # for what became of the records
    height: int  # of the band of all records
    name_chars: int


WIDE = Shape(width=960, left=150, right=225, height=200, name_chars=20)
NARROW = Shape(width=350, left=74, right=158, height=180, name_chars=9)


@dataclass(frozen=True)
class Band:
    """One end of the picture."""

    title: str
    records: int
    style: str  # "source", "kept" or "dropped"


def flow_picture(sources: Mapping[str, int], kept: int, dropped: Sequence[tuple[str, int]], shape: Shape) -> str:
    """SVG: records by source on the left; on the right `kept`, below it the steps in `dropped` (title, records)."""
    total = max(1, sum(sources.values()))
    scale = shape.height / total
    left = [Band(name, records, "source") for name, records in sources.items()]
    right = [Band("保留 · kept", kept, "kept"), *(Band(title, n, "dropped") for title, n in reversed(dropped))]
    left_tops, right_tops = _tops(left, scale), _tops(right, scale)
    start, end = shape.left + _BAR, shape.width - shape.right - _BAR
    trunk = start + (end - start) * 0.3
    parts = []
    for band, top, inner in zip(left, left_tops, _stacked(left, scale), strict=True):
        thick = _thickness(band, scale)
        parts.append(_ribbon([(start, top), (trunk, inner)], thick, band, total))
        parts.append(_post(shape.left, top, thick, "source"))
        parts.append(_text(0, top + max(thick / 2, 6) - 4, _cut(band.title, shape.name_chars), "t"))
        parts.append(_text(0, top + max(thick / 2, 6) + 13, f"{band.records:,}", "n"))
    for place, (band, top, inner) in enumerate(zip(right, right_tops, _stacked(right, scale), strict=True)):
        thick = _thickness(band, scale)
        bend = trunk + (end - trunk) * 0.62 * (len(right) - place) / len(right)
        parts.append(_ribbon([(trunk, inner), (bend, inner), (end, top)], thick, band, total))
        parts.append(_post(end, top, thick, band.style))
        x = end + _BAR + 8
        parts.append(_text(x, top + max(thick / 2, 6) - 4, band.title, "t"))
        parts.append(_text(x, top + max(thick / 2, 6) + 13, _share(band.records, total), "n"))
    height = max(_bottom(left, left_tops, scale), _bottom(right, right_tops, scale))
    label = escape(f"{sum(sources.values()):,} → {kept:,}")
    return (
        f'<svg class="flow" viewBox="0 0 {shape.width} {height:.0f}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def _tops(bands: Sequence[Band], scale: float) -> list[float]:
    """Where each band ends, one below the other with room for two lines of text each."""
    tops: list[float] = []
    y = 12.0
    for band in bands:
        tops.append(y)
        y += max(_ROW, _thickness(band, scale) + 14)
    return tops


def _bottom(bands: Sequence[Band], tops: Sequence[float], scale: float) -> float:
    return tops[-1] + max(_thickness(bands[-1], scale), 26) + 4 if bands else 0.0


def _stacked(bands: Sequence[Band], scale: float) -> list[float]:
    """Where each band lies in the trunk, without gaps."""
    tops = [12.0]
    for band in bands:
        tops.append(tops[-1] + band.records * scale)
    return tops[:-1]


def _thickness(band: Band, scale: float) -> float:
    return max(_THINNEST, band.records * scale) if band.records else 0.0


def _ribbon(points: Sequence[tuple[float, float]], thick: float, band: Band, total: int) -> str:
    """A band whose upper edge runs through `points`, in S-curves where they differ in height."""
    if not thick:
        return ""
    upper = _edge(points, 0)
    lower = _edge(points[::-1], thick)
    tip = escape(f"{band.title}: {_share(band.records, total)}")
    (x, y), (last_x, last_y) = points[0], points[-1]
    return (
        f'<path class="{band.style}" d="M{x:.1f} {y:.1f}{upper}L{last_x:.1f} {last_y + thick:.1f}{lower}Z">'
        f"<title>{tip}</title></path>"
    )


def _edge(points: Sequence[tuple[float, float]], down: float) -> str:
    drawn = []
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (x0 + x1) / 2
        if y0 == y1:
            drawn.append(f"L{x1:.1f} {y1 + down:.1f}")
        else:
            drawn.append(f"C{middle:.1f} {y0 + down:.1f} {middle:.1f} {y1 + down:.1f} {x1:.1f} {y1 + down:.1f}")
    return "".join(drawn)


def _post(x: float, top: float, thick: float, style: str) -> str:
    return f'<rect class="post {style}" x="{x:.1f}" y="{top:.1f}" width="{_BAR}" height="{max(thick, 2):.1f}" rx="2"/>'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _cut(text: str, chars: int) -> str:
    """`text` in the room of so many Latin characters; a Chinese one takes two."""
    room = chars
    for place, char in enumerate(text):
        room -= 2 if ord(char) > 0x2E7F else 1
        if room < 0:
            return text[: max(1, place - 1)] + "…"
    return text


def _share(records: int, total: int) -> str:
    return f"{records:,} ({records / total:.1%})"
