"""The work on one shard, some 8,000 records of a source: the same function in every engine.

First all steps that look at one record at a time, then fingerprints; when copies are known among all shards, the clean
records are written out. A shard's folder appears whole or not at all, so a killed run goes on where it was.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tulou.core.settings import CleanSettings
from tulou.core.stage import read_json, write_json
from tulou.core.tables import DECISION, DOCUMENT
from tulou.data.clean.copies import BANDS, COPIES, DOCUMENTS, MARKS, unit_of
from tulou.data.clean.job import EXAMPLES_PER_RULE, LENGTH_EDGES, Shard
from tulou.data.clean.record import (
    Decision,
    Redaction,
    Rewrite,
    Step,
    decision_batch,
    first_difference,
    part_of,
    put_back,
    rows_left,
    survey_of,
    with_survey,
    without_dropped,
    without_survey,
)
from tulou.data.clean.rules import Rules, build_rules
from tulou.data.clean.sensitive.kinds import mark_of
from tulou.data.kernels.fingerprint import fingerprint, rows_per_band
from tulou.data.kernels.survey import Count, survey
from tulou.data.parquet import open_writer

DECISIONS, SUMMARY = "decisions.arrow", "summary.json"

_BATCH_ROWS = 2048
SHOWN_CHARS = 160
_PROSE_CHARS = 200  # a row of a table that is longer than this is prose and compared with others


def count_words(shard: Shard) -> Path:
    """What the speller wants to know of this shard's texts, once they are otherwise clean; returns its folder."""
    from tulou.data.clean.spelling import Counts, count

    folder = shard.folder.with_name(f"words-{shard.number:05d}")
    if not folder.exists():
        counts = Counts()
        for batch in _read(shard):
            surveyed = with_survey(batch, partial(survey, is_compiled=shard.is_compiled))
            for _, step in _rules(shard).steps:
                surveyed, _ = step(surveyed)
            surveyed = without_dropped(surveyed)
            is_row = pc.match_substring(surveyed.column("position"), "row=")
            titles = surveyed.column("title").filter(pc.invert(is_row))  # that of a row is the beginning of its text
            counts.merge(count(surveyed.column("text").to_pylist(), titles.to_pylist()))
        counts.save(folder)
    return folder


