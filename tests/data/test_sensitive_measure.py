"""Recall and precision of every kind, on sentences that the rules were not made from."""

from __future__ import annotations

import pytest
from tests.data import sensitive_held_out as held_out
from tests.data.sensitive_samples import CARRIERS, LOOK_ALIKES, look_alikes, positives

from tulou.core.settings import SENSITIVE_KINDS
from tulou.data.clean.sensitive import find_sensitive

COUNT = 300
SEED = 20
# How much of a name or an address is one is a matter of taste, so these may take a little more than was planted.
SLACK_CHARS = {"person": 4, "address": 4}


def test_every_kind_is_measured() -> None:
    assert set(held_out.CARRIERS) == set(held_out.LOOK_ALIKES) == set(SENSITIVE_KINDS)


def test_no_held_out_sentence_was_at_hand_while_the_rules_were_made() -> None:
    for kind in SENSITIVE_KINDS:
        for language in ("zh", "en"):
            assert not set(CARRIERS[kind][language]) & set(held_out.CARRIERS[kind][language])


@pytest.mark.parametrize("kind", SENSITIVE_KINDS)
def test_values_are_found_and_look_alikes_left_in_sentences_never_seen(kind: str) -> None:
    found = wrong = 0
    for sample in positives(kind, COUNT, SEED, held_out.CARRIERS):
        for start, end, what in find_sensitive(sample.text):
            if what != kind:
                continue
            surplus = (end - start) - (sample.end - sample.start)
            if start <= sample.start and end >= sample.end and surplus <= SLACK_CHARS.get(kind, 0):
                found += 1
            else:
                wrong += 1
    for text in look_alikes(kind, COUNT, SEED, held_out.LOOK_ALIKES):
        wrong += sum(what == kind for _, _, what in find_sensitive(text))
    assert found / COUNT >= 0.99
    assert found / (found + wrong) >= 0.98


@pytest.mark.parametrize("kind", SENSITIVE_KINDS)
def test_rules_fit_the_sentences_they_were_made_from(kind: str) -> None:
    for sample in positives(kind, COUNT, SEED, CARRIERS):
        places = [place for *place, what in find_sensitive(sample.text) if what == kind]
        assert [[sample.start, sample.end]] == places or (kind in SLACK_CHARS and len(places) == 1), sample.text
    for text in look_alikes(kind, COUNT, SEED, LOOK_ALIKES):
        assert kind not in {what for _, _, what in find_sensitive(text)}, text
