"""The scorer, on outputs made by hand: a perfect one scores 1, and each kind of failure lowers its own figure."""

from __future__ import annotations

from typing import Any

import pytest

from tulou.bench.likeness import jaccard, shingles
from tulou.bench.scoring import Result, changes, is_hidden, reads_as, score

A = (
    "The clerk inspected ninety units of the folding lamp in the old warehouse before noon and wrote a long report "
    "about every loose spring, each worn seal and all the other parts somebody ought to replace when money comes in."
)
NEAR = A.replace("ninety", "eighty")
FAR = "The clerk sold ninety units of a folding chair in the new workshop before dusk and wrote a short report."
PHONE = "13812345678"
MASKS = {"phone": "[phone]", "bank_card": "[bank_card]"}


def _row(number: int, kind: str, **more: Any) -> dict[str, Any]:
    blank = {"language": "en", "detail": "", "of": 0, "jaccard": 0.0, "expected": None, "values": []}
    return {"row": number, "id": f"d{number}", "kind": kind, **blank, **more}


def _value(kind: str, text: str, is_real: bool = True) -> dict[str, Any]:
    return {"kind": kind, "text": text, "is_real": is_real}


RAW = [
    A,
    NEAR,
    FAR,
    "手机13812345678，谢谢",
    "订单号20138123456789已发货。",
    "å®‰å…¨",
    "???!!!",
    "please wirte to us soon",
    A,
    "a quiet line that nobody else wrote, about nothing at all",
]
TRUTH = [
    _row(1, "clean"),
    _row(2, "near_duplicate", of=1, jaccard=jaccard(shingles(A, "en"), shingles(NEAR, "en"))),
    _row(3, "near_duplicate", of=1, jaccard=jaccard(shingles(A, "en"), shingles(FAR, "en"))),
    _row(4, "sensitive", detail="phone", values=[_value("phone", PHONE)], language="zh"),
    _row(5, "lookalike", detail="phone", values=[_value("phone", "20138123456789", is_real=False)], language="zh"),
    _row(6, "mojibake", detail="utf8_as_cp1252", expected="安全", language="zh"),
    _row(7, "junk", detail="symbols"),
    _row(8, "typo", detail="write", expected="please write to us soon", values=[_value("typo", "wirte")]),
    _row(9, "exact_duplicate", of=1, jaccard=1.0, detail="same"),
    _row(10, "clean"),
]
PERFECT = {
    1: A,
    3: FAR,
    4: "手机[phone]，谢谢",
    5: RAW[4],
    6: "安全",
    8: "please write to us soon",
    10: RAW[9],
}


def _scored(texts: dict[int, str], **more: Any) -> dict[str, Any]:
    return score(TRUTH, RAW, Result(texts, MASKS, **more))


def test_the_similarities_are_on_both_sides_of_the_limit() -> None:
    assert TRUTH[1]["jaccard"] >= 0.8
    assert TRUTH[2]["jaccard"] < 0.4


def test_a_perfect_output_scores_one_everywhere() -> None:
    found = _scored(PERFECT, spelled={8: (RAW[7], PERFECT[8])})
    assert found["near_duplicates"]["recall"] == 1
    assert found["exact_duplicates"]["same"]["recall"] == 1
    assert found["sensitive"]["phone"]["recall"] == found["sensitive"]["phone"]["precision"] == 1
    assert found["sensitive"]["phone"]["lookalikes_hidden"] == 0
    assert found["repaired"]["mojibake"]["share"] == 1
    assert found["junk"]["symbols"]["dropped"] == 1
    assert found["spelling"] == {"planted": 1, "changed": 1, "right": 1, "precision": 1, "recall": 1}
    assert found["misses"] == {}


def test_copies_that_both_survive_are_not_found() -> None:
    found = _scored({**PERFECT, 2: NEAR, 9: A})
    assert found["near_duplicates"]["recall"] == 0
    assert found["exact_duplicates"]["same"]["recall"] == 0


