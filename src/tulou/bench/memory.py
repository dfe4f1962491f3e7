"""`tulou bench clean --memory`: millions of short documents, the memory they take, and a `kill -9` in the middle.

The killed run is resumed and must give, row for row, what the undisturbed run gave.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tulou.bench.clean import clean_output, run_clean, warm_up, watching, write_project
from tulou.bench.watched import kill_after, tulou_command
from tulou.core.progress import Progress, Silent

ROWS = 5_000_000
MEAN_BYTES = 400

_MIDDLE = 0.3  # of the clean stage; before its half, since a second run may be faster than the first
_BATCH_ROWS = 20_000


def bench_memory(
    rows: int, workdir: Path, kill: bool = False, progress: Progress | None = None, *, seed: int = 0
) -> dict[str, Any]:
    """Clean `rows` documents of about 400 bytes; with `kill`, once more with an accident."""
    progress = progress or Silent()
    project = workdir / "project"
    warm_up(workdir / "warm", rows, False, progress)
    corpus = write_project(project, rows, seed, MEAN_BYTES, False, progress)
    with watching(progress, "tulou run") as tick:
        run = run_clean(project, tick)
    by_name = {stage["name"]: stage for stage in run.stages}
    figures: dict[str, Any] = {
        "rows": rows,
        "bytes": corpus.bytes,
        "seconds": round(run.seconds, 1),
        "documents_per_s": round(rows / run.seconds, 1),
        "stages": [{"name": stage["name"], "seconds": stage["seconds"]} for stage in run.stages],
        "kept": by_name["clean.corpus"]["summary"]["kept"],
        "peak_rss_bytes": run.peak_rss_bytes,
        "peak_pss_bytes": run.peak_pss_bytes,
    }
    if kill:
        figures["kill"] = _with_accident(project, run.seconds, by_name["clean.corpus"]["seconds"], progress)
    return figures


def _with_accident(project: Path, whole_s: float, clean_s: float, progress: Progress) -> dict[str, Any]:
    expected = output_digest(clean_output(project))
    shutil.rmtree(project / ".tulou")
    command = tulou_command("run", "--until", "clean", project=project)
    with progress.bar("tulou run, killed in the middle"):
        killed = kill_after(whole_s - clean_s * (1 - _MIDDLE), command)
    with watching(progress, "tulou run, resumed") as tick:
        resumed = run_clean(project, tick)
    found = output_digest(clean_output(project))
    return {
        "killed_after_s": round(killed.seconds, 1),
        "orphans": killed.orphans,
        "resumed_s": round(resumed.seconds, 1),
        "cached_stages": [stage["name"] for stage in resumed.stages if stage["cached"]],
        "digest": expected,
        "digest_resumed": found,
        "is_same": expected == found,
    }


def output_digest(folder: Path) -> str:
    """Of every kept document and every decision, in order; how they are spread over files does not count."""
    digest = hashlib.sha256()
    for name, columns in (
        ("documents-*.parquet", ["id", "text"]),
        ("decisions*.parquet", ["record_id", "step", "rule", "action", "before", "after"]),
    ):
        for path in sorted(folder.glob(name)):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                    for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                        digest.update(repr(row).encode())
        digest.update(b"\0")
    return digest.hexdigest()
