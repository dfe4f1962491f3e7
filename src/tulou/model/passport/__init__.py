"""The overfit passport: what a model learnt by heart, and whether its training set let it learn anything else.

The gap between training and held-out rows with its curve, memorisation of planted canaries, contamination of the
training set by the exam, diversity of the training set, and a warning with the number where one of them is out of
bounds. It costs one forward pass over some hundred rows, and a chat model's canaries 128 short ones each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tulou.core.prompt import question_in
from tulou.core.tables import CONVERSATION, LABELLED
from tulou.model.passport.canaries import (
    CANDIDATES,
    DOCUMENT,
    Canary,
    candidates,
    chat_canaries,
    exposure,
    label_canaries,
    messages,
    plant_conversations,
    plant_labels,
)
from tulou.model.passport.diversity import diversity
from tulou.model.passport.gap import curve, gap, smoothed_floor
from tulou.model.passport.losses import ChatLosses, ClassifierLosses, sample
from tulou.model.passport.overlap import overlap
from tulou.model.passport.warnings import find_ungrounded, find_warnings
from tulou.model.rows import read_rows

__all__ = [
    "chat_passport",
    "classifier_passport",
    "curve",
    "find_ungrounded",
    "plant_in_conversations",
    "plant_in_labels",
]

LABELLED_ROWS = 500  # of each kind, whose losses are measured
CONVERSATIONS = 150  # they are longer


def plant_in_labels(examples: Path, out: Path, count: int, seed: int) -> Path:
    """`examples` with `count` canaries among its training rows, at `out`; `examples` itself where none are wanted."""
    labels = {row["label"] for row in read_rows(examples, LABELLED) if row["split"] == "train"}
    return plant_labels(examples, out, label_canaries(sorted(labels), count, seed)) if count and labels else examples


def plant_in_conversations(examples: Path, out: Path, count: int, seed: int) -> Path:
    return plant_conversations(examples, out, chat_canaries(count, seed)) if count else examples


def classifier_passport(
    trained: Path,
    examples: Path,
    exam: Sequence[str],
    learnt: Mapping[str, Any],
    canaries: int,
    seed: int,
) -> dict[str, Any]:
    """The passport of the classifier in `trained`, which was trained on `examples` and `canaries` planted by `seed`.

    `learnt` is the `curve` of its training.
    """
    from tulou.model.learners import LABEL_SMOOTHING

    rows = [row for row in read_rows(examples, LABELLED) if row["document_id"] != DOCUMENT]
    train = [row for row in rows if row["split"] == "train"]
    held_out = [row for row in rows if row["split"] == "test"] or [row for row in rows if row["split"] == "validation"]
    losses_of = ClassifierLosses(trained)
    planted = label_canaries(sorted({row["label"] for row in train}), canaries, seed)

    def losses(canary: Canary, labels: Sequence[str]) -> list[float]:
        return losses_of([(canary.text, label) for label in labels]).losses

    pairs = [[(row["text"], row["label"]) for row in sample(part, LABELLED_ROWS, seed)] for part in (train, held_out)]
    return _passport(
        {**learnt, "smoothed_floor": smoothed_floor(len(losses_of.labels), LABEL_SMOOTHING)},
        gap(losses_of(pairs[0]), losses_of(pairs[1])) if all(pairs) else None,
        {**exposure(planted, lambda _: losses_of.labels, losses), "can_be_asked": False},
        {
            "exam": overlap(exam, [(row["id"], row["text"]) for row in train]),
            "held-out": overlap([row["text"] for row in held_out], [(row["id"], row["text"]) for row in train]),
        },
        diversity([row["text"] for row in train], [row["label"] for row in train], seed),
    )


def chat_passport(
    trained: Path,
    examples: Path,
    exam: Sequence[str],
    learnt: Mapping[str, Any],
    canaries: int,
    seed: int,
) -> dict[str, Any]:
    """The passport of a chat model. Questions are compared with the exam; diversity is that of the questions."""
    rows = [row for row in read_rows(examples, CONVERSATION) if row["document_id"] != DOCUMENT]
    train = [row for row in rows if row["split"] == "train"]
    held_out = [row for row in rows if row["split"] == "validation"]
    losses_of = ChatLosses(trained)

    def losses(canary: Canary, secrets: Sequence[str]) -> list[float]:
        return losses_of([messages(canary, secret) for secret in secrets]).losses

    talks = [[row["messages"] for row in sample(part, CONVERSATIONS, seed)] for part in (train, held_out)]
    asked = [(row["id"], _question(row)) for row in train]
    return _passport(
        dict(learnt),
        gap(losses_of(talks[0]), losses_of(talks[1])) if all(talks) else None,
        {
            **exposure(chat_canaries(canaries, seed), lambda canary: candidates(canary, CANDIDATES, seed), losses),
            "can_be_asked": True,
        },
        {"exam": overlap(exam, asked), "held-out": overlap([_question(row) for row in held_out], asked)},
        diversity([question for _, question in asked], (), seed),
    )


def _passport(
    learnt: dict[str, Any],
    difference: dict[str, Any] | None,
    memorised: dict[str, Any],
    contamination: dict[str, dict[str, Any]],
    variety: dict[str, Any],
) -> dict[str, Any]:
    found = {
        "curve": learnt,
        "gap": difference,
        "memorisation": memorised if memorised["planted"] else None,
        "contamination": contamination,
        "diversity": variety,
    }
    return {**found, "warnings": find_warnings(found)}


def _question(row: Mapping[str, Any]) -> str:
    asked = next(message for message in reversed(row["messages"]) if message["role"] == "user")
    return question_in(asked["content"])
