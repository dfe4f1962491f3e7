from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tulou.data.kernels.fingerprint import Unit, shingle_hashes
from tulou.data.similarity import Questions

QUESTION = "Can I send the reading lamp back after I opened its box?"


def repeats(question: str, text: str) -> bool:
    return bool(Questions([question]).repeated_in(pa.array([text]))[0])


@pytest.mark.parametrize(
    "text",
    [
        QUESTION,
        "CAN I send the reading lamp back, after I opened its box",
        "can i send the reading lamp back after i opened the box",
        f"Hello there! {QUESTION} Thanks a lot, and have a nice day.",
    ],
)
def test_question_asked_again_or_within_more_words_is_found(text: str) -> None:
    assert repeats(QUESTION, text)


@pytest.mark.parametrize("text", ["", "?!", "Where is my reading lamp?", "Can I send the kettle back?"])
def test_another_question_is_not(text: str) -> None:
    assert not repeats(QUESTION, text)


def test_chinese_question_is_found_within_more_words() -> None:
    assert repeats("护眼台灯拆封以后还能退货吗", "您好，护眼台灯拆封以后还能退货吗？谢谢")
    assert not repeats("护眼台灯拆封以后还能退货吗", "护眼台灯什么时候有货？")


def test_short_question_is_not_found_in_every_text_that_contains_it() -> None:
    assert not repeats("怎么退货", "上个月买的加湿器坏了，怎么退货，运费谁出，多久能到账？")


def test_without_questions_or_texts_nothing_is_found() -> None:
    assert Questions([]).repeated_in(pa.array(["a text"])).tolist() == [False]
    assert Questions([QUESTION]).repeated_in(pa.array([], pa.string())).tolist() == []


def by_comparing_all(questions: list[str], text: str) -> bool:
    items = set(shingle_hashes(text, Unit.CHARACTERS))
    for question in questions:
        asked = set(shingle_hashes(question, Unit.CHARACTERS))
        shared = len(asked & items)
        if shared and shared >= 0.6 * len(asked | items):
            return True
        if len(asked) >= 8 and shared >= 0.85 * len(asked):
            return True
    return False


words = st.lists(st.sampled_from(["amber", "basil", "cedar", "灯", "水壶", "退货", "delta"]), max_size=8).map(" ".join)


@given(st.lists(words, max_size=6), st.lists(words, max_size=6))
@settings(max_examples=60, deadline=None)
def test_index_finds_what_comparing_with_every_question_finds(questions: list[str], texts: list[str]) -> None:
    found = Questions(questions).repeated_in(pa.array(texts, pa.string())).tolist()
    assert found == [by_comparing_all(questions, text) for text in texts]
