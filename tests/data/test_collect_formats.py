"""Each binary format through the parsing process, on files made here."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
import pytest
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Table

from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.core.settings import SourceSettings
from tulou.data.collect import collect
from tulou.data.collect.files import SourceFile
from tulou.data.collect.parser import Parser
from tulou.data.parquet import read_batches


def read(project: Path) -> list[dict[str, Any]]:
    collect(SourceSettings(name="s", url="data/*"), project, project / "out", Silent())
    return [row for batch in read_batches(project / "out") for row in batch.to_pylist()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_word_keeps_headings_and_tables(data: Path) -> None:
    document = docx.Document()
    document.add_heading("退货政策", 1)
    document.add_paragraph("签收后七天内可以退货。")
    table = document.add_table(rows=2, cols=2)
    for cell, value in zip([c for row in table.rows for c in row.cells], ["商品", "天数", "耳机", "15"], strict=True):
        cell.text = value
    document.save(str(data / "a.docx"))
    [row] = read(data.parent)
    assert row["title"] == "退货政策"
    assert "# 退货政策" in row["text"]
    assert "| 耳机 | 15 |" in row["text"]


def test_sheets_give_a_document_for_each_row_below_the_header(data: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "价格"
    for values in (["2026 年价格表"], ["商品", "价格"], ["耳机", 599], ["水壶", 199]):
        sheet.append(values)
    book.create_sheet("Fees").append(["Region", "Fee"])
    book["Fees"].append(["North", 10])
    book.save(data / "a.xlsx")
    rows = read(data.parent)
    assert [row["position"] for row in rows] == ["sheet=价格,row=1", "sheet=价格,row=2", "sheet=Fees,row=1"]
    assert rows[0]["text"] == "商品: 耳机\n价格: 599"
    assert rows[0]["title"] == "耳机"
    assert rows[2]["text"] == "Region: North\nFee: 10"


def test_slides_keep_titles(data: Path) -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Member levels"
    slide.placeholders[1].text = "Silver from 500\nGold from 2000"
    deck.save(str(data / "a.pptx"))
    [row] = read(data.parent)
    assert "## Member levels" in row["text"]
    assert "Gold from 2000" in row["text"]


def test_table_on_a_slide_keeps_its_header(data: Path) -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "运费"
    table = slide.shapes.add_table(3, 2, 0, 0, 4_000_000, 2_000_000).table
    for place, value in enumerate(["地区", "运费", "北方", "10", "南方", "12"]):
        table.cell(place // 2, place % 2).text = value
    deck.save(str(data / "a.pptx"))
    [row] = read(data.parent)
    assert markdown_rows(row["text"]) == [["地区", "运费"], ["北方", "10"], ["南方", "12"]]


def markdown_rows(text: str) -> list[list[str]]:
    """Cells of the one Markdown table in `text`, whose second line must be the rule under its header."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    assert set(lines[1]) <= set("|- :")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]


def test_long_tables_of_documents_and_pages_stay_whole_under_their_header(data: Path) -> None:
    rows = [["Item", "Price"], *([f"Kettle {n}", str(100 + n)] for n in range(120))]
    document = docx.Document()
    table = document.add_table(rows=len(rows), cols=2)
    for line, values in zip(table.rows, rows, strict=True):
        for cell, value in zip(line.cells, values, strict=True):
            cell.text = value
    document.save(str(data / "a.docx"))
    cells = "".join(f"<tr><td>{item}</td><td>{price}</td></tr>" for item, price in rows[1:])
    (data / "b.html").write_text(f"<table><thead><tr><th>Item</th><th>Price</th></tr></thead>{cells}</table>")
    SimpleDocTemplate(str(data / "c.pdf")).build([Table(rows)])
    found = read(data.parent)
    assert [row["uri"] for row in found] == ["data/a.docx", "data/b.html", "data/c.pdf"]
    for row in found:
        assert markdown_rows(row["text"]) == rows


