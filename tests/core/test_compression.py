from __future__ import annotations

import pytest

from tulou.core.compression import left_out, parse, plans
from tulou.core.errors import SettingsError
from tulou.core.settings import parse_settings


def names(*methods: str) -> list[str]:
    return [plan.name for plan in plans(methods, "classify")]


def test_the_baseline_comes_first_and_each_candidate_once() -> None:
    assert names() == ["fp32"]
    assert names("int8", "int8", "prune@0.4+int8") == ["fp32", "int8", "prune@0.4+int8"]


def test_a_method_without_its_amount_is_tried_at_every_usual_one() -> None:
    assert names("prune+int8") == ["fp32", "prune@0.5+int8", "prune@0.33+int8"]
    assert names("trim+distill+prune") == [
        "fp32",
        "trim@0.25+distill@0.5+prune@0.5",
        "trim@0.25+distill@0.5+prune@0.33",
    ]


def test_each_task_gets_the_methods_that_are_for_it() -> None:
    methods = ("int8", "int4", "prune+int8")
    assert [plan.name for plan in plans(methods, "chat")] == ["fp32", "int8", "int4@64"]
    assert left_out(methods, "chat") == [{"precision": "prune+int8", "reason": "prune is for classifiers only"}]
    assert left_out(methods, "classify") == [{"precision": "int4", "reason": "int4 is for chat models only"}]


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ("int9", "unknown method 'int9' in 'int9'; choose from trim, distill"),
        ("int8+prune", "a precision .* comes last"),
        ("int8+bf16", "a precision .* comes last"),
        ("prune+prune@0.3", "names 'prune' twice"),
        ("prune@1.5", "a number between 0 and 1"),
        ("prune@half", "a number between 0 and 1"),
        ("int8@4", "'int8' in 'int8@4' takes no amount"),
        ("int4@50", "groups of 16, 32, 64, 128 or 256"),
        ("", "unknown method ''"),
    ],
)
def test_a_wrong_method_is_one_sentence_that_names_it(method: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse(method)
    with pytest.raises(SettingsError, match=rf"model\.compress\.methods: .*{sentence}"):
        parse_settings({"model": {"compress": {"methods": [method]}}})
