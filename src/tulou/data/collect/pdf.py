"""PDF to Markdown from where the words stand and how large they are, by PDFium.

A PDF has no structure, only placed text. Lines larger than the body text are headings, ranked by size; lines whose
pieces stand in the same columns are a table; a line that ends well before the margin ends on purpose, any other flows
into the next. What stands at the top or bottom of most pages is left out. A page without text is a scan and is read by
OCR. It is content order that is followed, which is right for all but unusual layouts.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from tulou.core.errors import DataError
from tulou.data.collect.piece import MAX_PIECE_CHARS, Piece, file_title, split_long

_MAX_PAGES = 2000
_MAX_SCANNED_PAGES = 50  # 1-2 s each
_SCAN_DPI = 200
_HEADING_SCALE = 1.12  # of the body size
_HEADING_CHARS = 90
_LEVELS = 4
_CELL_GAP = 1.2  # in units of the font size; words stand closer, columns farther apart
_COLUMN_SLACK = 2.0  # in units of the font size, between the left edges of one column's cells
_FLOW_SHARE = 0.85  # a line reaching this far to the margin flows into the next
_PARAGRAPH_GAP = 0.9  # in units of the font size, between the bottom of one line and the top of the next
_PAGE_NUMBER = re.compile(r"\W*(?:page|p\.|第)?\s*\d+\s*页?\W*(?:(?:of|共)?\s*\d+\s*页?)?\W*", re.IGNORECASE)
_BULLET = re.compile(r"[•·●○▪■◆–—*-]\s+|\(?\d{1,2}[.、)]\s*")
_BULLET_SIGN = re.compile(r"[•·●○▪■◆]\s*")


@dataclass(frozen=True)
class Span:
    """A run of text on the page, in points from the bottom left."""

    left: float
    bottom: float
    right: float
    top: float
    size: float
    text: str


@dataclass(frozen=True)
class Line:
    page: int
    spans: tuple[Span, ...]  # apart from each other: one for running text, several for the cells of a row

    @property
    def text(self) -> str:
        return " ".join(span.text for span in self.spans)

    @property
    def size(self) -> float:
        return max(self.spans, key=lambda span: len(span.text)).size

    @property
    def top(self) -> float:
        return max(span.top for span in self.spans)

    @property
    def bottom(self) -> float:
        return min(span.bottom for span in self.spans)

    @property
    def left(self) -> float:
        return self.spans[0].left

    @property
    def right(self) -> float:
        return self.spans[-1].right


@dataclass(frozen=True)
class Block:
    """A heading, table or paragraph as Markdown; pages count from 0."""

    page: int
    last_page: int
    text: str


def read_pdf(path: Path) -> list[Piece]:
    """The document as Markdown. Raises `DataError` where it is damaged, locked, or has nothing to read."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as err:
        is_locked = "password" in str(err).casefold()
        raise DataError("is locked with a password" if is_locked else "is damaged, or no PDF at all") from err
    with document:
        if len(document) > _MAX_PAGES:
            raise DataError(f"has {len(document):,} pages; at most {_MAX_PAGES:,} are read, so split it")
        lines = [line for number, page in enumerate(document) for line in _page_lines(page, number)]
        blocks = _blocks(_without_running_titles(lines, len(document))) if lines else _scanned(document)
    heading = next((found for block in blocks if (found := re.search(r"^#+ (.+)$", block.text, re.MULTILINE))), None)
    return _pieces(blocks, heading[1] if heading else file_title(path))


def _pieces(blocks: list[Block], title: str) -> list[Piece]:
    """Blocks together as far as they fit, each piece with the pages it is from."""
    groups: list[list[Block]] = []
    chars = 0
    for block in blocks:
        chars += len(block.text) + 2
        if not groups or chars > MAX_PIECE_CHARS:
            groups.append([])
            chars = len(block.text)
        groups[-1].append(block)
    pieces = []
    for group in groups:
        first, last = group[0].page + 1, group[-1].last_page + 1
        position = f"page={first}" if first == last else f"page={first}-{last}"
        text = "\n\n".join(block.text for block in group)
        pieces += [part._replace(position=position) for part in split_long(title, text)]
    return _apart(pieces)


def _apart(pieces: list[Piece]) -> list[Piece]:
    """Two pieces of one page get numbers, or they would be one document."""
    count = Counter(piece.position for piece in pieces)
    seen: Counter[str] = Counter()
    apart = []
    for piece in pieces:
        seen[piece.position] += 1
        number = f",part={seen[piece.position]}" if count[piece.position] > 1 else ""
        apart.append(piece._replace(position=piece.position + number))
    return apart


def _page_lines(page: Any, number: int) -> Iterator[Line]:
    words = page.get_textpage()
    spans = [span for span in (_span(words, i) for i in range(words.count_rects())) if span.text.strip()]
    row: list[Span] = []
    for span in spans:
        if row and not _on_one_line(row[-1], span):
            yield Line(number, _joined(row))
            row = []
        row.append(span)
    if row:
        yield Line(number, _joined(row))


def _span(words: Any, index: int) -> Span:
    from pypdfium2 import raw

    left, bottom, right, top = words.get_rect(index)
    text = words.get_text_bounded(left, bottom, right, top)
    char = words.get_index((left + right) / 2, (bottom + top) / 2, (right - left) / 2 + 1, top - bottom + 1)
    size = raw.FPDFText_GetFontSize(words, char) if char is not None and char >= 0 else 0.0
    return Span(left, bottom, right, top, size or top - bottom, " ".join(text.split()))


def _on_one_line(a: Span, b: Span) -> bool:
    overlap = min(a.top, b.top) - max(a.bottom, b.bottom)
    return overlap > 0.5 * min(a.top - a.bottom, b.top - b.bottom)


def _joined(row: list[Span]) -> tuple[Span, ...]:
    """Spans from left to right, those that only a change of font keeps apart made one."""
    joined: list[Span] = []
    for span in sorted(row, key=lambda span: span.left):
        last = joined[-1] if joined else None
        if last is None or span.left - last.right > _CELL_GAP * max(span.size, last.size):
            joined.append(span)
            continue
        glue = " " if span.left - last.right > 0.2 * span.size and last.text[-1:].isascii() else ""
        size = max(last, span, key=lambda part: len(part.text)).size
        edges = (last.left, min(last.bottom, span.bottom), max(last.right, span.right), max(last.top, span.top))
        joined[-1] = Span(*edges, size, last.text + glue + span.text)
    return tuple(joined)


def _without_running_titles(lines: list[Line], pages: int) -> list[Line]:
    """Without the lines that stand first or last on most pages, such as a firm's name or the page number."""
    if pages < 3:
        return lines
    edges: Counter[str] = Counter()
    for _, group in groupby(lines, key=lambda line: line.page):
        of_page = list(group)
        edges.update({_shape(of_page[0]), _shape(of_page[-1])})
    running = {shape for shape, count in edges.items() if count > pages / 2}
    return [line for line in lines if _shape(line) not in running]


def _shape(line: Line) -> str:
    return "page number" if _PAGE_NUMBER.fullmatch(line.text) else line.text


def _blocks(lines: list[Line]) -> list[Block]:
    """Headings, tables and paragraphs as Markdown, in order."""
    if not lines:
        return []
    body = statistics.mode(round(line.size, 1) for line in lines for _ in range(len(line.text)))
    sizes = sorted({round(line.size, 1) for line in lines if _is_heading(line, body)}, reverse=True)
    margin = max(line.right for line in lines)
    blocks: list[Block] = []
    i = 0
    while i < len(lines):
        length = _table_length(lines[i:])
        if length:
            text = _table(lines[i : i + length])
        elif _is_heading(lines[i], body):
            level = min(sizes.index(round(lines[i].size, 1)) + 1, _LEVELS)
            text = f"{'#' * level} {lines[i].text}"
            length = 1
        else:
            length = _paragraph_length(lines[i:], body, margin)
            text = _paragraph(lines[i : i + length], margin)
        blocks.append(Block(lines[i].page, lines[i + length - 1].page, text))
        i += length
    return blocks


def _is_heading(line: Line, body: float) -> bool:
    return line.size > body * _HEADING_SCALE and len(line.text) <= _HEADING_CHARS and len(line.spans) == 1


def _table_length(lines: list[Line]) -> int:
    """How many lines from the first on have their cells in the same columns; 0 unless two or more."""
    columns = [span.left for span in lines[0].spans]
    if len(columns) < 2:
        return 0
    slack = _COLUMN_SLACK * lines[0].size
    count = 0
    for line in lines:
        cells = [span.left for span in line.spans]
        fits = all(min(abs(cell - column) for column in columns) <= slack for cell in cells)
        if not fits or len(cells) < 2:
            break
        count += 1
    return count if count >= 2 else 0


def _table(lines: list[Line]) -> str:
    columns = [span.left for span in max(lines, key=lambda line: len(line.spans)).spans]
    rows = []
    for line in lines:
        cells = [""] * len(columns)
        for span in line.spans:
            place = min(range(len(columns)), key=lambda i: abs(columns[i] - span.left))
            cells[place] = f"{cells[place]} {span.text}".strip().replace("|", "\\|")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join([rows[0], "|" + " --- |" * len(columns), *rows[1:]])


def _paragraph_length(lines: list[Line], body: float, margin: float) -> int:
    for count in range(1, len(lines)):
        line, before = lines[count], lines[count - 1]
        is_new_page = line.page != before.page
        is_third_page = line.page - lines[0].page > 1  # no paragraph is that long, and a piece is to name its pages
        if is_new_page and (is_third_page or not _flows_on(before, lines[0].left, margin)):
            return count
        gap = before.bottom - line.top
        if _is_heading(line, body) or _table_length(lines[count:]):
            return count
        if not is_new_page and gap > _PARAGRAPH_GAP * line.size and not _BULLET.match(line.text):
            return count
    return len(lines)


def _paragraph(lines: list[Line], margin: float) -> str:
    text = _bulleted(lines[0].text)
    for before, line in pairwise(lines):
        if _BULLET.match(line.text) or not _flows_on(before, lines[0].left, margin):
            text += "\n" + _bulleted(line.text)
        else:
            is_chinese = not (before.text[-1:].isascii() and line.text[:1].isascii())
            text += ("" if is_chinese else " ") + line.text
    return text


def _flows_on(line: Line, left: float, margin: float) -> bool:
    """Whether the line is so full that the next one continues it."""
    return line.right - left > _FLOW_SHARE * (margin - left)


def _bulleted(text: str) -> str:
    return _BULLET_SIGN.sub("- ", text, count=1) if _BULLET_SIGN.match(text) else text


def _scanned(document: Any) -> list[Block]:
    from tulou.data.collect.image import recognise

    if len(document) > _MAX_SCANNED_PAGES:
        raise DataError(
            f"is a scan of {len(document)} pages; at most {_MAX_SCANNED_PAGES} are read by OCR, so split it"
        )
    texts = [recognise(page.render(scale=_SCAN_DPI / 72).to_numpy()) for page in document]
    blocks = [Block(number, number, text) for number, text in enumerate(texts) if text]
    if not blocks:
        raise DataError("has no text, and none was recognised in its pictures")
    return blocks
