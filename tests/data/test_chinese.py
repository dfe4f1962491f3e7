"""Traditional characters become simplified ones, and nothing else changes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.sentences import HELD_OUT_ZH, TUNING_ZH, sentences

from tulou.data.clean.chinese import simplify
from tulou.data.everyday import level_1


def converter(config: str) -> Any:
    from opencc import OpenCC

    return OpenCC(config)


def test_traditional_sentences_come_back_simplified() -> None:
    to_traditional = converter("s2t")
    for text in sentences(HELD_OUT_ZH, 200):
        traditional = to_traditional.convert(text)
        assert simplify(traditional) == (text, ["simplified"] if traditional != text else [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain words",
        "乾隆年间的答覆，反覆研究，著名",  # 乾 and 覆 alone are no proof of traditional writing
        "乾 喆",  # nor beside a rare character of both scripts
        "発送は東京からです",
        "锟斤拷 镕基",
    ],
)
def test_other_text_is_unchanged(text: str) -> None:
    assert simplify(text) == (text, [])


def test_a_traditional_text_gives_up_its_everyday_variants_too() -> None:
    assert simplify("餅乾の廣告，請答覆") == ("饼干の广告，请答复", ["simplified"])


def test_without_a_character_beyond_level_1_opencc_is_not_asked() -> None:
    """It would change 乾 by itself and a few hundred pairs; the guard makes the claim exact."""
    to_simplified = converter("t2s")
    changed = [char for char in sorted(level_1()) if to_simplified.convert(char) != char]
    assert changed == ["乾"]
    everyday = sorted(level_1())
    rng = random.Random(1)
    assert simplify("".join(everyday)) == ("".join(everyday), [])
    for _ in range(200):
        text = "".join(rng.choices(everyday, k=200))
        assert simplify(text) == (text, [])


traditional_text = st.lists(
    st.sampled_from([*"乾餅答覆反覆發髮后後里裡鐘鍾著喆のa，\n\0", "訂單", "皇后", "頭髮", "乾隆", "批覆"]),
    max_size=20,
).map("".join)


@given(st.one_of(traditional_text, st.text(st.characters(exclude_categories=["Cs"]), max_size=40)))
def test_any_text_can_be_simplified_and_only_once(text: str) -> None:
    simplified, rules = simplify(text)
    assert (simplified == text) == (rules == [])
    assert simplify(simplified) == (simplified, [])


@given(st.text(st.sampled_from([*sorted(level_1())[::7], *"乾答覆，a\n"]), max_size=60))
def test_text_without_the_traits_is_unchanged(text: str) -> None:
    assert simplify(text) == (text, [])


def test_simplified_sentences_are_unchanged() -> None:
    assert [text for text in sentences(TUNING_ZH, 200) if simplify(text)[1]] == []
