"""How well spelling does on sentences it has not seen, with planted typos of kinds it does not all know."""

from __future__ import annotations

import random

import pytest

from tulou.data.clean.spelling import sounds
from tulou.data.clean.spelling.measure import Language, damage, measure, write_texts


@pytest.mark.parametrize("fold", [0, 2])
def test_changed_words_are_right_and_sound_text_is_left_alone(fold: int) -> None:
    for language, scores in measure(number=800, fold=fold).items():
        damaged, sound = scores["damaged"], scores["sound"]
        assert damaged.precision >= 0.95, f"{language}: {damaged}"
        assert damaged.recall >= {"en": 0.65, "zh": 0.3}[language]
        assert sound.wrong <= sound.words / 2000


@pytest.mark.parametrize("language", ["en", "zh"])
def test_parts_share_no_sentence_and_follow_from_the_seed(language: Language) -> None:
    parts = {part: write_texts(language, part, 50, 3) for part in ("learn", "tune", "held_out")}
    assert parts["learn"] == write_texts(language, "learn", 50, 3)
    assert not set(parts["learn"]) & set(parts["held_out"])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_planted_typo_says_what_stood_there(language: Language) -> None:
    rng = random.Random(5)
    for text in write_texts(language, "tune", 100, 5):
        if made := damage(text, language, rng):
            hurt, typo = made
            assert hurt != text
            assert hurt[: typo.start] + typo.meant + hurt[typo.end :] == text


def test_the_table_of_sounds_is_what_pypinyin_says() -> None:
    pytest.importorskip("pypinyin")
    held = "\n".join(f"{syllable} {chars}" for syllable, chars in sounds.syllables().items())
    assert held == sounds.make_table().split("\n", 1)[1].strip()
