"""The cleaning of one source: shard by shard in any engine, with copies found among all shards in between.

Records never are in memory all at once: shards are prepared one by one (every step that looks at one record, then
fingerprints), copies are found from the fingerprints, and the clean records are written out. Every change and loss is a
decision, written with the text before and after, in which sensitive values are always masked. What is in `scratch` is
used again after a kill. The output does not depend on the engine, the number of workers or the number of kills.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tulou.core.progress import Progress
from tulou.core.settings import CleanSettings
from tulou.data.clean.job import EXAMPLES_PER_RULE, LENGTH_EDGES, Shard
from tulou.data.engine import Engine, InProcess
from tulou.data.parquet import parquet_files, read_batches

_SHARD_ROWS = 8192
_SHARD_BYTES = 64 << 20
_COMPILED_ROWS = 500  # below, compiling once takes longer than it saves


def clean(
    documents: Path,
    out: Path,
    settings: CleanSettings,
    progress: Progress,
    *,
    project: Path = Path(),
    token_key: bytes | None = None,
    speaks_for_itself: bool = True,
    engine: Engine | None = None,
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Read DOCUMENT rows from the folder `documents`; write `documents-*.parquet` and `decisions-*.parquet` to `out`.

    Returns counts of records in, kept, and dropped or changed by "step.rule", with a few examples each, and what each
    step took. `token_key` is wanted only where a kind of sensitive data is to be tokenized; without it that raises
    `SettingsError`. Paths in `settings` are relative to `project`. `speaks_for_itself` says that rows of tables have no
    text columns of their own; such short rows are not compared with each other. Without an `engine` the work is done
    in this process.
    """
    home = scratch or out / "scratch"
    out.mkdir(parents=True, exist_ok=True)
    is_labelled = _has_labels(documents)
    parts = _parts(documents)
    total = sum(rows for rows, _ in parts)
    shards = [
        Shard(
            number=number,
            rows=rows,
            pieces=pieces,
            folder=home / f"shard-{number:05d}",
            out=out,
            project=project,
            settings=settings,
            is_labelled=is_labelled,
            speaks_for_itself=speaks_for_itself and not is_labelled,
            is_compiled=total >= _COMPILED_ROWS,
            token_key=token_key,
        )
        for number, (rows, pieces) in enumerate(parts)
    ]
    if engine is None or len(shards) == 1:  # no worker is worth its start
        engine = InProcess()
    if settings.spelling != "off":
        words = _learn_words(shards, home / "words", engine, progress)
        shards = [replace(shard, words=words) for shard in shards]
    with progress.bar("clean", total=total, unit="records") as bar:
        for number in engine.map(prepare, shards):
            bar.advance(shards[number].rows)
    started = time.perf_counter()
    with progress.bar("find copies"):
        [copies] = engine.map(find_copies, [tuple(shards)])
    copies_s = round(time.perf_counter() - started, 3)
    with progress.bar("write", total=total, unit="records") as bar:
        summaries = []
        for shard, summary in zip(shards, engine.map(finish, shards), strict=True):
            summaries.append(summary)
            bar.advance(shard.rows)
    if scratch is None:
        shutil.rmtree(home)
    merged = _merged(summaries)
    gone = copies["exact"] + copies["near"]
    compared = {"name": "copies", "in": merged["kept"] + gone, "out": merged["kept"], "seconds": copies_s}
    return {**merged, "steps": [*merged["steps"], compared], "copies": copies}


# What the work takes is loaded by whoever does it: workers have it already, and this process starts at once.


def count_words(shard: Shard) -> Path:
    """What the speller wants to know of this shard's texts, once they are otherwise clean; returns its folder."""
    from tulou.data.clean import shard as work

    return work.count_words(shard)


def prepare(shard: Shard) -> int:
    """Everything but copies, into the shard's folder; returns the shard's number."""
    from tulou.data.clean import shard as work

    return work.prepare(shard)


