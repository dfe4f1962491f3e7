from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tulou.core.errors import DataError
from tulou.core.prompt import NO_ANSWER, passages_in, support_messages
from tulou.core.types import Passage
from tulou.model.evaluate import Answer, Pair, evaluate_groundedness, evaluate_retrieval, report_classifier
from tulou.model.evaluate.calibration import calibration, softmax
from tulou.model.evaluate.classifier import MAX_PICTURED_LABELS, confusion_matrix, wilson_interval

LABELS = ["refund", "delivery", "invoice"]


def row(number: int, label: str, language: str = "en") -> dict[str, Any]:
    return {"id": str(number), "document_id": f"d{number}", "text": f"{label} {number}", "label": label,
            "language": language, "split": "test"}  # fmt: skip


def says_first_word(text: str) -> NDArray[np.float32]:
    """Sure of the text's first word, except that it takes row 3 for a refund."""
    word = "refund" if text.endswith(" 3") else text.split()[0]
    return np.array([5.0 * (label == word) for label in LABELS], dtype=np.float32)


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    found = calibration(confidence, np.array([True, True, True, False]), bins=10)
    assert found["expected_calibration_error"] == pytest.approx(0.5 * 0.05 + 0.5 * 0.05)
    assert found["maximum_calibration_error"] == pytest.approx(0.05)
    assert [each["rows"] for each in found["bins"]] == [2, 2]
    assert found["overconfidence"] == pytest.approx(0.75 - 0.75)


def test_full_confidence_falls_into_the_last_bin() -> None:
    found = calibration(np.array([1.0]), np.array([False]))
    assert found["bins"][0]["to"] == 1
    assert found["expected_calibration_error"] == 1


def test_softmax_survives_large_logits() -> None:
    assert softmax(np.array([[1000.0, 1000.0]])).tolist() == [[0.5, 0.5]]


def test_a_report_tells_who_is_served_worse_and_shows_the_rows() -> None:
    rows = [row(1, "refund"), row(2, "delivery"), row(3, "invoice", "zh"), row(4, "invoice", "zh")]
    report = report_classifier(says_first_word, LABELS, rows, {"source": ["web", "web", "mail", "web"]})
    assert report["accuracy"] == 0.75
    assert report["by_segment"]["language"]["zh"] == {"rows": 2, "accuracy": 0.5, "macro_f1": pytest.approx(2 / 3)}
    assert report["by_segment"]["source"]["mail"]["accuracy"] == 0
    assert report["labels"]["invoice"]["recall"] == 0.5
    assert report["labels"]["refund"]["precision"] == 0.5
    assert report["weakest_labels"][0]["label"] in ("invoice", "refund")
    mistake = report["mistakes"][0]
    assert (mistake["label"], mistake["predicted"], mistake["count"]) == ("invoice", "refund", 1)
    assert mistake["examples"][0]["document_id"] == "d3", "the row can be followed to its record"
    assert report["confusion"]["counts"][report["confusion"]["labels"].index("invoice")] == [0, 1, 1]
    assert report["accuracy_interval"][0] < 0.75 < report["accuracy_interval"][1]


def test_nothing_to_evaluate_on_is_said() -> None:
    with pytest.raises(DataError, match="no rows"):
        report_classifier(says_first_word, LABELS, [])


def test_the_picture_of_many_labels_holds_those_that_are_mistaken() -> None:
    names = [f"label{number:03}" for number in range(MAX_PICTURED_LABELS + 20)]
    guesses = [*names[:-1], names[0]]
    matrix = confusion_matrix(names, guesses)
    assert matrix["labels_left_out"] == 20
    assert names[0] in matrix["labels"]
    assert names[-1] in matrix["labels"]


def test_the_interval_of_a_perfect_score_on_few_rows_is_wide() -> None:
    low, high = wilson_interval(10, 10)
    assert low == pytest.approx(0.722, abs=0.001)
    assert high == 1


