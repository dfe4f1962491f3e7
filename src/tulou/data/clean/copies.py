"""Copies among all documents of a source: the same text again, and nearly the same text again; the best one stays.

Works on fingerprints, which lie on disk shard by shard, one band at a time, so that five million documents take some
hundred MB. Documents that share a band are compared by their real Jaccard similarity; pairs at the threshold or above
hang together (union-find); of each cluster the document with the most in it stays, the first of equals, and those that
are alike to it go. What hangs together by a chain only is not lost: the best of the rest stays, too.

Texts are equal if their letters and digits are, whatever their case. Of two equal texts with different labels, which
contradict each other, the first stays. Near copies must have the same label, and the same numbers: "24 months" and
"36 months" state different facts. Rows of a table that speak for themselves differ by one value on purpose and are not
compared.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tulou.data.kernels.clusters import roots, unite
from tulou.data.kernels.fingerprint import Unit
from tulou.data.kernels.likeness import similarities
from tulou.data.kernels.meetings import Rows, blocks, meetings

DOCUMENTS, MARKS, BANDS, COPIES = "documents.arrow", "marks.npz", "bands.npy", "copies.arrow"

_BANDS_AHEAD = 2
_ROUNDS = 20  # of looking for the best in what is left of a cluster; what is left after them stays

COPY = pa.schema([pa.field("row", pa.int64()), pa.field("rule", pa.string()), pa.field("kept", pa.string())])


def unit_of(*, is_labelled: bool) -> Unit:
    """What texts are compared by: messages that somebody labelled are short."""
    return Unit.CHARACTERS if is_labelled else Unit.WORDS


@dataclass(frozen=True)
class CopySettings:
    threshold: float  # Jaccard; 1 keeps near copies
    unit: Unit
    is_labelled: bool
    do_numbers_differ: bool
    finds_exact: bool = True
    finds_near: bool = True


@dataclass(frozen=True)
class _Marks:
    """What is known of every document, all shards in a row."""

    starts: Rows  # (shards + 1,)
    digests: NDArray[np.uint64]  # (documents, 2)
    numbers: NDArray[np.uint64]
    shingles: NDArray[np.int32]
    lengths: NDArray[np.int32]  # bytes
    is_compared: NDArray[np.bool_]
    labels: NDArray[np.int32]  # -1: none


def find_copies(shards: Sequence[Path], settings: CopySettings) -> dict[str, int]:
    """Write `COPIES` into each shard's folder: which of its rows go, by which rule, and the id of the copy that stays.

    Returns {"exact", "near", "clusters", "pairs"}.
    """
    marks = _read_marks(shards)
    texts = _Column(shards, "text")
    count = int(marks.starts[-1])
    first = _first_of_equals(marks.digests, marks.labels) if settings.finds_exact else np.arange(count)
    is_first = first == np.arange(count)
    best = np.arange(count)
    pairs = 0
    if settings.finds_near and settings.threshold < 1:
        parents = np.arange(count)
        eligible = np.flatnonzero(is_first & marks.is_compared & (marks.shingles > 0))
        pairs = _join_alike(shards, texts, marks, eligible, parents, settings)
        best = _copies_of(texts, marks, roots(parents), settings)
    is_near = is_first & (best != np.arange(count))
    kept = best[first]
    _write(shards, marks, kept, ~is_first, is_near)
    clusters = len(np.unique(kept[~is_first | is_near]))
    return {"exact": int((~is_first).sum()), "near": int(is_near.sum()), "clusters": clusters, "pairs": pairs}


def _read_marks(shards: Sequence[Path]) -> _Marks:
    parts = [np.load(shard / MARKS) for shard in shards]
    starts = np.cumsum([0, *(len(part["numbers"]) for part in parts)])
    joined = {name: np.concatenate([part[name] for part in parts]) for name in ("digests", "numbers", "shingles")}
    joined |= {name: np.concatenate([part[name] for part in parts]) for name in ("lengths", "is_compared")}
    labels = pa.chunked_array([chunk for shard in shards for chunk in _column(shard, "label").chunks], pa.string())
    codes = [chunk.indices.fill_null(-1).to_numpy() for chunk in labels.dictionary_encode().chunks]  # one dictionary
    return _Marks(starts=starts, labels=np.concatenate([np.empty(0, dtype=np.int32), *codes]), **joined)


def _first_of_equals(digests: NDArray[np.uint64], labels: NDArray[np.int32]) -> Rows:
    """For each document the first with the same digest; of those that somebody labelled, where there are some."""
    keys = (digests[:, 1], digests[:, 0])
    order = np.lexsort(keys if (labels < 0).all() else (labels < 0, *keys))  # stable: equals stay in order
    ranked = digests[order]
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (ranked[1:] != ranked[:-1]).any(axis=1)
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[np.flatnonzero(is_new)[np.cumsum(is_new) - 1]] if len(order) else order
    return first


def _join_alike(
    shards: Sequence[Path], texts: _Column, marks: _Marks, eligible: Rows, parents: Rows, settings: CopySettings
) -> int:
    """Unite what is alike, band by band; returns how many pairs were compared."""
    bands = [np.load(shard / BANDS, mmap_mode="r") for shard in shards]  # each (bands, rows)
    count = bands[0].shape[0]

    def met(band: int) -> tuple[Rows, Rows]:
        return meetings(np.concatenate([shard[band] for shard in bands])[eligible])

    compared = 0
    with ThreadPoolExecutor(_BANDS_AHEAD) as ahead:  # bands are sorted while those before them are compared
        waiting = deque(ahead.submit(met, band) for band in range(min(_BANDS_AHEAD, count)))
        for band in range(count):
            left, right = waiting.popleft().result()
            if band + _BANDS_AHEAD < count:
                waiting.append(ahead.submit(met, band + _BANDS_AHEAD))
            left, right = _worth_comparing(eligible[left], eligible[right], marks, roots(parents), settings)
            compared += len(left)
            is_alike = _are_alike(texts, left, right, marks, settings)
            unite(parents, left[is_alike], right[is_alike])
    return compared


def _worth_comparing(left: Rows, right: Rows, marks: _Marks, root: Rows, settings: CopySettings) -> tuple[Rows, Rows]:
    """The pairs that are not joined yet and may be, those with the same left side together."""
    is_open = root[left] != root[right]
    if settings.do_numbers_differ and not settings.is_labelled:
        is_open &= marks.numbers[left] == marks.numbers[right]
    if settings.is_labelled:
        is_open &= marks.labels[left] == marks.labels[right]
    left, right = left[is_open], right[is_open]
    order = np.lexsort((right, left))
    return left[order], right[order]


def _are_alike(texts: _Column, left: Rows, right: Rows, marks: _Marks, settings: CopySettings) -> NDArray[np.bool_]:
    """Whether each pair is at the threshold or above; on all cores, since the compiled loops hold no lock."""

    def compare(block: slice) -> NDArray[np.bool_]:
        a, b = left[block], right[block]
        wanted = np.unique(np.concatenate([a, b]))
        pairs = np.searchsorted(wanted, a), np.searchsorted(wanted, b)
        return similarities(texts.take(wanted), *pairs, settings.unit) >= settings.threshold

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        parts = list(threads.map(compare, blocks(left, right, marks.lengths)))
    return np.concatenate([np.empty(0, dtype=np.bool_), *parts])


class _Column:
    """A column of all documents, mapped and not read, batch by batch."""

    def __init__(self, shards: Sequence[Path], name: str) -> None:
        self._batches = [batch for shard in shards for batch in _column(shard, name).chunks]
        self._starts = np.cumsum([0, *map(len, self._batches)])

    def take(self, wanted: Rows) -> pa.Array:
        """The values in the rows `wanted`, which are sorted."""
        edges = np.searchsorted(wanted, self._starts)
        parts = [
            batch.take(pa.array(wanted[first:last] - start))
            for batch, start, first, last in zip(self._batches, self._starts, edges, edges[1:], strict=False)
            if first < last
        ]
        return pa.concat_arrays(parts) if parts else pa.array([], pa.string())


def _column(shard: Path, name: str) -> pa.ChunkedArray:
    """A column of the shard's documents, mapped and not read."""
    with pa.memory_map(str(shard / DOCUMENTS)) as stream, pa.ipc.open_file(stream) as file:
        return file.read_all().column(name)