def find_copies(shards: tuple[Shard, ...]) -> dict[str, int]:
    """Say in each shard's folder which of its rows are copies; returns how many there are among all."""
    from tulou.data.clean import copies

    settings, is_labelled = shards[0].settings, shards[0].is_labelled
    wanted = copies.CopySettings(
        threshold=settings.near_duplicate_similarity,
        unit=copies.unit_of(is_labelled=is_labelled),
        is_labelled=is_labelled,
        do_numbers_differ=settings.near_duplicate_numbers == "differ",
        finds_exact="exact_duplicate" not in settings.off,
        finds_near="near_duplicate" not in settings.off,
    )
    return copies.find_copies([shard.folder for shard in shards], wanted)


def finish(shard: Shard) -> dict[str, Any]:
    """Write `documents-N.parquet` and `decisions-N.parquet` into `shard.out`; returns the shard's whole summary."""
    from tulou.data.clean import shard as work

    return work.finish(shard)


def _has_labels(documents: Path) -> bool:
    return any(
        batch.column("label").null_count < batch.num_rows for batch in read_batches(documents, columns=["label"])
    )


Pieces = tuple[tuple[str, tuple[int, ...]], ...]


def _parts(documents: Path) -> list[tuple[int, Pieces]]:
    """The input in shards of whole row groups: rows, and which groups of which file. At least one."""
    parts: list[tuple[int, Pieces]] = []
    rows = size = 0
    pieces: dict[str, tuple[int, ...]] = {}
    for path in parquet_files(documents):
        metadata = pq.read_metadata(path)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            rows += group.num_rows
            size += group.total_byte_size
            pieces[str(path)] = (*pieces.get(str(path), ()), number)
            if rows >= _SHARD_ROWS or size >= _SHARD_BYTES:
                parts.append((rows, tuple(pieces.items())))
                rows, size, pieces = 0, 0, {}
    if pieces or not parts:
        parts.append((rows, tuple(pieces.items())))
    return parts


def _learn_words(shards: Sequence[Shard], folder: Path, engine: Engine, progress: Progress) -> Path:
    """What the speller learns from all records, into `folder`."""
    from tulou.data.clean.spelling import Counts

    if not folder.exists():
        with progress.bar("learn words", total=sum(shard.rows for shard in shards), unit="records") as bar:
            counts = Counts()
            for shard, counted in zip(shards, engine.map(count_words, shards), strict=True):
                counts.merge(Counts.load(counted))
                bar.advance(shard.rows)
            counts.save(folder)
    return folder


def _merged(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    dropped: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    reported: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    steps: dict[str, list[float]] = {}
    lengths = [0] * (len(LENGTH_EDGES) - 1)
    examples = []
    for summary in summaries:
        dropped.update(summary["dropped"])
        changed.update(summary["changed"])
        reported.update(summary["reported"])
        languages.update(summary["languages"])
        lengths = [a + b for a, b in zip(lengths, summary["lengths"], strict=True)]
        for name, numbers in summary["steps"].items():
            known = steps.setdefault(name, [0, 0, 0.0])
            steps[name] = [a + b for a, b in zip(known, numbers, strict=True)]
        for example in summary["examples"]:
            rule = f"{example['step']}.{example['rule']}"
            shown[rule] += 1
            if shown[rule] <= EXAMPLES_PER_RULE:
                examples.append(example)
    return {
        "in": sum(summary["in"] for summary in summaries),
        "kept": sum(summary["kept"] for summary in summaries),
        "dropped": dict(dropped.most_common()),
        "changed": dict(changed.most_common()),
        "reported": dict(reported.most_common()),
        "examples": examples,
        "steps": [
            {"name": name, "in": int(rows_in), "out": int(rows_out), "seconds": round(seconds, 3)}
            for name, (rows_in, rows_out, seconds) in steps.items()
        ],
        "languages": dict(languages.most_common()),
        "lengths": [
            {"from": low, "to": high, "records": records}
            for low, high, records in zip(LENGTH_EDGES, LENGTH_EDGES[1:], lengths, strict=False)
        ],
    }
