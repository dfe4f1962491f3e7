"""The picture of a search: speed to the right, accuracy upwards, size as area. Pure inline SVG, light and dark.

What no other candidate beats is filled and joined by a line; what serves has a ring; the band at the top is the
accuracy that may be lost. A label goes beside its circle, or to the nearest place where it covers no other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from tulou.model.compress.compare import quality

_WIDTH, _HEIGHT = 640, 380  # px
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 24, 48  # px around the plot
_LARGEST, _SMALLEST = 22.0, 4.0  # px, radius of the largest and of the smallest circle
_LETTER, _LINE = 7.2, 15.0  # px, a letter's width in a label of 12 px, a wide one's; and a line's height
_STEPS = (1, 2, 2.5, 5, 10)  # a tick's distance, times a power of ten
_STYLE = (
    ".pareto text{font:12px system-ui,sans-serif;fill:currentColor}.pareto .d{opacity:.6}"
    ".pareto .c{fill:#2f7d6b;fill-opacity:.75}.pareto .b{fill:#8a8f98;fill-opacity:.45}"
    ".pareto .s{fill:none;stroke:#c8553d;stroke-width:2.5}.pareto .w{fill:#2f7d6b;fill-opacity:.09}"
    ".pareto .l{fill:none;stroke:#2f7d6b;stroke-width:1.5;stroke-dasharray:4 3}"
    ".pareto .a{stroke:currentColor;opacity:.35}"
)

Scale = Callable[[float], float]


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def covers(self, other: Box) -> float:
        """The area, px², that both have."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)


def pareto_picture(
    rows: Sequence[Mapping[str, Any]], front: Sequence[str], chosen: str, max_accuracy_loss: float
) -> str:
    """SVG of the rows of a comparison; the first is the baseline."""
    speeds = [1000 / row["latency_ms_p50"] for row in rows]  # calls/s on one thread
    scores = [quality(row) for row in rows]
    allowed = scores[0] - max_accuracy_loss
    low, high = min(*scores, allowed), max(scores)
    margin = max((high - low) * 0.12, 0.002)
    floor, ceiling = low - margin, min(1.0, high + margin) + 1e-9
    across = _scale(0, max(speeds) * 1.08, _LEFT, _WIDTH - _RIGHT)
    upwards = _scale(floor, ceiling, _HEIGHT - _BOTTOM, _TOP)
    largest = max(row["size_bytes"] for row in rows)
    names = [str(row["precision"]) for row in rows]
    circles = [
        (across(speed), upwards(score), max(_SMALLEST, _LARGEST * math.sqrt(row["size_bytes"] / largest)))
        for row, speed, score in zip(rows, speeds, scores, strict=True)
    ]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pareto" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="accuracy and speed of {escape(", ".join(names))}"><style>{_STYLE}</style>',
        _rectangle(_LEFT, _TOP, _WIDTH - _RIGHT - _LEFT, max(0.0, upwards(allowed) - _TOP), "w"),
        *_axes(max(speeds) * 1.08, floor, ceiling, across, upwards),
        _front_line(rows, front, across, upwards),
    ]
    for place in sorted(range(len(rows)), key=lambda place: -rows[place]["size_bytes"]):
        row, (x, y, radius), name = rows[place], circles[place], names[place]
        title = f"{name}: {scores[place]:.2%}, {row['latency_ms_p50']:.2f} ms, {row['size_bytes'] / 1e6:.1f} MB"
        parts.append(
            f'<circle class="{"c" if name in front else "b"}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{escape(title)}</title></circle>"
        )
        if name == chosen:
            parts.append(f'<circle class="s" cx="{x:.1f}" cy="{y:.1f}" r="{radius + 4:.1f}"/>')
    for name, circle, box in zip(names, circles, _places(names, circles), strict=True):
        parts += _label(name, circle, box)
    return "".join((*parts, "</svg>"))


def _places(names: Sequence[str], circles: Sequence[tuple[float, float, float]]) -> list[Box]:
    """Where each label goes: the first of its possible places that covers least, the picture's edge counting most."""
    reaches = [(x, y, radius + 4) for x, y, radius in circles]  # with a ring around it
    rings = [Box(x - reach, y - reach, x + reach, y + reach) for x, y, reach in reaches]
    edges = [
        Box(-1e4, -1e4, _LEFT, 1e4), Box(_WIDTH - 2, -1e4, 1e4, 1e4),
        Box(-1e4, -1e4, 1e4, 2), Box(-1e4, _HEIGHT - _BOTTOM, 1e4, 1e4),
    ]  # fmt: skip
    placed: list[Box] = []
    for name, (x, y, radius) in zip(names, circles, strict=True):
        width, gap = len(name) * _LETTER, radius + 9
        possible = [
            Box(left, y + drop - _LINE / 2, left + width, y + drop + _LINE / 2)
            for drop in (0, -_LINE, _LINE, -2 * _LINE, 2 * _LINE, -3 * _LINE, 3 * _LINE, -4 * _LINE, 4 * _LINE)
            for left in (x + gap, x - gap - width)
        ]
        possible += [
            Box(x - width / 2, y + drop - _LINE / 2, x + width / 2, y + drop + _LINE / 2)
            for drop in (-gap - 4, gap + 4)
        ]
        placed.append(min(possible, key=lambda box: _cost(box, rings, placed, edges)))
    return placed


def _cost(box: Box, rings: Sequence[Box], placed: Sequence[Box], edges: Sequence[Box]) -> float:
    over = sum(10 * box.covers(edge) for edge in edges) + sum(3 * box.covers(other) for other in placed)
    return over + sum(2 * box.covers(ring) for ring in rings)


def _label(name: str, circle: tuple[float, float, float], box: Box) -> list[str]:
    """The name in its place, with a line to its circle where it is not beside it."""
    x, y, radius = circle
    middle = (box.top + box.bottom) / 2
    side = "start" if box.left > x else "end" if box.right < x else "middle"
    at = {"start": box.left, "end": box.right, "middle": (box.left + box.right) / 2}[side]
    shown = [_text(at, middle + 4, name, side)]
    if abs(middle - y) > _LINE / 2 and side != "middle":
        near = at - 3 if side == "start" else at + 3
        reach = radius / math.hypot(near - x, middle - y)
        shown.append(_line(x + (near - x) * reach, y + (middle - y) * reach, near, middle))
    return shown


def _axes(fastest: float, floor: float, ceiling: float, across: Scale, upwards: Scale) -> list[str]:
    bottom = _HEIGHT - _BOTTOM
    parts = [
        _line(_LEFT, bottom, _WIDTH - _RIGHT, bottom),
        _line(_LEFT, _TOP, _LEFT, bottom),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, "texts/s, one thread · 每秒文本数", "middle", "d"),
        _text(8, 14, "accuracy · 准确率", "start", "d"),
    ]
    for speed in _ticks(0, fastest):
        parts.append(_line(across(speed), bottom, across(speed), bottom + 4))
        parts.append(_text(across(speed), bottom + 18, f"{speed:,g}", "middle", "d"))
    for score in _ticks(floor * 100, ceiling * 100):
        parts.append(_line(_LEFT - 4, upwards(score / 100), _LEFT, upwards(score / 100)))
        parts.append(_text(_LEFT - 8, upwards(score / 100) + 4, f"{score:g}%", "end", "d"))
    return parts


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, at most `most` and one more."""
    power = 10 ** math.floor(math.log10((high - low) / most))
    step = next(step * power for step in _STEPS if step * power * most >= high - low)
    return [round(number * step, 9) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _front_line(rows: Sequence[Mapping[str, Any]], front: Sequence[str], across: Scale, upwards: Scale) -> str:
    points = sorted(
        (across(1000 / row["latency_ms_p50"]), upwards(quality(row))) for row in rows if row["precision"] in front
    )
    return f'<polyline class="l" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _scale(start: float, end: float, first_px: float, last_px: float) -> Scale:
    return lambda value: first_px + (value - start) / (end - start) * (last_px - first_px)


def _rectangle(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="a" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str, style: str = "") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
