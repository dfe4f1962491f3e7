"""Text files in every encoding we may meet: told apart, read line by line, binary ones refused."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.sentences import HELD_OUT_ZH, TUNING_EN, TUNING_ZH, sentences

from tulou.core.errors import DataError
from tulou.data.collect.text import detect_encoding, read_lines

CHINESE = list(dict.fromkeys(sentences(HELD_OUT_ZH, 400)))
TRADITIONAL = [
    "我們的商店每天九點開門，歡迎光臨。",
    "請問訂單什麼時候發貨？",
    "耳機壞了，可以退換嗎？",
    "客服電話一直打不通，請儘快處理。",
    "會員積分可以兌換禮品，有效期為一年。",
]
FRENCH = [
    "Où est ma commande ? Elle a été expédiée très tôt.",
    "Le café est fermé à Noël.",
    "Ça ne marche pas, déçu…",
    "Größe und Maß stimmen nicht – schöne Grüße aus Köln",
    "¿Dónde está mi pedido? El año pasado llegó rápido.",
]
ENGLISH = ["Where’s my order? It’s late – very late.", "It costs €20 or £18.", "plain words only", "“Quoted”, he said…"]


def text_file(folder: Path, data: bytes) -> Path:
    path = folder / "a.txt"
    path.write_bytes(data)
    return path


def read(folder: Path, data: bytes) -> list[str]:
    return [line.text for line in read_lines(text_file(folder, data))]


CASES = [
    *[(CHINESE, encoding) for encoding in ("utf-8", "utf-8-sig", "gb18030")],
    ([line for line in CHINESE if "😡" not in line], "gbk"),
    *[(texts, wide) for texts in (CHINESE, FRENCH, TRADITIONAL) for wide in ("utf-16", "utf-16-le", "utf-16-be")],
    *[(CHINESE, wide) for wide in ("utf-32", "utf-32-le", "utf-32-be")],
    *[(TRADITIONAL, encoding) for encoding in ("utf-8", "gbk", "big5", "cp950")],
    *[(FRENCH, encoding) for encoding in ("utf-8", "cp1252")],
    ([line.replace("…", "").replace("–", "-") for line in FRENCH], "latin-1"),
    (ENGLISH, "utf-8"),
    (ENGLISH, "cp1252"),
]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize(("lines", "encoding"), CASES)
def test_files_long_and_short_are_read_as_they_were_written(
    tmp_path: Path, lines: list[str], encoding: str, line_end: str
) -> None:
    for count in (len(lines), 1):
        wanted = lines[:count]
        assert read(tmp_path, line_end.join(wanted).encode(encoding)) == wanted


def test_single_short_sentences_are_told_apart(tmp_path: Path) -> None:
    right = wrong = 0
    for texts, encoding in ((CHINESE[:60], "gb18030"), (TRADITIONAL, "big5"), (FRENCH, "cp1252")):
        for text in texts:
            is_right = read(tmp_path, text.encode(encoding)) == [text]
            right, wrong = right + is_right, wrong + (not is_right)
    assert wrong == 0, f"{wrong} of {right + wrong} misread"


def test_gb18030_keeps_characters_of_four_bytes(tmp_path: Path) -> None:
    lines = ["客户姓名：𠮷田，emoji 👍，藏文 བོད", "请尽快处理这个订单，谢谢。"]
    assert read(tmp_path, "\n".join(lines).encode("gb18030")) == lines


@pytest.mark.parametrize(
    ("before", "encoding", "stray", "other"),
    [
        ("前面是正常的内容", "utf-8", "后面来自旧系统", "gb18030"),
        ("前面是正常的内容", "utf-8", "這一行來自臺灣的系統", "big5"),
        ("plain words and “quotes”", "utf-8", "Le café est fermé à Noël", "cp1252"),
        ("前面来自旧系统的内容", "gb18030", "后面是正常的新内容", "utf-8"),
        ("前面来自旧系统的内容", "gb18030", "這一行來自臺灣的系統", "big5"),
        ("這些內容來自臺灣的系統", "big5", "后面是正常的新内容", "utf-8"),
        ("Le café est fermé à Noël", "cp1252", "后面是正常的新内容", "utf-8"),
    ],
)
def test_a_line_in_another_encoding_is_read_in_that(
    tmp_path: Path, before: str, encoding: str, stray: str, other: str
) -> None:
    data = (before + "\n").encode(encoding) * 20 + stray.encode(other) + b"\n" + before.encode(encoding)
    assert read(tmp_path, data) == [*[before] * 20, stray, before]


@pytest.mark.parametrize(
    "data",
    [
        b"\0\1\2\3" * 50,
        zlib.compress(b"".join(text.encode() for text in CHINESE)),
        random.Random(5).randbytes(5000),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + random.Random(6).randbytes(900),
        b"\x7fELF\x02\x01\x01" + b"\0" * 90 + random.Random(7).randbytes(300),
        bytes(range(32)) * 20,
        b"\1\2\3\4\5" * 30,
        ("正常的内容，" * 40).encode() + b"\0" * 400,
    ],
    ids=["counting", "zlib", "noise", "png", "elf", "controls", "more controls", "zeros after text"],
)
def test_binary_files_are_refused_with_a_reason(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match="is not text: "):
        detect_encoding(text_file(tmp_path, data))


def test_a_stray_control_character_does_not_make_a_file_binary(tmp_path: Path) -> None:
    assert read(tmp_path, b"page one\x0c\n\x1b[31mred\x1b[0m\x01") == ["page one\x0c", "\x1b[31mred\x1b[0m\x01"]
    assert read(tmp_path, b"") == []


def test_a_sample_cut_inside_a_character_is_no_damage(tmp_path: Path) -> None:
    for encoding in ("utf-8", "gb18030", "utf-16-le"):
        line = CHINESE[0]
        count = (1 << 20) // len((line + "\n").encode(encoding)) + 3
        for shift in range(3):
            lines = ["x" * shift, *[line] * count]
            assert read(tmp_path, "\n".join(lines).encode(encoding)) == lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts")


any_lines = st.lists(st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1), min_size=1, max_size=6)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(lines=any_lines, encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_any_text_survives_in_an_encoding_that_says_its_name(folder: Path, lines: list[str], encoding: str) -> None:
    lines = [line.removeprefix("\ufeff") for line in lines]
    assert read(folder, "\n".join(lines).encode(encoding)) == lines


@settings(deadline=None)
@given(
    lines=st.lists(st.sampled_from(sentences(TUNING_ZH, 200)), min_size=1, max_size=8),
    encoding=st.sampled_from(["gbk", "gb18030", "utf-16-le", "utf-16-be", "utf-32-le"]),
)
def test_any_chinese_sentences_survive_in_older_encodings(folder: Path, lines: list[str], encoding: str) -> None:
    lines = [line.encode("gbk", "ignore").decode("gbk") for line in lines]
    assert read(folder, "\n".join(lines).encode(encoding)) == lines


@settings(deadline=None)
@given(lines=st.lists(st.sampled_from(sentences(TUNING_EN, 100)), min_size=2, max_size=8))
def test_any_english_sentences_survive_in_windows_1252(folder: Path, lines: list[str]) -> None:
    lines = [line.encode("cp1252", "ignore").decode("cp1252") for line in lines]
    assert read(folder, "\n".join(lines).encode("cp1252")) == lines


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(folder: Path, data: bytes) -> None:
    try:
        lines = read(folder, data)
    except DataError as refusal:
        assert str(refusal).startswith("is ")  # noqa: PT017
    else:
        assert len(lines) <= len(data)
