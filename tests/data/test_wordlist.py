"""Lists of words and expressions: what is read, what is refused, what is found."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulou.core.errors import SettingsError
from tulou.data.clean.wordlist import Entry, ExpressionFinder, WordFinder, read_wordlist


def words_file(folder: Path, content: str | bytes) -> Path:
    path = folder / "words.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_words_expressions_kinds_and_comments_are_read(tmp_path: Path) -> None:
    path = words_file(
        tmp_path, "# ours\n云雀  \n\nProject X = project\n/YQ-\\d{6}/ = order\n/a = b/\n云雀\nPROJECT x\n"
    )
    found = read_wordlist(path)
    assert found.words == (Entry("云雀", "", 2), Entry("Project X", "project", 4))
    assert found.expressions == (Entry(r"YQ-\d{6}", "order", 5), Entry("a = b", "", 6))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_a_list_may_be_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = words_file(tmp_path, "赌博网站\n内部资料 = 秘密\n".encode(encoding))
    assert [(entry.text, entry.kind) for entry in read_wordlist(path).words] == [("赌博网站", ""), ("内部资料", "秘密")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no words in it; write one word"),
        ("# only a comment\n\n", "has no words in it"),
        ("ok\n/(a/", r"line 2: the expression /\(a/ cannot be used: missing \)"),
        ("/(a)\\1/", r"line 1: .* no back references"),
        ("/(?<=a)b/", r"no look-around"),
        ("\n\n/x*/", "line 3: .* would match every text"),
        ("word = two words", "line 1: 'two words' is no kind"),
        (b"\x00\x01\x02\x00\xff\xfe\x00" * 40, "is not text"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_wordlist(words_file(tmp_path, content))


def test_a_missing_list_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the word list .*No such file"):
        read_wordlist(tmp_path / "no.txt")
    with pytest.raises(SettingsError, match=r"cannot read the word list .*directory"):
        read_wordlist(tmp_path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("我要投诉云雀公司", ["云雀"]),
        ("CASINO, casinos and Ｃａｓｉｎｏ", ["casino", "casino"]),
        ("去casino玩", ["casino"]),  # Chinese beside a Latin word is a boundary
        ("a classic asset", []),
        ("İstanbul casino", ["casino"]),  # İ is longer in lower case
        ("casino royale tonight", ["casino royale"]),  # the longest of those that begin together
        ("casino　royale", ["casino royale"]),
        ("x123 123", ["123"]),
    ],
)
def test_words_are_found_where_people_would_see_them(text: str, found: list[str]) -> None:
    finder = WordFinder(["casino", "casino royale", "ass", "云雀", "123"])
    places = list(finder.find(text))
    assert [word for _, _, word in places] == found


def test_places_are_those_of_the_text() -> None:
    text = "İİ 去Ｃasino玩"
    assert [text[start:end] for start, end, _ in WordFinder(["CASINO"]).find(text)] == ["Ｃasino"]
    assert [text[start:end] for start, end, _ in ExpressionFinder([r"c\w+o"]).find(text)] == ["Ｃasino"]


def test_expressions_know_chinese_and_escapes() -> None:
    finder = ExpressionFinder([r"工号[A-Z]\d{3}", r"[\u4e00-\u9fff]{2}银行"])
    assert [word for _, _, word in finder.find("工号ａ１２３在招商银行")] == [
        r"工号[A-Z]\d{3}",
        r"[\u4e00-\u9fff]{2}银行",
    ]


def test_no_expression_takes_long_however_it_is_written() -> None:
    started = time.perf_counter()
    assert list(ExpressionFinder([r"(a+)+$", r"(x+x+)+y", r"(.*)*b"]).find("a" * 200_000 + "c" + "x" * 100_000)) == []
    assert time.perf_counter() - started < 5


@given(
    st.lists(st.text(alphabet="abAB哈云 １", min_size=1, max_size=3), min_size=1, max_size=4),
    st.text("abAB哈云 １", max_size=30),
)
def test_found_words_are_in_the_text_in_order_and_apart(words: list[str], text: str) -> None:
    done = 0
    for start, end, word in WordFinder(words).find(text):
        assert start >= done
        assert word in words
        assert end - start == len(word)
        done = end