def test_retrieval_figures_by_hand() -> None:
    ranked = {"one": ["a", "b", "c"], "two": ["x", "a", "a", "y"], "three": ["z"]}
    pairs = [
        Pair("one", frozenset({"a"})),
        Pair("two", frozenset({"a", "y"}), "zh"),
        Pair("three", frozenset({"a"}), "zh"),
        Pair("off topic", frozenset()),
    ]
    found = evaluate_retrieval(pairs, lambda question: ranked[question], ks=(1, 3))
    assert found["questions"] == 3
    assert found["hit_rate"] == {"1": pytest.approx(1 / 3), "3": pytest.approx(2 / 3)}
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    second = (1 / math.log2(3) + 1 / math.log2(4)) / (1 + 1 / math.log2(3))  # ranks 2 and 3 of two that answer
    assert found["ndcg"]["3"] == pytest.approx((1 + second + 0) / 3)
    assert found["by_language"]["zh"]["hit_rate"]["3"] == 0.5
    assert found["missed"] == ["three"]


def test_retrieval_without_documents_is_refused() -> None:
    with pytest.raises(DataError, match="names a document"):
        evaluate_retrieval([Pair("?", frozenset())], lambda _: [])


PASSAGES = (
    "[Returns] Goods may be sent back within 30 days of delivery.",
    "[退货] 签收后三十天内可以退货，运费由商店承担。",
)


def test_copied_sentences_are_grounded_and_changed_numbers_are_not() -> None:
    answers = [
        Answer("Goods may be sent back within 30 days.", PASSAGES, id="1"),
        Answer("Goods may be sent back within 90 days of delivery.", PASSAGES, id="2"),
        Answer("签收后三十天内可以退货。", PASSAGES, "zh", "3"),
        Answer("我们每周日休息。", PASSAGES, "zh", "4"),
        Answer(NO_ANSWER["en"], PASSAGES, id="5"),
    ]
    found = evaluate_groundedness(answers)
    assert (found["answers"], found["declined"], found["grounded_answers"]) == (4, 1, 2)
    assert [each["id"] for each in found["ungrounded"]] == ["2", "4"]
    assert found["grounded_answer_share"] == 0.5


def test_the_rule_that_supports_can_be_handed_in() -> None:
    found = evaluate_groundedness([Answer("Anything. Goes.", ())], lambda sentence, *_: sentence == "Goes.")
    assert found["grounded_sentence_share"] == 0.5


def test_without_answers_there_is_no_share() -> None:
    assert evaluate_groundedness([])["grounded_answer_share"] is None


@pytest.mark.parametrize("language", ["zh", "en"])
def test_passages_are_found_again_in_the_prompt(language: Any) -> None:
    shown = [
        Passage(str(n), "d", "s", "u", "", "", f"Heading {n}", f"First line {n}.\nSecond line.", language)
        for n in range(2)
    ]
    prompt = support_messages("Why?", shown, language)[-1].content
    assert passages_in(prompt) == [f"[Heading {n}] First line {n}.\nSecond line." for n in range(2)]
    assert passages_in("no form at all") == []


def test_a_chat_model_is_judged_by_language_and_on_what_it_writes(causal_folder: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tulou.core.tables import CONVERSATION
    from tulou.model.compress.chat import export_chat
    from tulou.model.evaluate import evaluate_chat, report_chat

    rows = [
        {
            "id": str(number), "document_id": f"d{number}", "language": language, "split": "validation",
            "messages": [
                {"role": "user", "content": f"Documents:\n[Returns] Thirty days after delivery.\n\nQuestion: why {number}"},  # noqa: E501
                {"role": "assistant", "content": "Thirty days after delivery."},
            ],
        }
        for number, language in enumerate(["zh", "en", "en"])
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=CONVERSATION), tmp_path / "conversations-0.parquet")
    export_chat(causal_folder, tmp_path / "served")
    report = report_chat(tmp_path / "served", tmp_path, segments=lambda row: {"document": row["document_id"]})
    short = evaluate_chat(tmp_path / "served", tmp_path)
    assert report["perplexity"] == pytest.approx(short["perplexity"])
    assert report["by_segment"]["language"]["en"]["conversations"] == 2
    assert set(report["by_segment"]["document"]) == {"d0", "d1", "d2"}
    written = report["groundedness"]
    assert written["answers"] + written["declined"] == 3
    assert len(report["hardest"]) == 3