def test_either_copy_may_be_the_one_that_stays() -> None:
    texts = {**PERFECT, 9: A}
    del texts[1]
    found = _scored(texts)
    assert found["exact_duplicates"]["same"]["recall"] == 1
    assert found["lost"]["gone"] == 0


def test_a_merged_stranger_and_a_lost_document_are_told_apart() -> None:
    texts = {row: text for row, text in PERFECT.items() if row not in (3, 10)}
    found = _scored(texts, lost_to={3: "near_duplicate.near_copy", 10: "quality.too_short"})["lost"]
    assert (found["gone"], found["merged"], found["merged_far"]) == (2, 1, 1)
    assert found["reasons"] == {"near_duplicate.near_copy": 1, "quality.too_short": 1}


@pytest.mark.parametrize(
    "left", [RAW[3], "手机138-1234-5678，谢谢", "手机１３８１２３４５６７８", "手机[phone]45678 138123"]
)
def test_a_value_that_can_be_read_in_any_spelling_is_left(left: str) -> None:
    found = _scored({**PERFECT, 4: left})
    assert found["sensitive"]["phone"]["recall"] == 0


def test_a_masked_lookalike_costs_precision() -> None:
    found = _scored({**PERFECT, 5: "订单号[phone]已发货。"})["sensitive"]["phone"]
    assert found["precision"] == 0.5
    assert found["lookalikes_hidden"] == 1


def test_a_mask_in_a_clean_text_costs_precision_and_is_shown() -> None:
    found = _scored({**PERFECT, 10: "a quiet line that [bank_card] wrote, and [phone] too"})
    assert found["sensitive"]["phone"]["precision"] == 0.5
    assert found["misses"]["sensitive bank_card seen in vain"][0]["row"] == 10


def test_a_value_masked_as_another_kind_is_hidden_but_not_right() -> None:
    found = _scored({**PERFECT, 4: "手机[bank_card]，谢谢"})["sensitive"]["phone"]
    assert found["recall"] == 1
    assert found["precision"] is None  # no mask of the right kind anywhere


def test_half_repaired_is_not_repaired() -> None:
    found = _scored({**PERFECT, 6: "安å…¨"})
    assert found["repaired"]["mojibake"]["share"] == 0
    assert found["misses"]["mojibake utf8_as_cp1252"][0]["expected"] == "安全"


def test_junk_that_stays_is_counted() -> None:
    assert _scored({**PERFECT, 7: "???!!!"})["junk"]["symbols"]["dropped"] == 0


def test_a_wrong_correction_costs_precision() -> None:
    spelled = {8: (RAW[7], "please write to as soon"), 10: ("a quiet line", "a quite line")}
    scored = _scored({**PERFECT, 8: "please write to as soon"}, spelled=spelled)
    assert [case["row"] for case in scored["misses"]["spelling changed in vain"]] == [10]
    found = scored["spelling"]
    assert (found["changed"], found["right"], found["recall"]) == (3, 1, 1)
    assert found["precision"] == pytest.approx(1 / 3)


def test_a_cleaner_that_keeps_nothing_loses_everything() -> None:
    found = _scored({})
    assert found["kept"] == 0
    assert found["lost"]["share"] == 1
    assert found["sensitive"] == {}


def test_letters_must_be_the_very_same_and_punctuation_may_vary() -> None:
    assert reads_as("It’s fine, 安全。\n", "It's fine，安全 。")
    assert not reads_as("Ｉt's", "It's")
    assert not reads_as("安金", "安全")


def test_short_values_are_hidden_only_if_gone_whole() -> None:
    assert is_hidden("王伟", "请转告[person]先生")
    assert not is_hidden("王伟", "请转告王伟先生")


def test_changes_are_words_in_english_and_characters_in_chinese() -> None:
    assert changes("please wirte soon", "please write soon") == [("wirte", "write")]
    assert changes("请按装好", "请安装好") == [("按", "安")]
    assert changes("same", "same") == []


def test_word_cut_at_the_end_of_an_excerpt_is_no_change() -> None:
    assert changes("it tuurned, becau", "it turned, becaus") == [("tuurned", "turned")]
    assert changes("all is wel", "all is well") == [("wel", "well")]
