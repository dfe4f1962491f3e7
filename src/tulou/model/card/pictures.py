"""The card's pictures as inline SVG: reliability, confusion, curves. Colours come from the page's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_LEFT, _TOP = 44, 12  # px, room for the axis and above the plot
_NAMES = 16  # px above that, for the names of lines
_COLORS = ("a", "b", "c")


def reliability(bins: Sequence[Mapping[str, float]], size: int = 300) -> str:
    """Accuracy over confidence (Guo et al. 2017, figure 1); the diagonal is a model that knows what it knows."""
    rows = max(each["rows"] for each in bins)
    parts = [_frame(size, size, ("0", "½", "1"), ("0", "½", "1"))]
    for each in bins:
        x, width = _LEFT + each["from"] * size, (each["to"] - each["from"]) * size
        top = _TOP + (1 - each["accuracy"]) * size
        tip = escape(f"{each['rows']:,.0f} rows, confidence {each['confidence']:.2f}, accuracy {each['accuracy']:.2f}")
        strength = 0.35 + 0.65 * each["rows"] / rows
        parts.append(
            f'<rect class="a" x="{x + 1:.1f}" y="{top:.1f}" width="{width - 2:.1f}" height="{_TOP + size - top:.1f}" '
            f'opacity="{strength:.2f}"><title>{tip}</title></rect>'
        )
        parts.append(f'<line class="now" x1="{x:.1f}" x2="{x + width:.1f}" y1="{top:.1f}" y2="{top:.1f}"/>')
    parts.append(f'<line class="ideal" x1="{_LEFT}" y1="{_TOP + size}" x2="{_LEFT + size}" y2="{_TOP}"/>')
    parts.append(_axis_names(size, size, "置信度 · confidence", "准确率 · accuracy"))
    return _svg(size, size, parts, "accuracy over confidence")


def confusion(matrix: Mapping[str, Any]) -> str:
    """True labels down, named ones across; the diagonal in one colour, mistakes in another, darker for more."""
    labels: Sequence[str] = matrix["labels"]
    counts: Sequence[Sequence[int]] = matrix["counts"]
    cell = max(9, min(26, 520 // max(1, len(labels))))
    room = 8 + max((len(label) for label in labels), default=1) * 7
    side = cell * len(labels)
    parts = []
    for row, (want, line) in enumerate(zip(labels, counts, strict=True)):
        total = max(1, sum(line))
        y = room + row * cell
        parts.append(f'<text class="n end" x="{room - 5}" y="{y + cell / 2 + 4:.1f}">{escape(want)}</text>')
        x = room + row * cell + cell / 2 + 4
        parts.append(
            f'<text class="n" transform="translate({x:.1f} {room - 5}) rotate(-90)">{escape(labels[row])}</text>'
        )
        for column, count in enumerate(line):
            if not count:
                continue
            tip = escape(f"{want} → {labels[column]}: {count:,}")
            style = "a" if row == column else "wrong"
            parts.append(
                f'<rect class="{style}" x="{room + column * cell}" y="{y}" width="{cell - 1}" height="{cell - 1}" '
                f'opacity="{0.15 + 0.85 * count / total:.2f}"><title>{tip}</title></rect>'
            )
            if cell >= 18:
                middle = f'x="{room + column * cell + cell / 2 - 0.5:.1f}" y="{y + cell / 2 + 3.5:.1f}"'
                parts.append(f'<text class="count" {middle}>{count}</text>')
    parts.append(f'<rect class="frame" x="{room}" y="{room}" width="{side}" height="{side}"/>')
    whole = room + side + 4
    return (
        f'<svg class="wide" viewBox="0 0 {whole} {whole}" style="max-width:{whole}px" role="img">{"".join(parts)}</svg>'
    )


def curves(
    points: Sequence[Mapping[str, float]],
    names: Mapping[str, str],
    width: int = 420,
    height: int = 220,
    kept: float | None = None,
) -> str:
    """One line for each key of `names` that the points have, over steps; `names` gives what each is called.

    `kept` is the step whose weights were kept.
    """
    lines = {key: [(p["step"], p[key]) for p in points if key in p] for key in names}
    lines = {key: line for key, line in lines.items() if line}
    values = [value for line in lines.values() for _, value in line]
    steps = [point["step"] for point in points]
    low, high = min(0.0, *values), max(values) or 1.0
    first, last = min(steps if kept is None else [*steps, kept]), max(steps)
    parts = [_frame(width, height, (f"{low:g}", "", f"{high:.2g}"), (f"{first:g}", "", f"{last:g}"))]
    if kept is not None:
        parts.append(_kept(_LEFT + width * (kept - first) / max(1, last - first), kept, width, height))
    for number, (key, line) in enumerate(lines.items()):
        color = _COLORS[number % len(_COLORS)]
        places = [
            (_LEFT + width * (x - first) / max(1, last - first), _TOP + height * (high - y) / (high - low or 1))
            for x, y in line
        ]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path class="line {color}" d="{path}"/>')
        parts += [
            f'<circle class="{color}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{step:g}: {value:.4g}</title></circle>'
            for (x, y), (step, value) in zip(places, line, strict=True)
        ]
        parts.append(f'<text class="{color}" x="{_LEFT + width // 2 * number}" y="-2">{escape(names[key])}</text>')
    parts.append(_axis_names(width, height, "步 · step", ""))
    return _svg(width, height, parts, "training curve", above=_NAMES)


def _kept(x: float, step: float, width: int, height: int) -> str:
    """A line at the step whose weights were kept, its name on the side that has room."""
    beside, side = (x - 5, "end") if x > _LEFT + width / 2 else (x + 5, "start")
    return (
        f'<line class="ideal" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_TOP + height}"/>'
        f'<text class="n {side}" x="{beside:.1f}" y="{_TOP + height / 2:.1f}">保留 · kept: {step:g}</text>'
    )


def _frame(width: int, height: int, ys: Sequence[str], xs: Sequence[str]) -> str:
    marks = [f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{width}" height="{height}"/>']
    for place, name in enumerate(ys):
        y = _TOP + height - height * place / (len(ys) - 1)
        marks.append(f'<text class="n end" x="{_LEFT - 6}" y="{y + 4:.1f}">{name}</text>')
    for place, name in enumerate(xs):
        x = _LEFT + width * place / (len(xs) - 1)
        marks.append(f'<text class="n middle" x="{x:.1f}" y="{_TOP + height + 17}">{name}</text>')
    return "".join(marks)


def _axis_names(width: int, height: int, below: str, beside: str) -> str:
    return (
        f'<text class="n middle" x="{_LEFT + width / 2:.1f}" y="{_TOP + height + 32}">{below}</text>'
        f'<text class="n middle" transform="translate(12 {_TOP + height / 2:.1f}) rotate(-90)">{beside}</text>'
    )


def _svg(width: int, height: int, parts: Sequence[str], label: str, above: int = 0) -> str:
    box = f"0 {-above} {_LEFT + width + 12} {_TOP + height + 40 + above}"
    return (
        f'<svg viewBox="{box}" style="max-width:{_LEFT + width + 12}px" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )
