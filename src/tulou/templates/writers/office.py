"""Office formats: Word, PowerPoint and Excel.

The three libraries stamp the current time into the file, inside and on each member of the zip; `_restamp` packs it
again with a fixed one, so that the same blocks give the same bytes.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

from tulou.core.extras import load_extra
from tulou.templates.markup import Block, Heading, Listing, Paragraph, Table, title

_ZIP_TIME = (2026, 9, 1, 9, 0, 0)
_XML_TIME = b"2026-09-01T09:00:00Z"
_STAMP = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*(<)")
_LAYOUT_TITLE_AND_BODY = 1  # of the default PowerPoint template


def write_docx(blocks: list[Block], path: Path) -> None:
    document = load_extra("docx", "samples", "writing .docx files").Document()
    document.core_properties.title = title(blocks)
    for block in blocks:
        match block:
            case Heading(level, text):
                document.add_heading(text, level - 1)  # level 0 is Word's title
            case Paragraph(text):
                document.add_paragraph(text)
            case Listing(items, is_ordered):
                for item in items:
                    document.add_paragraph(item, style="List Number" if is_ordered else "List Bullet")
            case Table(header, rows):
                _fill(document.add_table(len(rows) + 1, len(header), style="Table Grid"), header, rows)
    _save(document, path)


def write_pptx(blocks: list[Block], path: Path) -> None:
    """One slide for each heading, with what follows it as its body."""
    presentation = load_extra("pptx", "samples", "writing .pptx files").Presentation()
    presentation.core_properties.title = title(blocks)
    units = load_extra("pptx.util", "samples", "writing .pptx files")
    slide: Any = None
    for block in blocks:
        match block:
            case Heading(_, text):
                slide = presentation.slides.add_slide(presentation.slide_layouts[_LAYOUT_TITLE_AND_BODY])
                slide.shapes.title.text = text
            case Paragraph(text):
                _say(slide, [text])
            case Listing(items, _):
                _say(slide, items)
            case Table(header, rows):
                box = (units.Cm(1.5), units.Cm(9), units.Cm(22), units.Cm(1.2) * (len(rows) + 1))
                _fill(slide.shapes.add_table(len(rows) + 1, len(header), *box).table, header, rows)
    _save(presentation, path)


def write_xlsx(blocks: list[Block], path: Path) -> None:
    """One sheet for each table, named after the heading above it."""
    styles = load_extra("openpyxl.styles", "samples", "writing .xlsx files")
    workbook = load_extra("openpyxl", "samples", "writing .xlsx files").Workbook()
    workbook.remove(workbook.active)
    workbook.properties.title = title(blocks)
    name = title(blocks)
    for block in blocks:
        match block:
            case Heading(_, text):
                name = text
            case Table(header, rows):
                sheet = workbook.create_sheet(name[:31])  # Excel's limit
                for row in (header, *rows):
                    sheet.append([int(cell) if cell.isdecimal() else cell for cell in row])
                for cell in sheet[1]:
                    cell.font = styles.Font(bold=True)
    _save(workbook, path)


def _fill(table: Any, header: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> None:
    for y, row in enumerate((header, *rows)):
        for x, cell in enumerate(row):
            table.cell(y, x).text = cell


def _say(slide: Any, lines: list[str] | tuple[str, ...]) -> None:
    frame = slide.placeholders[1].text_frame
    for line in lines:
        paragraph = frame.add_paragraph() if frame.text else frame.paragraphs[0]
        paragraph.text = line


def _save(document: Any, path: Path) -> None:
    packed = io.BytesIO()
    document.save(packed)
    path.write_bytes(_restamp(packed))


def _restamp(packed: io.BytesIO) -> bytes:
    restamped = io.BytesIO()
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(restamped, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            member = old.read(name)
            if name == "docProps/core.xml":
                member = _STAMP.sub(rb"\g<1>" + _XML_TIME + rb"\g<2>", member)
            new.writestr(zipfile.ZipInfo(name, _ZIP_TIME), member, zipfile.ZIP_DEFLATED)
    return restamped.getvalue()
