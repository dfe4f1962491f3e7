"""PDF by reportlab, with Adobe's own Chinese font reference instead of an embedded file.

STSong-Light is one of the fonts every PDF reader must supply itself: the files stay small, need no font here, and text
extraction gives the Chinese text back. The price is that the glyphs look as the reader's machine has them.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from tulou.core.extras import load_extra
from tulou.templates.markup import Block, Heading, Listing, Paragraph, Table, title

_FONT = "STSong-Light"


def write_pdf(blocks: list[Block], path: Path) -> None:
    platypus = load_extra("reportlab.platypus", "samples", "writing .pdf files")
    _register_font()
    pages = platypus.SimpleDocTemplate(str(path), title=title(blocks), author="Yunque", invariant=1)
    pages.build([flowable for block in blocks for flowable in _flowables(block, platypus)])


def _register_font() -> None:
    metrics = load_extra("reportlab.pdfbase.pdfmetrics", "samples", "writing .pdf files")
    fonts = load_extra("reportlab.pdfbase.cidfonts", "samples", "writing .pdf files")
    metrics.registerFont(fonts.UnicodeCIDFont(_FONT))


def _flowables(block: Block, platypus: Any) -> list[Any]:
    match block:
        case Heading(level, text):
            return [platypus.Paragraph(escape(text), _style(size=max(11, 21 - 3 * level)))]
        case Paragraph(text):
            return [platypus.Paragraph(escape(text), _style())]
        case Listing(items, is_ordered):
            marks = [f"{n}. " if is_ordered else "• " for n in range(1, len(items) + 1)]
            lines = [escape(mark + item) for mark, item in zip(marks, items, strict=True)]
            return [platypus.Paragraph(line, _style(indent=12)) for line in lines]
        case Table(header, rows):
            cells = [[platypus.Paragraph(escape(cell), _style(size=9)) for cell in row] for row in (header, *rows)]
            return [platypus.Table(cells, style=[("GRID", (0, 0), (-1, -1), 0.5, "grey")]), platypus.Spacer(0, 8)]


def _style(size: float = 10.5, indent: float = 0) -> Any:
    styles = load_extra("reportlab.lib.styles", "samples", "writing .pdf files")
    return styles.ParagraphStyle(
        "text",
        fontName=_FONT,
        fontSize=size,
        leading=size * 1.5,
        leftIndent=indent,
        spaceAfter=size / 2,
        wordWrap="CJK",
    )