def prepare(shard: Shard) -> int:
    """Everything but copies, into the shard's folder; returns the shard's number."""
    if shard.folder.exists():
        return shard.number
    partial_folder = shard.folder.with_name(f"{shard.folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir(parents=True)
    look = partial(survey, is_compiled=shard.is_compiled)
    rules = _rules(shard)
    tally = Tally()
    marks: list[dict[str, NDArray[Any]]] = []
    with (
        pa.OSFile(str(partial_folder / DOCUMENTS), "wb") as stream,
        pa.ipc.new_file(stream, DOCUMENT) as documents,
        pa.OSFile(str(partial_folder / DECISIONS), "wb") as decisions,
        pa.ipc.new_file(decisions, DECISION) as decided,
    ):
        for batch in _read(shard):
            tally.rows += batch.num_rows
            started = time.perf_counter()
            surveyed = with_survey(batch, look)
            tally.add("survey", batch.num_rows, batch.num_rows, time.perf_counter() - started)
            rows = rules.to_mend(surveyed)
            part = part_of(surveyed, rows)
            for name, step in rules.mending:
                part = tally.run(name, step, part, rows_beside=surveyed.num_rows - len(rows))
            surveyed = put_back(surveyed, rows, part)
            for name, step in rules.others:
                surveyed = tally.run(name, step, surveyed)
            tally.write_decisions(decided, rules.redact)
            started = time.perf_counter()
            surveyed = without_dropped(surveyed)
            kept = without_survey(surveyed)
            documents.write_batch(kept)
            marks.append(_marks(shard, kept, survey_of(surveyed).counts[:, Count.CHARS]))
            tally.add("fingerprint", kept.num_rows, kept.num_rows, time.perf_counter() - started)
            tally.kept += kept.num_rows
    _save_marks(marks, partial_folder)
    write_json(partial_folder / SUMMARY, tally.summary())
    shutil.rmtree(shard.folder, ignore_errors=True)
    os.replace(partial_folder, shard.folder)
    return shard.number


def finish(shard: Shard) -> dict[str, Any]:
    """Write `documents-N.parquet` and `decisions-N.parquet` into `shard.out`; returns the shard's whole summary."""
    tally = Tally.of(read_json(shard.folder / SUMMARY))
    started = time.perf_counter()
    with pa.memory_map(str(shard.folder / DOCUMENTS)) as stream, pa.ipc.open_file(stream) as file:
        documents = file.read_all()
        copies = _read_arrow(shard.folder / COPIES)
        gone = copies.column("row").to_numpy()
        tally.waiting = _copy_decisions(documents.take(pa.array(gone)), copies)
        is_kept = np.ones(documents.num_rows, dtype=bool)
        is_kept[gone] = False
        kept = documents.filter(pa.array(is_kept)) if len(gone) else documents
        with open_writer(shard.out / f"documents-{shard.number:05d}.parquet", DOCUMENT) as out:
            out.write_table(kept)
        with open_writer(shard.out / f"decisions-{shard.number:05d}.parquet", DECISION) as out:
            out.write_table(_read_arrow(shard.folder / DECISIONS))
            tally.write_decisions(out, _rules(shard).redact)
        lengths = np.histogram(pc.utf8_length(kept.column("text")).to_numpy(), LENGTH_EDGES)[0]
        languages = {row["values"]: row["counts"] for row in pc.value_counts(kept.column("language")).to_pylist()}
        tally.kept = kept.num_rows
    tally.steps["write"] = [documents.num_rows, tally.kept, time.perf_counter() - started]
    return {**tally.summary(), "languages": languages, "lengths": lengths.tolist()}


@dataclass
class Tally:
    """What was done to a shard so far."""

    rows: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    reported: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=dict)  # name to records in, records out, seconds
    waiting: list[Decision] = field(default_factory=list)

    @classmethod
    def of(cls, summary: dict[str, Any]) -> Tally:
        tally = cls(summary["in"], summary["kept"], examples=summary["examples"], steps=summary["steps"])
        tally.dropped.update(summary["dropped"])
        tally.changed.update(summary["changed"])
        tally.reported.update(summary["reported"])
        return tally

    def run(self, name: str, step: Step, batch: pa.RecordBatch, rows_beside: int = 0) -> pa.RecordBatch:
        """What `step` makes of `batch`; `rows_beside` are those that it would not touch and is spared."""
        started = time.perf_counter()
        after, decisions = step(batch)
        seconds = time.perf_counter() - started
        self.add(name, rows_left(batch) + rows_beside, rows_left(after) + rows_beside, seconds)
        self.waiting += decisions
        return after

    def add(self, name: str, rows_in: int, rows_out: int, seconds: float) -> None:
        known = self.steps.setdefault(name, [0, 0, 0.0])
        for place, more in enumerate((rows_in, rows_out, seconds)):
            known[place] += more

    def write_decisions(self, writer: pq.ParquetWriter | pa.RecordBatchFileWriter, redact: Redaction) -> None:
        started = time.perf_counter()
        batch = decision_batch(self.waiting, redact)
        new: dict[tuple[str, str, str], list[int]] = {}
        for place, decision in enumerate(self.waiting):
            new.setdefault((decision.action, decision.step, decision.rule), []).append(place)
        shown: list[int] = []
        for (action, step, rule), places in new.items():
            counts: Counter[str] = getattr(self, action)
            shown += places[: max(0, EXAMPLES_PER_RULE - counts[f"{step}.{rule}"])]
            counts[f"{step}.{rule}"] += len(places)
        self.examples += map(_example, batch.take(pa.array(sorted(shown), pa.int64())).to_pylist())
        self.waiting = []
        if batch.num_rows:
            writer.write_batch(batch)
        self.add("decisions", batch.num_rows, batch.num_rows, time.perf_counter() - started)

    def summary(self) -> dict[str, Any]:
        return {
            "in": self.rows,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "changed": dict(self.changed),
            "reported": dict(self.reported),
            "examples": self.examples,
            "steps": self.steps,
        }


