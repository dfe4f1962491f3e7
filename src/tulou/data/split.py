"""Labelled records into train, validation and test, without leaks.

What must not be torn apart is joined first (union-find): near copies, and the records of one person. Whole groups are
then dealt out: first so that every split sees every label where the data allow it, then, largest first, each to the
split that lacks its labels the most. A record that equals or contains an exam question, or nearly so, is left out and
counted. Texts and fingerprints lie on disk while this goes on; in memory are some 200 bytes of each record.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tulou.core.errors import DataError
from tulou.core.tables import LABELLED
from tulou.data.kernels.clusters import roots, unite
from tulou.data.kernels.fingerprint import PERMUTATIONS, Unit, fingerprint, rows_per_band
from tulou.data.kernels.likeness import similarities
from tulou.data.kernels.meetings import Rows, blocks, meetings
from tulou.data.parquet import RowWriter, count_rows, read_batches
from tulou.data.similarity import Questions

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}

_LEAK_SIMILARITY = 0.8  # pairs above it are near copies and stay on one side
_BAND_ROWS = rows_per_band(_LEAK_SIMILARITY) - 1  # one fewer than cleaning's: 5 pairs in 100,000 never meet
_MIN_PER_LABEL = 3
_TOO_LARGE_A_GROUP = 0.1  # of all records: such a group goes to train, or the shares could not be kept
_COMPILED_ROWS = 5000  # below, compiling takes longer than it saves
_COLUMNS = ["id", "text", "label", "language", "subject_id"]
_READ = pa.schema([pa.field(name, pa.string()) for name in _COLUMNS])


@dataclass(frozen=True)
class _Records:
    """The labelled records that no exam question is in: texts on disk, the rest in memory."""

    table: pa.Table  # mapped from disk
    bands: NDArray[np.uint32]  # (bands, records), mapped from disk
    shingles: NDArray[np.int32]
    lengths: NDArray[np.int32]  # bytes
    unlabelled: int
    exam_removed: int

    def codes(self, column: str) -> tuple[Rows, list[str]]:
        """For each record the number of its value, -1 for none; and the values."""
        encoded = self.table.column(column).combine_chunks().dictionary_encode()
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return codes, encoded.dictionary.to_pylist()


def labelled(
    documents: Path | Sequence[Path], exam: Sequence[str], out: Path, seed: int, scratch: Path | None = None
) -> dict[str, Any]:
    """Write `out/labelled-*.parquet` (LABELLED) from the labelled DOCUMENT rows in `documents`.

    Returns {"rows", "train", "validation", "test", "labels": {label: rows}, "groups", "largest_group", "unlabelled",
    "exam_removed", "rare_removed": {label: rows}}. Raises `DataError` where fewer than two labels are left.
    """
    folders = [documents] if isinstance(documents, Path) else list(documents)
    home = (scratch or out) / "split"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    try:
        return _split(_read(folders, exam, home), out, seed)
    finally:
        shutil.rmtree(home)


def _split(records: _Records, out: Path, seed: int) -> dict[str, Any]:
    labels, names = records.codes("label")
    counts = np.bincount(labels, minlength=len(names))
    rare = {names[code]: int(counts[code]) for code in np.flatnonzero(counts < _MIN_PER_LABEL)}
    if len(names) - len(rare) < 2:
        most = sorted(zip(names, counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))[:5]
        have = ", ".join(f"{label!r} ({count})" for label, count in most) or "none"
        raise DataError(
            f"a classifier needs two labels or more, with {_MIN_PER_LABEL} clean records each; there are: {have}"
        )
    kept = np.flatnonzero(counts[labels] >= _MIN_PER_LABEL)
    groups = _groups(records, kept)
    splits = _dealt(labels[kept], groups, seed)
    _write(records, kept, splits, out)
    return {
        "rows": len(kept),
        **{split: int((splits == number).sum()) for number, split in enumerate(SHARES)},
        "labels": {
            names[code]: int(counts[code]) for code in sorted(set(labels[kept].tolist()), key=names.__getitem__)
        },
        "groups": int(groups.max()) + 1,
        "largest_group": int(np.bincount(groups).max()),
        "unlabelled": records.unlabelled,
        "exam_removed": records.exam_removed,
        "rare_removed": dict(sorted(rare.items())),
    }


def _read(folders: Sequence[Path], exam: Sequence[str], home: Path) -> _Records:
    total = sum(count_rows(folder) for folder in folders)
    is_compiled = total >= _COMPILED_ROWS
    questions = Questions(exam)
    bands = np.lib.format.open_memmap(
        home / "bands.npy", mode="w+", dtype=np.uint32, shape=(PERMUTATIONS // _BAND_ROWS, max(total, 1))
    )
    shingles, lengths = np.zeros(total, dtype=np.int32), np.zeros(total, dtype=np.int32)
    count = unlabelled = exam_removed = 0
    with pa.OSFile(str(home / "records.arrow"), "wb") as stream, pa.ipc.new_file(stream, _READ) as writer:
        for batch in (batch for folder in folders for batch in read_batches(folder, columns=_COLUMNS)):
            given = batch.filter(batch.column("label").is_valid())
            kept = given.filter(pa.array(~questions.repeated_in(given.column("text"))))
            unlabelled += batch.num_rows - given.num_rows
            exam_removed += given.num_rows - kept.num_rows
            part = slice(count, count + kept.num_rows)
            made = fingerprint(kept.column("text"), Unit.CHARACTERS, _BAND_ROWS, is_compiled=is_compiled)
            bands[:, part], shingles[part] = made.bands.T, made.shingles
            lengths[part] = pc.binary_length(kept.column("text")).to_numpy(zero_copy_only=False)
            writer.write_batch(kept.cast(_READ))
            count += kept.num_rows
    with pa.memory_map(str(home / "records.arrow")) as stream, pa.ipc.open_file(stream) as file:
        table = file.read_all()
    return _Records(table, bands[:, :count], shingles[:count], lengths[:count], unlabelled, exam_removed)


def _groups(records: _Records, kept: Rows) -> Rows:
    """For each record of `kept` the number of the group that it must stay with, counted in the order of the firsts."""
    parents = np.arange(records.table.num_rows)
    _join_near_copies(records, kept[records.shingles[kept] > 0], parents)
    people, _ = records.codes("subject_id")
    named = kept[people[kept] >= 0]
    ordered = named[np.argsort(people[named], kind="stable")]
    is_same = people[ordered[1:]] == people[ordered[:-1]]
    unite(parents, ordered[:-1][is_same], ordered[1:][is_same])
    groups: Rows = np.unique(roots(parents)[kept], return_inverse=True)[1]
    return groups


def _join_near_copies(records: _Records, eligible: Rows, parents: Rows) -> None:
    texts = records.table.column("text")
    for keys in records.bands:
        left, right = meetings(keys[eligible])
        left, right = eligible[left], eligible[right]
        root = roots(parents)
        is_open = root[left] != root[right]
        left, right = left[is_open], right[is_open]
        order = np.lexsort((right, left))
        left, right = left[order], right[order]
        for block in blocks(left, right, records.lengths):
            a, b = left[block], right[block]
            wanted = np.unique(np.concatenate([a, b]))
            compared = texts.take(pa.array(wanted)).combine_chunks()
            places = np.searchsorted(wanted, a), np.searchsorted(wanted, b)
            is_alike = similarities(compared, *places, Unit.CHARACTERS) >= _LEAK_SIMILARITY
            unite(parents, a[is_alike], b[is_alike])


class _Deal:
    """Groups and the splits they were given to so far."""

    def __init__(self, labels: Rows, groups: Rows) -> None:
        label_count = int(labels.max()) + 1
        pairs, counts = np.unique(groups * label_count + labels, return_counts=True)  # sorted by group
        self.sizes = np.bincount(groups)
        self.totals = np.bincount(labels, minlength=label_count)
        self.chosen = [-1] * len(self.sizes)  # of each group the number of its split
        self._starts = np.searchsorted(pairs, np.arange(len(self.sizes) + 1) * label_count).tolist()
        self._labels, self._counts = (pairs % label_count).tolist(), counts.tolist()
        self._wanted = [(self.totals * share).tolist() for share in SHARES.values()]  # records of each label it lacks

    def members(self, group: int) -> list[tuple[int, int]]:
        """The group's labels, each with how many of its records have it."""
        part = slice(self._starts[group], self._starts[group + 1])
        return list(zip(self._labels[part], self._counts[part], strict=True))

    def give(self, group: int, split: int) -> None:
        self.chosen[group] = split
        for label, count in self.members(group):
            self._wanted[split][label] -= count

    def most_wanting(self, group: int) -> int:
        """The split that lacks the group's labels the most."""
        weights = [(label, count / self.totals[label]) for label, count in self.members(group)]
        lacking = [sum(lack[label] * weight for label, weight in weights) for lack in self._wanted]
        return lacking.index(max(lacking))


