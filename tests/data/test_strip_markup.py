"""What web pages leave in text goes, whatever hides it; what only looks like it stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulou.data.clean.markup import strip_markup


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("&amp;nbsp;&amp;amp;lt;b&amp;amp;gt;好&amp;#x4f60;", "\xa0好你"),
        ("a&nbsp b&nbsp", "a\xa0 b\xa0"),
        ("&#150;&#x2019;&eacute;&yen;&middot;", "–’é¥·"),
        ("<<b>b>bold</b>", "bold"),
        ("<input disabled value=3><p  class = x>a</p ><br/><img src='a b.png' alt><A HREF=x>b</A>", "a\n\nb"),
        ("<!-- a --><!DOCTYPE html><STYLE>x</style >text<script>never closed", "textnever closed"),
        ("&lt;p&gt;段落&lt;/p&gt;", "段落"),
        ("<table><tr><td>价格</td><td>10</td></tr></table>", "价格\n\n10"),
        ("see <https://example.com/a?b=1&c=2>", "see https://example.com/a?b=1&c=2"),
    ],
)
def test_markup_goes_however_often_it_was_escaped(text: str, plain: str) -> None:
    assert strip_markup(text)[0] == plain


@pytest.mark.parametrize(
    "text",
    [
        "R&D; AT&T;",
        "x &notanentity; y",
        "a < b > c",
        "<your name>",
        "if (a<b && c>d)",
        "less than 100 if a<b and c>d.",
        "5 <6",
        "<3",
        "&#;",
        "a&b=1&nbsp=2",
        "",
    ],
)
def test_what_only_looks_like_markup_stays(text: str) -> None:
    assert strip_markup(text) == (text, [])


markup_like = st.lists(
    st.sampled_from(
        [
            "<",
            ">",
            "&",
            ";",
            "amp",
            "lt",
            "gt",
            "#38",
            "b",
            "p",
            "/",
            " ",
            "script",
            "!--",
            "-->",
            "&lt;",
            "<br>",
            "</b>",
            "好",
            "\n",
        ]
    ),
    max_size=14,
).map("".join)


@given(st.one_of(markup_like, st.text(max_size=40)))
def test_any_text_can_be_stripped_and_only_once(text: str) -> None:
    plain, rules = strip_markup(text)
    assert (plain == text) == (rules == [])
    assert strip_markup(plain) == (plain, [])


@given(st.text(st.characters(exclude_characters="<&"), max_size=60))
def test_text_without_the_traits_is_unchanged(text: str) -> None:
    assert strip_markup(text) == (text, [])


@pytest.mark.parametrize(
    "unit",
    [
        "<script>",
        "<!--",
        "<!doctype ",
        "&amp;",
        "&",
        "<",
        "<b ",
        "</",
        "&#38;",
        "<b>" * 3 + "<",
        "<https://",
        "</script ",
    ],
)
def test_hostile_markup_takes_linear_time(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    started = time.perf_counter()
    strip_markup(text)
    assert time.perf_counter() - started < 5
