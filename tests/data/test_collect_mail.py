"""Mails and subtitles: what they say, who says it and when, in the encodings of either China."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.core.settings import SourceSettings
from tulou.data.collect import collect
from tulou.data.collect.mail import read_mail
from tulou.data.collect.subtitles import read_subtitles
from tulou.data.parquet import read_batches


def gather(project: Path, **columns: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    out = project / "out"
    summary = collect(SourceSettings(name="s", url="data/*", **columns), project, out, Silent())
    return summary, [row for batch in read_batches(out) for row in batch.to_pylist()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def letter(subject: str = "Where is my parcel?", body: str = "It has not come.") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Li Lei <Li.Lei@Example.com>"
    message["To"] = "shop@example.com, other@example.com"
    message["Subject"] = subject
    message["Date"] = "Wed, 01 Jul 2026 16:00:00 +0800"
    message.set_content(body)
    return message


def test_mail_keeps_subject_body_sender_and_date(data: Path) -> None:
    (data / "a.eml").write_bytes(letter("包裹在哪里？", "还没有收到。").as_bytes())
    _, [row] = gather(data.parent, subject_id="from")
    assert row["title"] == "包裹在哪里？"
    assert row["text"] == "# 包裹在哪里？\n\n还没有收到。"
    assert row["subject_id"] == "li.lei@example.com"
    assert row["modified_at"] == "2026-07-01T08:00:00+00:00"
    assert row["media_type"] == "message/rfc822"
    assert row["language"] == "zh"
    _, [row] = gather(data.parent)
    assert row["subject_id"] is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Subject: =?GB2312?B?zcu7u7v1zsrM4g==?=", "退换货问题"),
        (b"Subject: =?big5?B?sGi0q7Nm?=", "退換貨"),
        (b"Subject: =?utf-8?Q?=E9=80=80?=\r\n =?utf-8?Q?=E8=B4=A7?=", "退货"),
        (b"Subject: Re: =?gbk?Q?=CD=CB=BB=F5?= soon", "Re: 退货 soon"),
        (b"Subject: " + "退货问题".encode("gb18030"), "退货问题"),
        (b"Subject: " + "退货问题".encode(), "退货问题"),
        (b"Subject: =?no-such-charset?B?6YCA6LSn?=", "退货"),
        (b"Subject: =?utf-8?B?broken", "=?utf-8?B?broken"),
    ],
)
def test_headers_are_decoded_however_they_were_written(data: Path, header: bytes, expected: str) -> None:
    (data / "a.eml").write_bytes(header + b"\r\nFrom: a@b.cn\r\n\r\nbody\r\n")
    assert read_mail(data / "a.eml").subject == expected


def test_body_in_gbk_and_body_as_web_page_are_read(data: Path) -> None:
    head = b"From: a@b.cn\r\nSubject: s\r\nMIME-Version: 1.0\r\n"
    (data / "a.eml").write_bytes(
        head + b'Content-Type: text/plain; charset="gb2312"\r\n\r\n' + "什么时候退款".encode("gb18030")
    )
    page = "<html><body><p>Hello</p><table><tr><th>Item</th></tr><tr><td>Kettle</td></tr></table></body></html>"
    (data / "b.eml").write_bytes(head + b"Content-Type: text/html\r\n\r\n" + page.encode())
    _, [plain, html] = gather(data.parent)
    assert plain["text"] == "# s\n\n什么时候退款"
    assert "| Item " in html["text"]
    assert "Kettle" in html["text"]
    assert "<" not in html["text"]


def test_attachments_are_read_like_files_and_keep_the_person(data: Path) -> None:
    message = letter()
    book = openpyxl.Workbook()
    book.active.title = "P"
    book.active.append(["item", "price"])
    book.active.append(["Kettle", 199])
    book.save(data / "p.xlsx")
    message.add_attachment((data / "p.xlsx").read_bytes(), maintype="application", subtype="x", filename="价格.xlsx")
    (data / "p.xlsx").unlink()
    message.add_attachment("注意事项".encode("gb18030") * 20, maintype="text", subtype="plain", filename="../../n.txt")
    message.add_attachment(b"MZ", maintype="application", subtype="x", filename="virus.exe")
    message.add_attachment(letter("Inner", "Forwarded words."))
    (data / "a.eml").write_bytes(message.as_bytes())
    summary, rows = gather(data.parent, subject_id="from")
    by_position = {row["position"]: row for row in rows}
    assert set(by_position) == {
        "",
        "attachment=价格.xlsx,sheet=P,row=1",
        "attachment=../../n.txt",
        "attachment=5.eml",
    }
    sheet = by_position["attachment=价格.xlsx,sheet=P,row=1"]
    assert sheet["text"] == "item: Kettle\nprice: 199"
    assert "spreadsheet" in sheet["media_type"]
    assert by_position["attachment=../../n.txt"]["text"].startswith("注意事项")
    assert by_position["attachment=5.eml"]["text"] == "# Inner\n\nForwarded words."
    assert {row["subject_id"] for row in rows} == {"li.lei@example.com"}
    assert {row["modified_at"] for row in rows} == {"2026-07-01T08:00:00+00:00"}
    assert len({row["id"] for row in rows}) == len({row["content_hash"] for row in rows}) == 4
    [failure] = summary["failed"]
    assert failure["reason"] == "attachment 'virus.exe' is of a type that is not read here and was left out"


def test_mails_within_mails_end_somewhere(data: Path) -> None:
    message = letter("Innermost", "The end.")
    for depth in range(8):
        outer = letter(f"Level {depth}", "See below.")
        outer.add_attachment(message)
        message = outer
    (data / "a.eml").write_bytes(message.as_bytes())
    summary, rows = gather(data.parent)
    assert len(rows) == 4
    assert "mails deep" in summary["failed"][0]["reason"]


SRT = """1
00:00:01,000 --> 00:00:03,500
<i>Welcome to the shop.</i>

