"""Text in pictures, by RapidOCR with the PP-OCR models in its wheel (Chinese and English, CPU, 1-2 s a page)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from tulou.core.errors import DataError
from tulou.core.extras import load_extra
from tulou.data.collect.piece import Piece

_MAX_PIXELS = 64_000_000  # a larger picture needs gigabytes; an A4 page at 600 dpi has 35 million
_PARAGRAPH_GAP = 0.9  # of the line height


def read_image(path: Path) -> list[Piece]:
    """The lines of text in the picture, top to bottom, paragraphs apart. Raises `DataError` where there are none."""
    pictures = load_extra("PIL.Image", "ocr", "reading text in pictures")
    try:
        with pictures.open(path) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise DataError(f"is {picture.width}x{picture.height} pixels; at most {_MAX_PIXELS:,} pixels are read")
            picture.load()
    except (OSError, SyntaxError) as err:  # Pillow raises SyntaxError for a broken PNG
        raise DataError(f"is a damaged picture, or none at all: {err}") from err
    text = recognise(str(path))
    if not text:
        raise DataError("no text was recognised in this picture")
    return [Piece("", text.splitlines()[0].strip(), text)]


def recognise(picture: Any) -> str:
    """The text in `picture`, a path or a BGR array (height, width, 3); empty where there is none."""
    found = _reader()(picture)
    return _arranged(found.boxes, found.txts) if found.txts else ""


@cache
def _reader() -> Any:
    """Loads the models once in a process; half a second."""
    rapidocr = load_extra("rapidocr", "ocr", "reading text in pictures")
    return rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": 2,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _arranged(boxes: Any, texts: tuple[str, ...]) -> str:
    """Boxes are (n, 4 corners, 2), in pixels."""
    lines: list[tuple[float, float, float, str]] = []  # top, bottom, left, text
    for box, text in zip(boxes, texts, strict=True):
        lines.append((float(box[:, 1].min()), float(box[:, 1].max()), float(box[:, 0].min()), text))
    lines.sort()
    out = ""
    bottom, height = lines[0][1], lines[0][1] - lines[0][0]
    for number, (top, low, _, text) in enumerate(lines):
        if number == 0:
            out = text
        elif top < bottom - 0.5 * height:  # beside the last box: the same line
            out += " " + text
        else:
            out += ("\n\n" if top - bottom > _PARAGRAPH_GAP * height else "\n") + text
        bottom, height = max(bottom, low) if top < bottom else low, low - top
    return out