@pytest.mark.parametrize(
    ("declared", "encoding", "text"),
    [
        ("<meta charset='gb2312'>", "gbk", "七天内可以无理由退货，水壶保修两年。"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=gbk">', "gb18030", "電子發票在訂單頁下載。"),
        ("<meta charset=big5>", "big5", "七天內可以無理由退貨，水壺保固兩年。"),
        ("<meta charset=utf-8>", "gbk", "七天内可以无理由退货，水壶保修两年。"),
        ("", "gbk", "七天内可以无理由退货，水壶保修两年。"),
        ("<meta charset=windows-1252>", "cp1252", "Die Lampe kostet 5 €, naïve café."),
        ("<meta charset=iso-8859-1>", "cp1252", "Die Lampe kostet 5 €, naïve café."),
        ("<meta charset=gb2312>", "utf-8", "其实是 UTF-8 的页面。"),
        ("<meta charset=utf-16>", "gbk", "七天内可以无理由退货，水壶保修两年。"),
        ("<meta charset=klingon>", "utf-16", "一个没有人认识的编码。"),
    ],
)
def test_web_page_is_read_in_the_encoding_it_was_written_in(
    data: Path, declared: str, encoding: str, text: str
) -> None:
    page = f"<html><head>{declared}<title>页</title></head><body><p>{text}</p></body></html>"
    (data / "a.html").write_bytes(page.encode(encoding, errors="ignore"))
    [row] = read(data.parent)
    assert row["text"] == text


def test_web_page_keeps_headings_and_tables_and_loses_scripts(data: Path) -> None:
    (data / "a.html").write_text(
        "<html><head><title>Delivery</title><script>alert(1)</script></head><body><h1>How we deliver</h1><p>Daily.</p>"
        "<table><tr><th>Region</th><th>Fee</th></tr><tr><td>North</td><td>10</td></tr></table></body></html>"
    )
    [row] = read(data.parent)
    assert row["title"] == "Delivery"
    assert row["text"].startswith("# How we deliver")
    assert "North" in row["text"]
    assert "alert" not in row["text"]


def test_pdf_keeps_headings_tables_and_flowing_paragraphs(data: Path) -> None:
    style = getSampleStyleSheet()
    sentence = "Every product carries a warranty of 24 months from the day of delivery to your door. "
    story = [
        Paragraph("Warranty", style["Title"]),
        Paragraph("How long it lasts", style["Heading2"]),
        Paragraph(sentence * 4, style["BodyText"]),
        Table([["Item", "Months"], ["Kettle", "36"], ["Lamp", "24"]]),
        Paragraph("Repairs are free.", style["BodyText"]),
    ]
    SimpleDocTemplate(str(data / "a.pdf")).build(story)
    [row] = read(data.parent)
    assert row["title"] == "Warranty"
    assert row["position"] == "page=1"
    assert "## How long it lasts" in row["text"]
    assert (sentence * 4).strip() in row["text"]
    assert "| Item | Months |\n| --- | --- |\n| Kettle | 36 |\n| Lamp | 24 |" in row["text"]
    assert row["text"].endswith("Repairs are free.")


def test_what_stands_on_every_page_of_a_pdf_is_left_out(data: Path) -> None:
    style = getSampleStyleSheet()["BodyText"]
    story: list[Any] = []
    for number in range(1, 5):
        story += [Paragraph("Yunque handbook", style), Paragraph(f"Text of chapter {number}.", style), PageBreak()]
    SimpleDocTemplate(str(data / "a.pdf")).build(story)
    [row] = read(data.parent)
    assert "handbook" not in row["text"]
    assert row["position"] == "page=1-4"
    assert "Text of chapter 3." in row["text"]


def test_very_long_pdf_is_parts_that_name_their_pages(data: Path) -> None:
    style = getSampleStyleSheet()["BodyText"]
    story: list[Any] = []
    for number in range(1, 71):
        story += [Paragraph(f"Chapter {number}. " + "It has many words. " * 180, style), PageBreak()]
    SimpleDocTemplate(str(data / "a.pdf")).build(story)
    rows = read(data.parent)
    [first, second] = [row["position"] for row in rows]
    last = int(first.removeprefix("page=1-"))
    assert 20 < last < 70
    assert second == f"page={last + 1}-70"
    assert sum(row["text"].count("Chapter") for row in rows) == 70


def _picture() -> Image.Image:
    picture = Image.new("RGB", (900, 260), "white")
    font = ImageFont.load_default(size=40)
    drawing = ImageDraw.Draw(picture)
    drawing.text((40, 40), "Closed on Monday", fill="black", font=font)
    drawing.text((40, 140), "Parcels leave on Tuesday", fill="black", font=font)
    return picture.rotate(1, fillcolor="white")


def test_text_in_a_picture_is_recognised(data: Path) -> None:
    _picture().save(data / "a.png")
    [row] = read(data.parent)
    assert row["title"] == "Closed on Monday"
    assert "Tuesday" in row["text"]


def test_scanned_pdf_is_recognised(data: Path) -> None:
    _picture().save(data / "a.pdf")
    [row] = read(data.parent)
    assert "Closed on Monday" in row["text"]


def test_picture_without_text_and_recording_without_speech_are_reported(data: Path) -> None:
    Image.new("RGB", (200, 100), "white").save(data / "a.png")
    with wave.open(str(data / "b.wav"), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(8000)
        recording.writeframes(b"")
    (data / "c.txt").write_text("something to keep")
    summary = collect(SourceSettings(name="s", url="data/*"), data.parent, data.parent / "out", Silent())
    told = {failure["uri"]: failure["reason"] for failure in summary["failed"]}
    assert "no text was recognised" in told["data/a.png"]
    assert "no speech was recognised" in told["data/b.wav"]


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng to speak")
def test_plain_speech_is_recognised(data: Path) -> None:
    sentence = "Hello. The store is closed on Monday. Please come on Tuesday."
    subprocess.run(["espeak-ng", "-v", "en-us", "-s", "110", "-w", str(data / "call.wav"), sentence], check=True)
    [row] = read(data.parent)
    assert row["position"].startswith("seconds=0-")
    found = row["text"].casefold()
    assert sum(word in found for word in ("store", "closed", "monday", "please", "tuesday")) >= 4


def _file(path: Path, media_type: str = "application/pdf") -> SourceFile:
    return SourceFile(path, path.name, media_type, path.stat().st_size, "2026-01-01T00:00:00+00:00")


def test_parser_that_takes_too_long_is_ended_and_the_next_file_is_read(data: Path) -> None:
    SimpleDocTemplate(str(data / "a.pdf")).build([Paragraph("Fine.", getSampleStyleSheet()["BodyText"])])
    parser = Parser(timeout_s=0.0)
    with pytest.raises(DataError, match="took longer than 0 s"):
        parser.parse(_file(data / "a.pdf"))
    parser.timeout_s = 60.0
    assert parser.parse(_file(data / "a.pdf"))["pieces"][0]["text"] == "Fine."
    parser.close()


def test_parser_that_crashes_is_replaced(data: Path) -> None:
    SimpleDocTemplate(str(data / "a.pdf")).build([Paragraph("Fine.", getSampleStyleSheet()["BodyText"])])
    parser = Parser()
    parser.parse(_file(data / "a.pdf"))
    assert parser._process is not None
    parser._process.kill()
    parser._process.wait()
    assert parser.parse(_file(data / "a.pdf"))["pieces"][0]["text"] == "Fine."
    parser.close()


def test_file_over_the_size_limit_is_refused_unread(data: Path) -> None:
    (data / "a.pdf").write_bytes(io.BytesIO(b"x" * 2000).getvalue())
    with pytest.raises(DataError, match="is 2,000 bytes; files of this type are read up to 1,000"):
        Parser(max_file_bytes=1000).parse(_file(data / "a.pdf"))


def test_a_quote_that_is_never_closed_is_told_and_one_that_is_may_hold_lines(data: Path) -> None:
    rows = "".join(f"item{n},fine\n" for n in range(40))
    (data / "a.csv").write_text(f'name,text\nfirst,"two\nlines, a 24"" screen"\nbad,"opened and never closed\n{rows}')
    (data / "b.csv").write_text('name,text\nfirst,"two\nlines"\nscreen,a 24" one\n')
    summary = collect(SourceSettings(name="s", url="data/*"), data.parent, data.parent / "out", Silent())
    [failure] = summary["failed"]
    assert failure["uri"] == "data/a.csv"
    assert failure["reason"] == "a quote after line 3 is never closed: 41 lines were read as one row"
    assert summary["documents"] == 4
