from __future__ import annotations

import random

import pytest

from tulou.data.similarity import MAX_SHINGLES, NearIndex, containment, jaccard, shingles


def test_case_punctuation_and_spaces_do_not_count() -> None:
    assert jaccard(shingles("Where is my parcel?"), shingles("where is MY parcel!!")) == 1.0
    assert jaccard(shingles("包裹到哪里了？"), shingles("包裹，到哪里 了")) == 1.0


def test_typo_costs_little_and_another_word_costs_much() -> None:
    text = shingles("when will the electric kettle that i ordered last week arrive")
    typo = shingles("when will the electirc kettle that i ordered last week arrive")
    other = shingles("when will the bathroom scale that i ordered last week arrive")
    assert jaccard(text, typo) > 0.7 > jaccard(text, other)


def test_empty_texts_are_alike_and_unlike_all_others() -> None:
    assert jaccard(shingles(""), shingles("!!")) == 1.0
    assert jaccard(shingles(""), shingles("words")) == 0.0
    assert containment(shingles(""), shingles("words")) == 0.0


def test_containment_is_of_the_first_in_the_second() -> None:
    question = shingles("怎么申请退货")
    assert containment(question, shingles("你好，请问怎么申请退货，谢谢")) == 1.0
    assert containment(shingles("你好，请问怎么申请退货，谢谢"), question) < 0.6


def test_jaccard_of_long_texts_is_close_to_exact_though_sets_are_cut() -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=7)) for _ in range(3000)]
    a, b = shingles(" ".join(words)), shingles(" ".join(words[:2700]))
    assert len(a) == MAX_SHINGLES
    assert jaccard(a, b) == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_index_finds_what_comparing_all_pairs_finds(threshold: float) -> None:
    rng = random.Random(1)
    texts = []
    for _ in range(60):
        words = ["".join(rng.choices("abcdefgh", k=5)) for _ in range(40)]
        for changes in (0, 1, 3, 8):
            copy = list(words)
            for place in rng.sample(range(40), changes):
                copy[place] = "changed"
            texts.append(" ".join(copy))
    sets = [shingles(text) for text in texts]
    index = NearIndex(threshold)
    found: set[tuple[int, int]] = set()
    for number, items in enumerate(sets):
        found.update((int(key), number) for key, _ in index.similar(items))
        index.add(str(number), items)
    expected = {(i, j) for j in range(len(sets)) for i in range(j) if jaccard(sets[i], sets[j]) >= threshold}
    assert found <= expected
    assert len(found) >= 0.99 * len(expected) > 0