def _rules(shard: Shard) -> Rules:
    return _built_rules(
        shard.settings.model_dump_json(),
        shard.project,
        shard.is_labelled,
        shard.is_compiled,
        shard.token_key,
        shard.words,
    )


@lru_cache(maxsize=4)
def _built_rules(
    settings: str, project: Path, is_labelled: bool, is_compiled: bool, token_key: bytes | None, words: Path | None
) -> Rules:
    """Made once a process: word lists and expressions take a while to compile."""
    return build_rules(
        CleanSettings.model_validate_json(settings),
        project,
        is_labelled=is_labelled,
        token_key=token_key,
        speller=_speller(words) if words else None,
        look=partial(survey, is_compiled=is_compiled),
    )


def _speller(words: Path) -> Rewrite:
    from tulou.data.clean.spelling import Speller

    return Speller.load(words).rewrite


def _read(shard: Shard) -> Iterator[pa.RecordBatch]:
    for path, groups in shard.pieces:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=_BATCH_ROWS, row_groups=list(groups))


def _marks(shard: Shard, batch: pa.RecordBatch, chars: NDArray[np.int32]) -> dict[str, NDArray[Any]]:
    """What copies are found by."""
    texts = batch.column("text")
    rows = rows_per_band(shard.settings.near_duplicate_similarity)
    prints = fingerprint(texts, unit_of(is_labelled=shard.is_labelled), rows, is_compiled=shard.is_compiled)
    is_row = pc.match_substring(batch.column("position"), "row=").to_numpy(zero_copy_only=False)
    is_compared = ~is_row | (chars > _PROSE_CHARS) | (not shard.speaks_for_itself)
    return {
        "digests": prints.digests,
        "numbers": prints.numbers,
        "bands": prints.bands,
        "shingles": prints.shingles,
        "lengths": pc.binary_length(texts).to_numpy(),
        "is_compared": is_compared,
    }


def _save_marks(marks: list[dict[str, NDArray[Any]]], folder: Path) -> None:
    joined = {name: np.concatenate([batch[name] for batch in marks]) for name in marks[0]}
    np.save(folder / BANDS, np.ascontiguousarray(joined.pop("bands").T))  # (bands, rows): read a band at a time
    np.savez(folder / MARKS, allow_pickle=False, **joined)


def _copy_decisions(documents: pa.Table, copies: pa.Table) -> list[Decision]:
    rows = documents.select(["id", "uri", "position", "text"]).to_pylist()
    return [
        Decision(row["id"], row["uri"], row["position"], _STEP_OF[rule], rule, "dropped", row["text"], kept)
        for row, rule, kept in zip(rows, copies["rule"].to_pylist(), copies["kept"].to_pylist(), strict=True)
    ]


_STEP_OF = {"near_copy": "near_duplicate", "same_text": "exact_duplicate", "other_label": "exact_duplicate"}


def _read_arrow(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as stream, pa.ipc.open_file(stream) as file:
        return file.read_all()


def _example(row: dict[str, Any]) -> dict[str, Any]:
    before, after = row["before"] or "", row["after"]
    if row["action"] != "dropped" and after is not None:
        start = first_difference(before, after, SHOWN_CHARS // 3)
        if before == after and row["step"] == "sensitive":  # both masked
            start = max(0, after.find(mark_of(row["rule"])) - SHOWN_CHARS // 3)
        before, after = before[start:], after[start : start + SHOWN_CHARS]
    return {"step": row["step"], "rule": row["rule"], "before": before[:SHOWN_CHARS], "after": after}
