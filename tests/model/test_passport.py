from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.model.test_classify import WORDS, settings, write_rows

from tulou.core.progress import Silent
from tulou.core.tables import CONVERSATION, LABELLED
from tulou.model.finetune.classify import train_classifier
from tulou.model.passport import chat_passport, classifier_passport, plant_in_conversations, plant_in_labels
from tulou.model.passport.canaries import candidates, chat_canaries, exposure, label_canaries
from tulou.model.passport.diversity import balance, diversity
from tulou.model.passport.gap import curve, lower_first, smoothed_floor
from tulou.model.passport.overlap import overlap
from tulou.model.passport.warnings import find_ungrounded, find_warnings
from tulou.model.rows import read_rows


def test_exposure_is_the_rank_among_candidates_in_bits() -> None:
    canaries = chat_canaries(2, seed=1)
    known, unknown = canaries

    def losses(canary: Any, secrets: Any) -> list[float]:
        worst = len(secrets) + 1.0
        return [0.0 if canary is known and secret == known.secret else worst - i for i, secret in enumerate(secrets)]

    found = exposure(canaries, lambda canary: candidates(canary, 64, 0), losses)
    assert found["canaries"][0]["exposure_bits"] == 6
    assert found["canaries"][1]["rank"] == 64, "the planted one comes first and had the highest loss"
    assert found["canaries"][1]["exposure_bits"] == 0
    assert found["learnt_by_heart"] == 1
    assert found["expected_bits"] == pytest.approx(6 - sum(math.log2(rank) for rank in range(1, 65)) / 64), (
        "what a model that kept nothing gives on average"
    )
    assert unknown.secret != known.secret


def test_canaries_depend_on_the_seed_alone() -> None:
    assert label_canaries(["a", "b"], 5, 3) == label_canaries(["b", "a"], 5, 3)
    assert label_canaries(["a", "b"], 5, 3) != label_canaries(["a", "b"], 5, 4)


def test_planted_rows_join_the_training_split_only(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", WORDS)
    planted = plant_in_labels(rows, tmp_path / "planted", 4, seed=0)
    before, after = list(read_rows(rows, LABELLED)), list(read_rows(planted, LABELLED))
    assert after[: len(before)] == before
    assert [row["split"] for row in after[len(before) :]] == ["train"] * 4
    assert {row["label"] for row in after} == set(WORDS)
    assert plant_in_labels(rows, tmp_path / "none", 0, seed=0) == rows


def test_a_classifier_that_saw_canaries_long_enough_gives_them_away(bert_folder: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", WORDS)
    planted = plant_in_labels(rows, tmp_path / "planted", 4, seed=0)
    passports = {}
    for name, examples, epochs in (("long", planted, 30), ("unseen", rows, 6)):
        out, scratch = tmp_path / name, tmp_path / f"{name}.scratch"
        scratch.mkdir()
        facts = train_classifier(examples, out, scratch, settings(bert_folder, epochs), tmp_path, Silent())
        passports[name] = classifier_passport(out, rows, ["where is it 17"], curve(facts), 4, 0)
    long, unseen = passports["long"], passports["unseen"]
    assert long["memorisation"]["exposure_bits"] > unseen["memorisation"]["exposure_bits"]
    assert long["memorisation"]["learnt_by_heart"] >= 3
    assert not any("canaries" in warning for warning in long["warnings"]), "a classifier can be asked for nothing"
    assert 0.3 < unseen["gap"]["membership_auc"] < 0.7, "nothing tells these training rows from the others"
    assert len([point for point in long["curve"]["points"] if "validation_accuracy" in point]) == 30
    assert unseen["diversity"]["labels"]["count"] == 3


def test_a_chat_model_has_a_passport_too(causal_folder: Path, tmp_path: Path) -> None:
    rows = [
        {
            "id": str(n), "document_id": "d", "language": "en", "split": "train" if n % 2 else "validation",
            "messages": [{"role": "user", "content": f"May I return {n}?"}, {"role": "assistant", "content": "Yes."}],
        }
        for n in range(8)
    ]  # fmt: skip
    (tmp_path / "rows").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=CONVERSATION), tmp_path / "rows" / "conversations-0.parquet")
    planted = plant_in_conversations(tmp_path / "rows", tmp_path / "planted", 2, 0)
    assert len(list(read_rows(planted, CONVERSATION))) == 10
    passport = chat_passport(causal_folder, planted, ["May I return 1?"], curve({}), 2, 0)
    assert passport["contamination"]["exam"]["identical"] == 1
    assert passport["gap"]["train_rows"] == 4, "canaries are not counted among the rows"
    assert passport["memorisation"]["planted"] == 2
    assert passport["memorisation"]["most_bits"] == 7
    assert any("exam rows stand almost whole" in warning for warning in passport["warnings"])


