"""Labelled records into train, validation and test, without leaks.

What must not be torn apart is joined first (union-find): near copies, and the records of one person. Whole groups are
then dealt out, rarest labels first, each to the split that lacks its labels the most; so every split sees every label
where the data allow it. A record that equals or contains an exam question, or nearly so, is left out and counted.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tulou.core.errors import DataError
from tulou.core.types import LABELLED
from tulou.data.parquet import RowWriter, read_batches
from tulou.data.similarity import NearIndex, Shingles, containment, jaccard, shingles

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}

_LEAK_SIMILARITY = 0.8  # pairs above it are near copies and stay on one side
_EXAM_SIMILARITY = 0.6
_EXAM_CONTAINMENT = 0.85  # of the question's shingles, found in a record that adds more
_MIN_QUESTION_SHINGLES = 8  # a shorter question is contained in anything
_MIN_PER_LABEL = 3
_TOO_LARGE_A_GROUP = 0.1  # of all records: such a group goes to train, or the shares could not be kept


@dataclass(frozen=True)
class _Record:
    id: str
    text: str
    label: str
    language: str
    subject_id: str | None
    items: Shingles


def labelled(documents: Path | Sequence[Path], exam: Sequence[str], out: Path, seed: int) -> dict[str, Any]:
    """Write `out/labelled-*.parquet` (LABELLED) from the labelled DOCUMENT rows in `documents`.

    Returns {"rows", "train", "validation", "test", "labels": {label: rows}, "groups", "unlabelled", "exam_removed",
    "rare_removed": {label: rows}}. Raises `DataError` where fewer than two labels are left.
    """
    folders = [documents] if isinstance(documents, Path) else list(documents)
    records, unlabelled = _read(folders)
    kept = _without_exam(records, [shingles(question) for question in exam])
    exam_removed = len(records) - len(kept)
    counts = Counter(record.label for record in kept)
    rare = {label: count for label, count in sorted(counts.items()) if count < _MIN_PER_LABEL}
    kept = [record for record in kept if record.label not in rare]
    if len(counts) - len(rare) < 2:
        have = ", ".join(f"{label!r} ({count})" for label, count in counts.most_common(5)) or "none"
        raise DataError(
            f"a classifier needs two labels or more, with {_MIN_PER_LABEL} clean records each; there are: {have}"
        )
    groups = _groups(kept)
    splits = _dealt(groups, seed)
    sizes: Counter[str] = Counter()
    with RowWriter(out, "labelled", LABELLED) as writer:
        for record in kept:
            split = splits[record.id]
            sizes[split] += 1
            writer.add(
                {
                    "id": record.id,
                    "document_id": record.id,
                    "text": record.text,
                    "label": record.label,
                    "language": record.language,
                    "split": split,
                }
            )
    return {
        "rows": len(kept),
        **{split: sizes[split] for split in SHARES},
        "labels": dict(sorted(Counter(record.label for record in kept).items())),
        "groups": len(groups),
        "unlabelled": unlabelled,
        "exam_removed": exam_removed,
        "rare_removed": rare,
    }


def _read(folders: Iterable[Path]) -> tuple[list[_Record], int]:
    records = []
    unlabelled = 0
    for folder in folders:
        for batch in read_batches(folder, columns=["id", "text", "label", "language", "subject_id"]):
            for row in batch.to_pylist():
                if row["label"] is None:
                    unlabelled += 1
                else:
                    records.append(_Record(**row, items=shingles(row["text"])))
    return records, unlabelled


def _without_exam(records: list[_Record], questions: list[Shingles]) -> list[_Record]:
    return [record for record in records if not any(_overlaps(question, record.items) for question in questions)]


def _overlaps(question: Shingles, record: Shingles) -> bool:
    if len(question) >= _MIN_QUESTION_SHINGLES and containment(question, record) >= _EXAM_CONTAINMENT:
        return True
    return jaccard(question, record) >= _EXAM_SIMILARITY


def _groups(records: list[_Record]) -> list[list[_Record]]:
    """Records that must stay together, in the order of their first."""
    parent = {record.id: record.id for record in records}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    index = NearIndex(_LEAK_SIMILARITY)
    first_of: dict[str, str] = {}  # person to one of their records
    for record in records:
        for key, _ in index.similar(record.items):
            parent[root(key)] = root(record.id)
        index.add(record.id, record.items)
        if record.subject_id is not None:
            parent[root(first_of.setdefault(record.subject_id, record.id))] = root(record.id)
    groups: defaultdict[str, list[_Record]] = defaultdict(list)
    for record in records:
        groups[root(record.id)].append(record)
    return list(groups.values())


def _dealt(groups: list[list[_Record]], seed: int) -> dict[str, str]:
    """The split of each record, by id."""
    totals = Counter(record.label for group in groups for record in group)
    count = totals.total()
    wanted = {split: {label: totals[label] * share for label in totals} for split, share in SHARES.items()}
    order = list(range(len(groups)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda i: (-len(groups[i]), min(totals[record.label] for record in groups[i])))
    splits: dict[str, str] = {}
    for i in order:
        labels = Counter(record.label for record in groups[i])
        if len(groups[i]) > _TOO_LARGE_A_GROUP * count:
            chosen = "train"
        else:
            chosen = max(SHARES, key=lambda split: sum(wanted[split][x] * n / totals[x] for x, n in labels.items()))
        for label, n in labels.items():
            wanted[chosen][label] -= n
        splits.update((record.id, chosen) for record in groups[i])
    return splits
