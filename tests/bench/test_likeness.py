"""The reference itself, on examples worked out by hand."""

from __future__ import annotations

import pytest

from tulou.bench.likeness import jaccard, shingles


def test_english_goes_by_three_words() -> None:
    assert shingles("One two, THREE four.", "en") == {("one", "two", "three"), ("two", "three", "four")}


def test_chinese_goes_by_two_characters_and_a_number_is_one() -> None:
    assert shingles("用23元，买K8", "zh") == {("用", "23"), ("23", "元"), ("元", "买"), ("买", "k8")}


@pytest.mark.parametrize(("text", "units"), [("", {()}), ("one", {("one",)}), ("一", {("一",)})])
def test_short_texts_are_one_shingle(text: str, units: set[tuple[str, ...]]) -> None:
    assert shingles(text, "en") == units


def test_similarity_is_shared_over_all() -> None:
    assert jaccard(shingles("a b c d", "en"), shingles("a b c e", "en")) == pytest.approx(1 / 3)
    assert jaccard(shingles("a b c", "en"), shingles("a b c", "en")) == 1
    assert jaccard(set(), set()) == 1