def _dealt(labels: Rows, groups: Rows, seed: int) -> NDArray[np.int8]:
    """For each record the number of its split."""
    deal = _Deal(labels, groups)
    order = list(range(len(deal.chosen)))
    random.Random(seed).shuffle(order)
    rarest = [min(deal.totals[label] for label, _ in deal.members(group)) for group in range(len(order))]
    order.sort(key=lambda group: (-deal.sizes[group], rarest[group]))
    for group in order:
        if deal.sizes[group] > _TOO_LARGE_A_GROUP * len(labels):
            deal.give(group, 0)
    _show_every_label(deal, order)
    for group in order:
        if deal.chosen[group] < 0:
            deal.give(group, deal.most_wanting(group))
    return np.array(deal.chosen, dtype=np.int8)[groups]


def _show_every_label(deal: _Deal, order: Sequence[int]) -> None:
    """Give each split a group with each label, rarest labels first and smallest groups first."""
    with_label: list[list[int]] = [[] for _ in deal.totals]
    for group in reversed(order):
        for label, _ in deal.members(group):
            with_label[label].append(group)
    for groups in sorted(with_label, key=len):
        seen = {deal.chosen[group] for group in groups}
        free = [group for group in groups if deal.chosen[group] < 0][: len(SHARES)]
        for split, group in zip((split for split in range(len(SHARES)) if split not in seen), free, strict=False):
            deal.give(group, split)


def _write(records: _Records, kept: Rows, splits: NDArray[np.int8], out: Path) -> None:
    names = pa.array(list(SHARES))
    with RowWriter(out, "labelled", LABELLED) as writer:
        for start, batch in _batches(records.table):
            first, last = np.searchsorted(kept, [start, start + batch.num_rows])
            rows = batch.take(pa.array(kept[first:last] - start))
            columns = {name: rows.column(name) for name in ("id", "text", "label", "language")}
            columns |= {"document_id": columns["id"], "split": names.take(pa.array(splits[first:last]))}
            writer.write(pa.RecordBatch.from_arrays([columns[name] for name in LABELLED.names], schema=LABELLED))


def _batches(table: pa.Table) -> Iterator[tuple[int, pa.RecordBatch]]:
    start = 0
    for batch in table.to_batches():
        yield start, batch
        start += batch.num_rows