def test_membership_is_the_share_of_pairs_in_order() -> None:
    rng = random.Random(0)
    a, b = [rng.choice([0.1, 0.2, 0.3]) for _ in range(50)], [rng.choice([0.2, 0.3, 0.4]) for _ in range(40)]
    by_pairs = sum((x < y) + (x == y) / 2 for x in a for y in b) / (len(a) * len(b))
    assert lower_first(a, b) == pytest.approx(by_pairs)
    assert lower_first([0, 0], [1, 1]) == 1


def test_overlap_finds_copies_whatever_their_spelling() -> None:
    exam = ["How long may I take to return an order?", "电子发票去哪里下载？", "Where is the shop?"]
    training = [
        ("1", "how long may I take to return an order"),
        ("2", "你好，请问电子发票去哪里下载呢"),
        ("3", "A different sentence altogether."),
    ]
    found = overlap(exam, training)
    assert (found["identical"], found["copied"], found["rows"]) == (1, 2, 3)
    assert {each["row"] for each in found["examples"]} == {"1", "2"}
    assert overlap([], training)["mean_share"] == 0


def test_templates_are_called_narrow_and_people_are_not() -> None:
    rng = random.Random(0)
    words = [f"{a}{b}" for a in ("re", "un", "de", "in") for b in ("do", "make", "sell", "load", "pay", "turn", "go")]
    varied = [" ".join(rng.choices(words, k=12)) for _ in range(600)]
    narrow = [f"Where is my order number {rng.randint(1, 99)} please?" for _ in range(600)]

    def warnings(texts: list[str], labels: list[str]) -> list[str]:
        nothing = {"questions": 0, "copied": 0}
        return find_warnings({
            "diversity": diversity(texts, labels), "gap": None, "memorisation": None, "curve": curve({}),
            "contamination": {"exam": nothing},
        })  # fmt: skip

    even = ["a", "b"] * 300
    assert warnings(varied, even) == []
    assert any("compresses to 1/" in warning for warning in warnings(narrow, even))
    uneven = warnings(varied, ["a"] * 595 + ["b"] * 5)
    assert any("labels are uneven" in warning for warning in uneven)
    assert any("'b' has 5 training rows" in warning for warning in uneven)


def test_balance_of_equal_shares_is_one() -> None:
    assert balance(["a", "b", "c"])["entropy_share"] == pytest.approx(1)
    assert balance(["a"])["entropy_share"] == 0


def test_the_curve_tells_where_the_validation_loss_turned() -> None:
    history = [
        {"step": 1, "loss": 2.0, "validation_loss": 1.5},
        {"step": 2, "loss": 1.0, "validation_loss": 1.0},
        {"step": 3, "loss": 0.2, "validation_loss": 1.3},
    ]
    found = curve({"history": history})
    assert found["best_step"] == 2
    assert found["rise_after_best"] == pytest.approx(0.3)
    assert curve({"history": history, "best_step": 3})["best_step"] == 3, "the one whose weights were kept"
    assert curve({})["points"] == []


def test_canaries_warn_where_somebody_could_ask_for_them() -> None:
    kept = {"learnt_by_heart": 2, "planted": 6, "exposure_bits": 3.0, "most_bits": 7.0}
    passport = {"diversity": diversity([], []), "gap": None, "curve": curve({}), "contamination": {}}
    assert find_warnings({**passport, "memorisation": {**kept, "can_be_asked": False}}) == []
    (said,) = find_warnings({**passport, "memorisation": {**kept, "can_be_asked": True}})
    assert said.startswith("2 of 6 canaries were learnt by heart")


def test_sentences_that_nothing_supports_are_warned_of() -> None:
    figures = {"grounded_sentence_share": 0.5, "grounded_sentences": 5, "sentences": 10}
    (said,) = find_ungrounded({"groundedness": figures})
    assert said.startswith("50% of the sentences")
    assert find_ungrounded({"groundedness": {**figures, "grounded_sentence_share": 0.7}}) == []
    assert find_ungrounded({"groundedness": {**figures, "grounded_sentence_share": None}}) == []
    assert find_ungrounded({"accuracy": 1.0}) == []


def test_label_smoothing_has_a_floor() -> None:
    torch = pytest.importorskip("torch")
    right = torch.tensor([[math.log(0.9 + 0.1 / 4), *[math.log(0.1 / 4)] * 3]])  # what the smoothed target asks for
    least = torch.nn.functional.cross_entropy(right, torch.tensor([0]), label_smoothing=0.1)
    assert smoothed_floor(4, 0.1) == pytest.approx(float(least), abs=1e-6)
