"""Characters that look the same are made the same, what cannot be seen goes, and white space is made plain."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulou.data.clean.characters import collapse_space, fold_characters

ZERO_WIDTH = "\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2064\ufeff\ufffe\xad"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("ＹＱ－１２３＠ｅｘａｍｐｌｅ．ｃｏｍ", "YQ-123@example.com"),
        ("￥２９９／￡５", "¥299/£5"),
        ("ｶﾞｲﾄﾞ", "ガイド"),
        ("𝐅𝐫𝐞𝐞 𝟙𝟘", "Free 10"),
        ("cafe\u0301 e\ufb03cient", "café efficient"),
        ("⼀⻳\uf9d1", "一龟六"),
        ("a\x00b\x9cc\u202ed\xade\U000e0041", "abcde"),
        ("zero\u200bwidth\u200d space", "zerowidth space"),
    ],
)
def test_what_looks_the_same_is_made_the_same(text: str, plain: str) -> None:
    assert fold_characters(text)[0] == plain


@pytest.mark.parametrize(
    "text",
    [
        "①②Ⅳ½m²℃№™㎡",
        "你好，（测试）：“好”；～？！…",
        "👨\u200d👩\u200d👧 👍🏽 ❤️\u200d🔥",
        "一二三",
        "naïve Å é",
        "\t\n\r",
        "￣",
    ],
)
def test_what_means_something_by_itself_stays(text: str) -> None:
    assert fold_characters(text) == (text, [])


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("　　第一段。\n　　第二段。", "第一段。\n第二段。"),
        ("\xa0\xa0hello\xa0world\u3000!", "hello world !"),
        ("- a\n  - b\n\tcode", "- a\n  - b\n\tcode"),
        ("你好 ， 世界 。 好", "你好，世界。好"),
        ("  \n\n a \n", "a"),
    ],
)
def test_white_space_is_made_plain(text: str, plain: str) -> None:
    assert collapse_space(text)[0] == plain


def is_foldable_or_invisible(text: str) -> bool:
    """The traits FOLDABLE and INVISIBLE in their own words."""
    return any(
        unicodedata.normalize("NFKC", char) != char
        or not unicodedata.is_normalized("NFC", f"a{char}")
        or unicodedata.combining(char)
        or unicodedata.category(char) == "Mc"  # some compose with the one before
        or 0x1161 <= ord(char) <= 0x11C2
        or (unicodedata.category(char) == "Cc" and char not in "\t\n\r")
        or char in ZERO_WIDTH
        or ord(char) >= 0x40000
        for char in text
    )


strange = st.text(
    "ａＡ１ｶﾞ\u0301\u3099e\u200d👩❤\ufe0f\x00\x85\u2028\r\n\t \xa0\u3000一，。(（𝐀ﬁ\ufeff\xadÅ\u212b\u1100\u1161",
    max_size=24,
)
anything = st.one_of(strange, st.text(max_size=40))


@given(anything)
def test_any_text_can_be_folded_and_only_once(text: str) -> None:
    plain, rules = fold_characters(text)
    assert (plain == text) == (rules == [])
    assert fold_characters(plain) == (plain, [])


@given(anything)
def test_text_without_the_traits_is_not_folded(text: str) -> None:
    if not is_foldable_or_invisible(text):
        assert fold_characters(text) == (text, [])


@given(anything)
def test_white_space_of_any_text_can_be_collapsed_and_only_once(text: str) -> None:
    plain, rules = collapse_space(text)
    assert (plain == text) == (rules == [])
    assert collapse_space(plain) == (plain, [])


@given(st.text(st.characters(exclude_categories=("Cc", "Zs", "Zl", "Zp", "Cs")), min_size=1, max_size=20))
def test_text_without_white_space_is_not_collapsed(text: str) -> None:
    assert collapse_space(text) == (text, [])
