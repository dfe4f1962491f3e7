"""A rule changes nothing in a text without the traits that it waits for, so it need not be asked."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.test_kernels import TEXTS

from tulou.core.settings import CLEAN_STEPS, QUALITY_RULES, SENSITIVE_KINDS, CleanSettings
from tulou.core.tables import DOCUMENT
from tulou.data.clean import quality
from tulou.data.clean.characters import collapse_space, fold_characters
from tulou.data.clean.encoding import repair
from tulou.data.clean.markup import strip_markup
from tulou.data.clean.record import Rewrite, part_of, put_back, with_survey
from tulou.data.clean.rules import WAITS_FOR, build_rules
from tulou.data.clean.sensitive.guard import built_in
from tulou.data.clean.sensitive.narrow import narrow
from tulou.data.kernels.survey import Trait, survey_one


def check(name: str, rewrite: Rewrite, text: str) -> None:
    traits, _ = survey_one(text)
    if not traits & WAITS_FOR[name]:
        assert rewrite(text) == (text, [])


@settings(max_examples=1000, deadline=None)
@given(TEXTS)
def test_texts_without_the_traits_are_left_alone(text: str) -> None:
    for name, rewrite in (
        ("encoding", repair),
        ("markup", strip_markup),
        ("characters", fold_characters),
        ("space", collapse_space),
    ):
        check(name, rewrite, text)


def test_no_single_character_is_folded_without_its_trait() -> None:
    waited = WAITS_FOR["characters"]
    for code in range(0x20000):
        if not 0xD800 <= code < 0xE000:
            for text in (chr(code), f"a{chr(code)}", f"中{chr(code)}b"):
                if fold_characters(text) != (text, []):
                    assert survey_one(text)[0] & waited, hex(code)


_NUMERIC = st.sampled_from(
    [*"0123456789" * 3, *"０９.．:：-–()@ ,abABＡＢ京粤Dé\u200b", "GB82", "138", "粤B", "::", "fe80", "SSN "]
)


@settings(max_examples=2000, deadline=None)
@given(st.lists(_NUMERIC, max_size=30).map("".join))
def test_numbers_are_only_found_in_texts_with_the_shapes_that_are_waited_for(text: str) -> None:
    traits = Trait(survey_one(text)[0])
    for recogniser in built_in(frozenset(SENSITIVE_KINDS) - {"person", "address"}):
        if not any(Trait[name] & traits for name in recogniser.needs):
            assert list(recogniser.find(narrow(text).text)) == []


_DIRTY = [
    "<b>it&amp;s</b>  ",
    "ＡＢ１２",
    "a\u200bb",
    "ä½\xa0å¥½ä¸\x96ç\x95\x8c",
    "",
    "  \n\n\n",
    "plain text",
    "中文。 中文",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(_DIRTY) | TEXTS, st.sampled_from(_DIRTY)), max_size=8))
def test_rows_that_no_mending_step_may_touch_are_spared_without_a_difference(rows: list[tuple[str, str]]) -> None:
    rules = build_rules(CleanSettings(traditional="simplify"), Path(), is_labelled=False)
    same = dict.fromkeys(DOCUMENT.names, "")
    documents = [{**same, "id": str(number), "text": text, "title": title} for number, (text, title) in enumerate(rows)]
    whole = with_survey(pa.RecordBatch.from_pylist(documents, schema=DOCUMENT))
    touched = rules.to_mend(whole)
    part = part_of(whole, touched)
    wanted, decided = whole, []
    for _, step in rules.mending:
        wanted, decisions = step(wanted)
        part, of_part = step(part)
        assert of_part == decisions
        decided += decisions
    assert put_back(whole, touched, part).equals(wanted)
    assert {int(decision.record_id) for decision in decided} <= set(touched.tolist())


def test_every_step_and_quality_rule_can_be_switched_off_by_its_name(tmp_path: Path) -> None:
    everything = CleanSettings(
        traditional="simplify", spelling="correct", sensitive={"phone": "drop"}, forbidden_words="words.txt"
    )
    (tmp_path / "words.txt").write_text("casino\n")
    rules = build_rules(everything, tmp_path, is_labelled=True, speller=lambda text: (text, []))
    assert {name.partition(" ")[0] for name, _ in rules.steps} == set(CLEAN_STEPS[:-2])
    assert tuple(quality.QUALITY_RULES) == QUALITY_RULES
    none = build_rules(everything.model_copy(update={"off": CLEAN_STEPS}), tmp_path, is_labelled=True)
    assert none.steps == []
