from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tulou.core.errors import DataError
from tulou.core.types import LABELLED
from tulou.data.parquet import read_batches
from tulou.data.similarity import jaccard, shingles
from tulou.data.split import labelled

WriteDocuments = Callable[..., Path]

WORDS = [
    "amber",
    "basil",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "ivory",
    "jade",
    "koala",
    "lemon",
    "maple",
]


def ticket(number: int, **more: Any) -> dict[str, Any]:
    chosen = [WORDS[(number * step + step) % len(WORDS)] for step in (1, 3, 5, 7, 11)]
    text = f"{' '.join(chosen)} {number * 7919}"
    return {"text": text, "label": f"label{number % 5}", "subject_id": f"c{number // 3}", **more}


def split(documents: Path, exam: list[str] | None = None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    out = documents.parent / "labelled"
    summary = labelled(documents, exam or [], out, seed=7)
    batches = list(read_batches(out, "labelled"))
    assert all(batch.schema.equals(LABELLED) for batch in batches)
    return summary, [row for batch in batches for row in batch.to_pylist()]


def test_shares_and_labels_are_about_right(write_documents: WriteDocuments) -> None:
    summary, rows = split(write_documents([ticket(number) for number in range(600)]))
    assert summary["rows"] == len(rows) == 600
    assert summary["train"] == pytest.approx(480, abs=20)
    assert summary["validation"] == pytest.approx(60, abs=12)
    by_split: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        by_split[row["split"]].add(row["label"])
    assert by_split["test"] == by_split["validation"] == by_split["train"]


def test_one_person_stays_on_one_side(write_documents: WriteDocuments) -> None:
    tickets = [ticket(number) for number in range(300)]
    _, rows = split(write_documents(tickets))
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for given, row in zip(tickets, rows, strict=True):
        sides[given["subject_id"]].add(row["split"])
    assert all(len(side) == 1 for side in sides.values())


def test_near_copies_stay_on_one_side(write_documents: WriteDocuments) -> None:
    tickets = [ticket(number, subject_id=None) for number in range(200)]
    tickets += [t | {"text": t["text"] + " please"} for t in tickets[:100]]
    _, rows = split(write_documents(tickets))
    sets = [shingles(row["text"]) for row in rows]
    for i, a in enumerate(rows):
        for j in range(i):
            if a["split"] != rows[j]["split"]:
                assert jaccard(sets[i], sets[j]) < 0.8


def test_exam_questions_are_kept_out_and_counted(write_documents: WriteDocuments) -> None:
    question = "Can I send the reading lamp back after I opened its box?"
    tickets = [ticket(number) for number in range(100)]
    tickets += [
        {"text": f"Hello there! {question} Thanks a lot.", "label": "label1"},
        {"text": "can i send the reading lamp back after i opened the box", "label": "label1"},
    ]
    summary, rows = split(write_documents(tickets), [question])
    assert summary["exam_removed"] == 2
    assert not any("lamp" in row["text"] for row in rows)


def test_unlabelled_and_rare_are_left_out_and_counted(write_documents: WriteDocuments) -> None:
    tickets = [ticket(number) for number in range(50)] + [ticket(900, label=None), ticket(901, label="once")]
    summary, _ = split(write_documents(tickets))
    assert summary["unlabelled"] == 1
    assert summary["rare_removed"] == {"once": 1}
    assert "once" not in summary["labels"]


def test_same_seed_gives_the_same_split(write_documents: WriteDocuments) -> None:
    documents = write_documents([ticket(number) for number in range(200)])
    first = Counter((row["id"], row["split"]) for row in split(documents)[1])
    assert first == Counter((row["id"], row["split"]) for row in split(documents)[1])


def test_too_few_labels_is_an_error_that_shows_them(write_documents: WriteDocuments) -> None:
    documents = write_documents([ticket(number, label="only") for number in range(5)])
    with pytest.raises(DataError, match=r"two labels or more.*'only' \(5\)"):
        split(documents)
