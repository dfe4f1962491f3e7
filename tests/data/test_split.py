from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tulou.core.errors import DataError
from tulou.core.tables import LABELLED
from tulou.data.kernels.fingerprint import Unit
from tulou.data.kernels.likeness import similarities
from tulou.data.parquet import read_batches
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


def split(documents: Path, exam: list[str] | None = None, seed: int = 7) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    out = documents.parent / "labelled"
    summary = labelled(documents, exam or [], out, seed)
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
    assert torn_people(tickets, rows) == []


def test_near_copies_stay_on_one_side(write_documents: WriteDocuments) -> None:
    tickets = [ticket(number, subject_id=None) for number in range(200)]
    tickets += [t | {"text": t["text"] + " please", "label": "label0"} for t in tickets[:100]]
    _, rows = split(write_documents(tickets))
    assert torn_pairs(rows) == []


def test_near_copies_of_boilerplate_stay_on_one_side(write_documents: WriteDocuments) -> None:
    usual = "Good morning, thank you for your quick reply about the order that I placed with you last week, number"
    tickets = [ticket(number, subject_id=None) for number in range(900)]
    tickets += [{"text": f"{usual} {number * 7919}", "label": f"label{number % 5}"} for number in range(90)]
    _, rows = split(write_documents(tickets))
    assert torn_pairs(rows) == []


def torn_people(tickets: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[str]:
    people = {f"d{number}": given["subject_id"] for number, given in enumerate(tickets, 1)}
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if people[row["id"]]:
            sides[people[row["id"]]].add(row["split"])
    return [person for person, side in sides.items() if len(side) > 1]


def torn_pairs(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Near copies on different sides, found by comparing every pair."""
    left, right = np.triu_indices(len(rows), 1)
    sides = np.array([row["split"] for row in rows])
    across = sides[left] != sides[right]
    left, right = left[across], right[across]
    alike = similarities(pa.array([row["text"] for row in rows]), left, right, Unit.CHARACTERS) >= 0.8
    return [(rows[a]["text"], rows[b]["text"]) for a, b in zip(left[alike], right[alike], strict=True)]


@st.composite
def many_tickets(draw: st.DrawFn) -> list[dict[str, Any]]:
    rng = draw(st.randoms(use_true_random=False))
    language = draw(st.sampled_from([WORDS, list("我买的电水壶昨天坏了能不能退货请问运费谁出谢谢")]))
    tickets: list[dict[str, Any]] = []
    for number in range(draw(st.integers(60, 150))):
        words = rng.choices(language, k=rng.randint(4, 20))
        if tickets and rng.random() < 0.3:  # again, with one word changed
            words = rng.choice(tickets)["text"].split()
            words[rng.randrange(len(words))] = rng.choice(language)
        person = f"c{rng.randrange(60)}" if rng.random() < 0.5 else None
        tickets.append({"text": " ".join(words), "label": f"label{number % 3}", "subject_id": person})
    return tickets


@given(many_tickets(), st.integers(0, 5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
def test_nothing_that_belongs_together_is_torn(
    write_documents: WriteDocuments, tickets: list[dict[str, Any]], seed: int
) -> None:
    _, rows = split(write_documents(tickets), seed=seed)
    assert torn_people(tickets, rows) == []
    assert torn_pairs(rows) == []


@pytest.mark.parametrize("count", [3, 4, 11])
def test_every_side_sees_a_label_of_which_there_are_three_records(write_documents: WriteDocuments, count: int) -> None:
    tickets = [ticket(number) for number in range(200)]
    tickets += [ticket(1000 + number, label="rare", subject_id=None) for number in range(count)]
    _, rows = split(write_documents(tickets))
    assert {row["split"] for row in rows if row["label"] == "rare"} == {"train", "validation", "test"}


def test_person_who_wrote_a_tenth_of_all_is_learnt_from(write_documents: WriteDocuments) -> None:
    tickets = [ticket(number, subject_id="busy" if number % 4 == 0 else None) for number in range(200)]
    summary, rows = split(write_documents(tickets))
    assert summary["largest_group"] == 50
    assert {row["split"] for row in rows if int(row["id"][1:]) % 4 == 1} == {"train"}


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


def test_same_seed_gives_the_same_split_and_another_seed_another(write_documents: WriteDocuments) -> None:
    documents = write_documents([ticket(number) for number in range(200)])
    first = [(row["id"], row["split"]) for row in split(documents)[1]]
    assert first == [(row["id"], row["split"]) for row in split(documents)[1]]
    assert first != [(row["id"], row["split"]) for row in split(documents, seed=8)[1]]


def test_compiled_and_plain_fingerprints_split_alike(
    write_documents: WriteDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = write_documents([ticket(number) for number in range(150)])
    plain = split(documents)
    monkeypatch.setattr("tulou.data.split._COMPILED_ROWS", 1)
    assert split(documents) == plain


def test_too_few_labels_is_an_error_that_shows_them(write_documents: WriteDocuments) -> None:
    documents = write_documents([ticket(number, label="only") for number in range(5)])
    with pytest.raises(DataError, match=r"two labels or more.*'only' \(5\)"):
        split(documents)
