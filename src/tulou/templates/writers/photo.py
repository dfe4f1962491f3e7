"""A notice on paper, photographed: drawn with Pillow, then turned a little, lit from one side and grained.

The dirt is mild on purpose. It keeps a reader of pictures honest; it is no benchmark of one.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tulou.core.extras import load_extra
from tulou.templates.markup import Block, Heading, Listing, Paragraph
from tulou.templates.writers.unavailable import UnavailableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTH, _MARGIN, _LINE = 1240, 110, 62  # pixels
_TITLE_POINTS, _TEXT_POINTS = 52, 36
_PAPER, _INK, _DESK = (250, 247, 240), (35, 32, 30), (122, 104, 88)
_TILT_DEGREES = 1.4


def write_photo(blocks: list[Block], path: Path) -> None:
    font_file = _chinese_font()
    image, fonts = (load_extra(f"PIL.{name}", "samples", "drawing .png files") for name in ("Image", "ImageFont"))
    title_font, text_font = (fonts.truetype(font_file, size) for size in (_TITLE_POINTS, _TEXT_POINTS))
    lines = [line for block in blocks for line in _lines(block, text_font)]
    sheet = image.new("RGB", (_WIDTH, 2 * _MARGIN + _LINE * len(lines)), _PAPER)
    pen = load_extra("PIL.ImageDraw", "samples", "drawing .png files").Draw(sheet)
    for row, (text, is_title) in enumerate(lines):
        pen.text((_MARGIN, _MARGIN + row * _LINE), text, fill=_INK, font=title_font if is_title else text_font)
    turned = sheet.rotate(_TILT_DEGREES, resample=image.Resampling.BICUBIC, expand=True, fillcolor=_DESK)
    image.fromarray(_photographed(np.asarray(turned))).save(path)


def _chinese_font() -> str:
    if shutil.which("fc-list") is None:
        raise UnavailableError("fc-list is not installed; install it with: apt-get install fontconfig")
    command = ["fc-list", "--format=%{file}\n", ":lang=zh-cn"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    files = sorted(file for file in found if file)
    if not files:
        raise UnavailableError("no Chinese font is installed; install one with: apt-get install fonts-wqy-microhei")
    return files[0]


def _lines(block: Block, font: Any) -> list[tuple[str, bool]]:
    """The block's lines as wide as the sheet allows, each with whether it is set as a title, and an empty one after."""
    match block:
        case Heading(_, text):
            return [(text, True), ("", False)]
        case Paragraph(text):
            return [*((line, False) for line in _wrapped(text, font)), ("", False)]
        case Listing(items, _):
            return [*((line, False) for item in items for line in _wrapped(item, font)), ("", False)]
    raise ValueError(f"a photographed notice holds no {type(block).__name__.lower()}")


def _wrapped(text: str, font: Any) -> list[str]:
    lines = [""]
    for character in text:
        if font.getlength(lines[-1] + character) > _WIDTH - 2 * _MARGIN:
            lines.append("")
        lines[-1] += character
    return lines


def _photographed(sheet: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(height, width, 3) in, the same out: brighter at the top left, darker at the bottom right, with sensor noise."""
    rng = np.random.default_rng(7)
    height, width, _ = sheet.shape
    across = np.linspace(0, 1, width)[None, :, None] + np.linspace(0, 1, height)[:, None, None]  # (height, width, 1)
    lit = sheet * (1.03 - 0.14 * across) + rng.normal(0, 4, sheet.shape)
    return np.asarray(np.clip(lit, 0, 255), dtype=np.uint8)
