"""The picture of a search: speed to the right, accuracy upwards, size as area. Pure inline SVG, light and dark.

What no other candidate beats is filled and joined by a line; what serves has a ring; the band at the top is the
accuracy that may be lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tulou.model.compress.compare import quality

_WIDTH, _HEIGHT = 640, 380  # px
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 120, 24, 48  # px around the plot
_LARGEST, _SMALLEST = 22.0, 4.0  # px, radius of the largest and of the smallest circle
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:currentColor}.d{opacity:.6}"
    ".c{fill:#2f7d6b;fill-opacity:.75}.b{fill:#8a8f98;fill-opacity:.45}.s{fill:none;stroke:#c8553d;stroke-width:2.5}"
    ".l{fill:none;stroke:#2f7d6b;stroke-width:1.5;stroke-dasharray:4 3}.w{fill:#2f7d6b;fill-opacity:.09}"
    ".a{stroke:currentColor;opacity:.35}"
)


def pareto_picture(
    rows: Sequence[Mapping[str, Any]], front: Sequence[str], chosen: str, max_accuracy_loss: float
) -> str:
    """SVG of the rows of a comparison; the first is the baseline."""
    speeds = [1000 / row["latency_ms_p50"] for row in rows]  # calls/s on one thread
    scores = [quality(row) for row in rows]
    allowed = scores[0] - max_accuracy_loss
    low, high = min(*scores, allowed), max(scores)
    margin = max((high - low) * 0.12, 0.002)
    across = _scale(0, max(speeds) * 1.08, _LEFT, _WIDTH - _RIGHT)
    upwards = _scale(low - margin, min(1.0, high + margin) + 1e-9, _HEIGHT - _BOTTOM, _TOP)
    largest = max(row["size_bytes"] for row in rows)
    names = ", ".join(str(row["precision"]) for row in rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="accuracy and speed of {escape(names)}"><style>{_STYLE}</style>',
        _rectangle(_LEFT, _TOP, _WIDTH - _RIGHT - _LEFT, max(0.0, upwards(allowed) - _TOP), "w"),
        *_axes(low, high, max(speeds), across, upwards),
        _front_line(rows, front, across, upwards),
    ]
    for row, speed, score in sorted(zip(rows, speeds, scores, strict=True), key=lambda each: -each[0]["size_bytes"]):
        radius = max(_SMALLEST, _LARGEST * math.sqrt(row["size_bytes"] / largest))
        x, y = across(speed), upwards(score)
        name = str(row["precision"])
        title = f"{name}: {score:.2%}, {row['latency_ms_p50']:.2f} ms, {row['size_bytes'] / 1e6:.1f} MB"
        parts.append(
            f'<circle class="{"c" if name in front else "b"}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{escape(title)}</title></circle>"
        )
        if name == chosen:
            parts.append(f'<circle class="s" cx="{x:.1f}" cy="{y:.1f}" r="{radius + 4:.1f}"/>')
        parts.append(_text(x + radius + 7, y + 4, name, "start"))
    return "".join((*parts, "</svg>"))


def _axes(low: float, high: float, fastest: float, across: Any, upwards: Any) -> list[str]:
    bottom = _HEIGHT - _BOTTOM
    parts = [
        f'<line class="a" x1="{_LEFT}" y1="{bottom}" x2="{_WIDTH - _RIGHT}" y2="{bottom}"/>',
        f'<line class="a" x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{bottom}"/>',
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, "texts/s, one thread · 每秒文本数", "middle", "d"),
        _text(_LEFT, 14, "accuracy · 准确率", "middle", "d"),
    ]
    marks = [fastest * share for share in (0.25, 0.5, 0.75, 1.0)]
    parts += [_text(across(speed), bottom + 18, f"{speed:,.0f}", "middle", "d") for speed in marks]
    levels = dict.fromkeys((low, (low + high) / 2, high))
    return parts + [_text(_LEFT - 8, upwards(score) + 4, f"{score:.1%}", "end", "d") for score in levels]


def _front_line(rows: Sequence[Mapping[str, Any]], front: Sequence[str], across: Any, upwards: Any) -> str:
    points = sorted(
        (across(1000 / row["latency_ms_p50"]), upwards(quality(row))) for row in rows if row["precision"] in front
    )
    return f'<polyline class="l" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _scale(start: float, end: float, first_px: float, last_px: float) -> Any:
    return lambda value: first_px + (value - start) / (end - start) * (last_px - first_px)


def _rectangle(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str, style: str = "") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