2
00:00:03,600 --> 00:00:06,000
{\\an8}We open
at nine.

3
00:01:00,000 --> 00:01:02,000
我们七天
无理由退货

4
00:01:02,100 --> 00:01:04,000
无理由退货
"""


def test_subtitles_become_stretches_with_their_seconds(data: Path) -> None:
    (data / "a.srt").write_text(SRT)
    (data / "b.srt").write_bytes(SRT.replace("\n", "\r\n").encode("gb18030"))
    (data / "c.vtt").write_text("WEBVTT\n\nNOTE a remark\n\n" + SRT.replace(",", ".").replace("00:00:", "00:"))
    _, rows = gather(data.parent)
    for uri in ("data/a.srt", "data/b.srt", "data/c.vtt"):
        own = [row for row in rows if row["uri"] == uri]
        assert [(row["position"], row["text"], row["language"]) for row in own] == [
            ("seconds=1-6", "Welcome to the shop. We open at nine.", "en"),
            ("seconds=60-64", "我们七天无理由退货", "zh"),
        ]


def test_long_subtitles_are_cut_at_half_a_minute_and_keep_ids_apart(data: Path) -> None:
    cues = [f"00:{n // 60:02}:{n % 60:02},0 --> 00:{n // 60:02}:{n % 60:02},9\nline number {n}\n" for n in range(300)]
    same = [f"00:09:00,0 --> 00:09:01,0\n{word * 600}\n" for word in "abcd"]
    (data / "a.srt").write_text("\n".join([*cues, *same]))
    _, rows = gather(data.parent)
    assert len(rows) == 10 + 4
    assert len({row["id"] for row in rows}) == len(rows)
    assert sum(row["text"].count("line number") for row in rows) == 300


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=400)
    | st.lists(
        st.sampled_from(
            [
                b"From: a@b.cn\r\n",
                b"Subject: =?gbk?B?zcu7\r\n",
                b"Content-Type: multipart/mixed; boundary=x\r\n",
                b"Content-Type: text/plain; charset=\xff\r\n",
                b"Content-Type: message/rfc822\r\n",
                b"Content-Transfer-Encoding: base64\r\n",
                b"Content-Disposition: attachment; filename*0*=gbk''%CD; filename*1=x\r\n",
                b"Content-Type: text/html; name==?x?=\r\n",
                b"Date: 99 Foo 12345\r\n",
                b"Date: Wed, 01 Jul 99999 16:00:00 +9999\r\n",
                b"From: =?\r\n",
                b"\r\n",
                b"--x\r\n",
                b"--x--\r\n",
                b"\xcd\xcb\xbb\xf5",
                b"begin 644 x\r\n",
                b"Content-Transfer-Encoding: uuencode\r\n",
            ]
        ),
        max_size=20,
    ).map(b"".join)
)
def test_any_bytes_are_a_mail_or_a_clear_refusal(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("mail") / "a.eml"
    path.write_bytes(raw)
    try:
        message = read_mail(path)
    except DataError:
        return
    for text in (message.subject, message.text, message.html, message.sender):
        text.encode("utf-8", errors="strict")
    for piece in message.pieces("name", ""):
        assert piece.text


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            [
                b"00:00:01,000 --> 00:00:02,000\n",
                b"99:99:99 --> 0:0\n",
                b"\n",
                b"words\n",
                b"<i>",
                "词\n".encode(),
                b"-->",
            ]
        ),
        max_size=20,
    ).map(b"".join)
)
def test_any_bytes_are_subtitles_or_a_clear_refusal(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("srt") / "a.srt"
    path.write_bytes(raw)
    try:
        pieces = list(read_subtitles(path))
    except DataError:
        return
    assert len({piece.position for piece in pieces}) == len(pieces)
