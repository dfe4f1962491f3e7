"""A classifier on held-out rows: how often it is right, for whom, how sure it is, and which labels it mistakes.

`evaluate_classifier` is the short form that a table of precisions needs; `report_classifier` is the long one of the
model card. Macro-F1 counts every label alike, so it falls when a rare one is missed.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tulou.core.errors import DataError
from tulou.core.tables import LABELLED
from tulou.model.evaluate.calibration import calibration, softmax
from tulou.model.rows import read_rows
from tulou.model.served import ServedEncoder

Row = Mapping[str, Any]

CONFUSIONS_SHOWN = 10
EXAMPLES_SHOWN = 3  # of each confusion
WEAK_LABELS_SHOWN = 5
MAX_PICTURED_LABELS = 40  # beyond, the matrix holds the labels that are mistaken most
INTERVAL_Z = 1.96  # 95 %


def evaluate_classifier(model: Path | Callable[[str], str], examples: Path, split: str = "test") -> dict[str, Any]:
    """Score a served folder, or any function from text to label, on the LABELLED rows of one split.

    Raises `DataError` where that split is empty.
    """
    predict = ServedEncoder(model).label if isinstance(model, Path) else model
    rows = held_out(examples, split)
    return score_labels(
        [row["label"] for row in rows], [predict(row["text"]) for row in rows], [row["language"] for row in rows]
    )


def held_out(examples: Path, split: str = "test") -> list[dict[str, Any]]:
    """The LABELLED rows of one split. Raises `DataError` where there are none."""
    rows = [row for row in read_rows(examples, LABELLED) if row["split"] == split]
    if not rows:
        raise DataError(f"{examples} has no rows of split {split!r} to evaluate on")
    return rows


def score_labels(truth: Sequence[str], guesses: Sequence[str], languages: Sequence[str]) -> dict[str, Any]:
    right = [want == got for want, got in zip(truth, guesses, strict=True)]
    by_language: dict[str, list[bool]] = defaultdict(list)
    for language, is_right in zip(languages, right, strict=True):
        by_language[language].append(is_right)
    confused = Counter((want, got) for want, got in zip(truth, guesses, strict=True) if want != got)
    return {
        "rows": len(right),
        "accuracy": sum(right) / len(right),
        "macro_f1": macro_f1(label_scores(truth, guesses)),
        "by_language": {language: sum(marks) / len(marks) for language, marks in sorted(by_language.items())},
        "confusions": [
            {"label": want, "predicted": got, "count": count}
            for (want, got), count in confused.most_common(CONFUSIONS_SHOWN)
        ],
    }


def report_classifier(
    logits_of: Callable[[str], NDArray[np.float32]],
    labels: Sequence[str],
    rows: Sequence[Row],
    segments: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Everything about a classifier on `rows` of LABELLED.

    `logits_of(text)` gives (C,) in the order of `labels`. `segments` names columns by which the figures are repeated,
    each with one value a row; the language always is one. Raises `DataError` where there are no rows.
    """
    if not rows:
        raise DataError("there are no rows to evaluate the classifier on")
    probabilities = softmax(np.stack([logits_of(row["text"]) for row in rows]).astype(np.float64))  # (N, C)
    confidence = probabilities.max(axis=1)  # (N,)
    truth = [str(row["label"]) for row in rows]
    guesses = [labels[place] for place in probabilities.argmax(axis=1)]
    right = [want == got for want, got in zip(truth, guesses, strict=True)]
    scores = label_scores(truth, guesses)
    columns = {"language": [str(row["language"]) for row in rows], **(segments or {})}
    return {
        **score_labels(truth, guesses, columns["language"]),
        "accuracy_interval": wilson_interval(sum(right), len(right)),
        "calibration": calibration(confidence, np.array(right)),
        "labels": scores,
        "by_segment": {name: by_segment(truth, guesses, values) for name, values in columns.items()},
        "confusion": confusion_matrix(truth, guesses),
        "weakest_labels": [
            {"label": label, **scores[label]}
            for label in sorted(scores, key=lambda label: (scores[label]["f1"], label))[:WEAK_LABELS_SHOWN]
            if scores[label]["f1"] < 1
        ],
        "mistakes": _mistakes(rows, truth, guesses, confidence),
    }


def label_scores(truth: Sequence[str], guesses: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and the number of rows of every label that is to be found."""
    wanted, named = Counter(truth), Counter(guesses)
    both = Counter(want for want, got in zip(truth, guesses, strict=True) if want == got)
    return {
        label: {
            "rows": wanted[label],
            "precision": both[label] / named[label] if named[label] else 0.0,
            "recall": both[label] / wanted[label],
            "f1": 2 * both[label] / (wanted[label] + named[label]),
        }
        for label in sorted(wanted)
    }


def macro_f1(scores: Mapping[str, Mapping[str, float]]) -> float:
    """Mean over labels of the harmonic mean of precision and recall."""
    return sum(score["f1"] for score in scores.values()) / len(scores)


def by_segment(truth: Sequence[str], guesses: Sequence[str], values: Sequence[str]) -> dict[str, dict[str, float]]:
    """Rows, accuracy and macro-F1 of each value of one column."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, value in enumerate(values):
        places[value].append(place)
    found = {}
    for value, chosen in sorted(places.items()):
        want, got = [truth[i] for i in chosen], [guesses[i] for i in chosen]
        right = sum(a == b for a, b in zip(want, got, strict=True))
        found[value] = {
            "rows": len(chosen),
            "accuracy": right / len(chosen),
            "macro_f1": macro_f1(label_scores(want, got)),
        }
    return found


def confusion_matrix(truth: Sequence[str], guesses: Sequence[str]) -> dict[str, Any]:
    """Counts with a row for each true label and a column for each named one; of many labels, those mistaken most."""
    labels = sorted({*truth, *guesses})
    left_out = 0
    if len(labels) > MAX_PICTURED_LABELS:
        wrong = Counter(label for want, got in zip(truth, guesses, strict=True) if want != got for label in (want, got))
        chosen = sorted(labels, key=lambda label: (-wrong[label], label))[:MAX_PICTURED_LABELS]
        left_out, labels = len(labels) - len(chosen), sorted(chosen)
    counts = Counter(zip(truth, guesses, strict=True))
    return {
        "labels": labels,
        "counts": [[counts[want, got] for got in labels] for want in labels],
        "labels_left_out": left_out,
    }


def wilson_interval(right: int, rows: int) -> list[float]:
    """Where the accuracy on all such rows lies with 95 % probability (Wilson 1927)."""
    share, z2 = right / rows, INTERVAL_Z**2
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    reach = INTERVAL_Z * math.sqrt(share * (1 - share) / rows + z2 / (4 * rows**2)) / (1 + z2 / rows)
    return [max(0.0, middle - reach), min(1.0, middle + reach)]


def _mistakes(
    rows: Sequence[Row], truth: Sequence[str], guesses: Sequence[str], confidence: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """The commonest confusions, each with the rows on which the model was surest of the wrong label."""
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, pair in enumerate(zip(truth, guesses, strict=True)):
        if pair[0] != pair[1]:
            places[pair].append(i)
    common = sorted(places.items(), key=lambda item: (-len(item[1]), item[0]))[:CONFUSIONS_SHOWN]
    return [
        {
            "label": want,
            "predicted": got,
            "count": len(found),
            "examples": [
                {key: rows[i].get(key) for key in ("id", "document_id", "text")} | {"confidence": float(confidence[i])}
                for i in sorted(found, key=lambda i: -confidence[i])[:EXAMPLES_SHOWN]
            ],
        }
        for (want, got), found in common
    ]