def _copies_of(texts: _Column, marks: _Marks, root: Rows, settings: CopySettings) -> Rows:
    """For each document the one that stays in its place, which is itself unless it is a copy.

    The best of a cluster is the one with the most shingles, the first of equals. Members that hang on to it by others
    only, and are not alike themselves, make a cluster of their own in the next round.
    """
    kept = np.arange(len(root))
    sizes = np.bincount(root, minlength=len(root))
    members = np.flatnonzero(sizes[root] > 1)
    for number in range(_ROUNDS):
        members = members[np.lexsort((members, -marks.shingles[members], root[members]))]
        if len(members) == 0:
            break
        is_head = np.concatenate([[True], root[members[1:]] != root[members[:-1]]])
        heads = members[is_head][np.cumsum(is_head) - 1]
        is_alike = np.ones(len(members), dtype=bool)
        # two that hang together have been compared already
        unsure = np.flatnonzero(~is_head & ((sizes[root[members]] > 2) | (number > 0)))
        is_alike[unsure] = _are_alike(texts, heads[unsure], members[unsure], marks, settings)
        kept[members[is_alike]] = heads[is_alike]
        members = members[~is_alike]
    return kept


def _write(
    shards: Sequence[Path], marks: _Marks, kept: Rows, is_exact: NDArray[np.bool_], is_near: NDArray[np.bool_]
) -> None:
    gone = np.flatnonzero(is_exact | is_near)
    wanted = np.unique(kept[gone])
    kept_ids = _Column(shards, "id").take(wanted).take(pa.array(np.searchsorted(wanted, kept[gone])))
    is_other = (marks.labels[gone] != -1) & (marks.labels[gone] != marks.labels[kept[gone]])
    rules = np.where(is_near[gone], "near_copy", np.where(is_other, "other_label", "same_text"))
    edges = np.searchsorted(gone, marks.starts)
    for number, shard in enumerate(shards):
        part = slice(edges[number], edges[number + 1])
        columns = [pa.array(gone[part] - marks.starts[number]), pa.array(rules[part], pa.string()), kept_ids[part]]
        table = pa.Table.from_arrays(columns, schema=COPY)
        partial = shard / f"{COPIES}.partial"
        with pa.OSFile(str(partial), "wb") as stream, pa.ipc.new_file(stream, COPY) as writer:
            writer.write_table(table)
        partial.replace(shard / COPIES)
