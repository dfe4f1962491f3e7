"""`tulou bench clean`: the real pipeline on a labelled dirty corpus, timed from outside and judged by what it left.

Each run is `tulou run --until clean` in a fresh project, a process of its own, so that start, reading, lineage and
writing are all in the figure. Peers get the same file in the same session. Small corpora are cleaned three times and
the median counts, because one run on a shared machine says little.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tulou.bench.corpus import Corpus, read_texts, read_truth, write_corpus
from tulou.bench.peers import PEERS, Peer, environment, run_peer
from tulou.bench.scoring import Result, score
from tulou.bench.watched import Finished, Tick, run_watched, tulou_command, unseen
from tulou.core.progress import Bar, Progress, Silent
from tulou.core.settings import SENSITIVE_KINDS

CHECKED_KINDS = tuple(kind for kind in SENSITIVE_KINDS if kind not in ("person", "address"))
"""What is found by its form and its check digits; persons and addresses take word lists, and four times as long."""

MASKS = {kind: f"[{kind}]" for kind in SENSITIVE_KINDS}

_SMALL_ROWS = 250_000
_RUNS = 3
_WARM_ROWS = 8_000  # at most; a few documents are cleaned without compiled loops and would warm nothing up
_WARM_BYTES = 300
_ROW = re.compile(r"row=(\d+)$")
_ENVIRON = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
_PROJECT = """\
[project]
name = "bench"

[[data.source]]
name = "corpus"
url = "data/corpus.jsonl"
text = ["text"]

[data.clean]
near_duplicate_similarity = 0.8
near_duplicate_numbers = "ignore"  # the truth and the peers know nothing of numbers that state other facts
spelling = "{spelling}"

[data.clean.sensitive]
{sensitive}
"""


@dataclass(frozen=True)
class Cleaned:
    """One run of our pipeline."""

    seconds: float  # of the whole process
    stages: list[dict[str, Any]]  # name, seconds, summary
    peak_rss_bytes: int
    peak_pss_bytes: int


def bench_clean(
    rows: int,
    workdir: Path,
    peers: Collection[str] = (),
    progress: Progress | None = None,
    *,
    seed: int = 0,
    mean_bytes: int = 900,
    spelling: bool = False,
) -> dict[str, Any]:
    """Write a corpus into `workdir`, clean it, score it. Returns one object with every figure."""
    progress = progress or Silent()
    project = workdir / "project"
    first_s = warm_up(workdir / "warm", rows, spelling, progress)
    corpus = write_project(project, rows, seed, mean_bytes, spelling, progress)
    runs = []
    for number in range(_RUNS if rows <= _SMALL_ROWS else 1):
        shutil.rmtree(project / ".tulou", ignore_errors=True)
        with watching(progress, f"tulou run, {number + 1}") as tick:
            runs.append(run_clean(project, tick))
    write_settings(project, spelling, tuple(SENSITIVE_KINDS))  # quality is judged with every kind masked
    with watching(progress, "tulou run, every kind of sensitive data") as tick:
        every_kind = run_clean(project, tick)
    median = sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
    with progress.bar("score") as bar:
        truth, raw = read_truth(corpus), list(read_texts(corpus.documents))
        bar.advance(rows)
        figures: dict[str, Any] = {
            "rows": rows,
            "bytes": corpus.bytes,
            "seed": seed,
            "machine": {
                "cores": os.cpu_count(),
                "processor": platform.processor(),
                "python": platform.python_version(),
            },
            "tulou": {
                **_speed(rows, median.seconds, sum(stage["seconds"] for stage in median.stages)),
                "warm_up_s": first_s,
                "runs_s": [round(run.seconds, 3) for run in runs],
                "clean_s_every_kind": every_kind.stages[-1]["seconds"],
                "stages": [_stage(stage, rows) for stage in median.stages],
                "peak_rss_bytes": median.peak_rss_bytes,
                "peak_pss_bytes": median.peak_pss_bytes,
                "quality": score(truth, raw, read_result(project)),
            },
        }
    figures["peers"] = {
        peer.name: _measure(peer, corpus, workdir / peer.name, truth, raw, progress)
        for peer in PEERS
        if peer.name in peers
    }
    for peer in figures["peers"].values():
        peer["ratio"] = round(figures["tulou"]["documents_per_s"] / peer["documents_per_s"], 1)
        peer["ratio_without_start"] = round(
            figures["tulou"]["documents_per_s_without_start"] / peer["documents_per_s_without_start"], 1
        )
    return figures


def write_project(project: Path, rows: int, seed: int, mean_bytes: int, spelling: bool, progress: Progress) -> Corpus:
    """A fresh project folder with the corpus as its only source; sensitive data with a form are masked."""
    shutil.rmtree(project, ignore_errors=True)
    (project / "data").mkdir(parents=True)
    write_settings(project, spelling, CHECKED_KINDS)
    return write_corpus(project / "data" / "corpus.jsonl", rows, seed, mean_bytes, progress=progress)


def write_settings(project: Path, spelling: bool, masked: Collection[str]) -> None:
    lines = "\n".join(f'{kind} = "{"mask" if kind in masked else "keep"}"' for kind in SENSITIVE_KINDS)
    settings = _PROJECT.format(spelling="correct" if spelling else "off", sensitive=lines)
    (project / "tulou.toml").write_text(settings, encoding="utf-8")


def warm_up(project: Path, rows: int, spelling: bool, progress: Progress) -> float:
    """Seconds of a first, small run, in which the loops are compiled: once for each installed version."""
    write_project(project, min(rows, _WARM_ROWS), 1, _WARM_BYTES, spelling, Silent())
    with watching(progress, "tulou run, to compile its loops") as tick:
        return round(run_clean(project, tick).seconds, 3)


def run_clean(project: Path, tick: Tick = unseen) -> Cleaned:
    """`tulou run --until clean`, watched."""
    done: Finished = run_watched(tulou_command("run", "--until", "clean", project=project), environ=_ENVIRON, tick=tick)
    answer = json.loads(done.stdout)
    return Cleaned(done.seconds, answer["stages"], done.peak_rss_bytes, done.peak_pss_bytes)


def clean_output(project: Path) -> Path:
    """The folder of the clean stage's latest output."""
    latest = json.loads((project / ".tulou" / "stages" / "latest.json").read_text(encoding="utf-8"))["stages"]
    return project / ".tulou" / "stages" / "clean.corpus" / str(latest["clean.corpus"])


def read_result(project: Path) -> Result:
    """What our pipeline left, and what its decisions say about lost documents and spelling."""
    folder = clean_output(project)
    texts: dict[int, str] = {}
    for path in sorted(folder.glob("documents-*.parquet")):
        for row in pq.read_table(path, columns=["position", "text"]).to_pylist():
            texts[_row(row["position"])] = row["text"]
    lost_to: dict[int, str] = {}
    spelled: dict[int, tuple[str, str]] = {}
    columns = ["position", "step", "rule", "action", "before", "after"]
    for path in sorted(folder.glob("decisions*.parquet")):
        for row in pq.read_table(path, columns=columns).to_pylist():
            if row["action"] == "dropped":
                lost_to[_row(row["position"])] = f"{row['step']}.{row['rule']}"
            elif row["step"] == "spelling":
                spelled[_row(row["position"])] = (row["before"] or "", row["after"] or "")
    return Result(texts, MASKS, lost_to, spelled)


def _row(position: str) -> int:
    found = _ROW.search(position)
    if found is None:
        raise ValueError(f"position {position!r} does not end in row=N")
    return int(found[1])


def _measure(
    peer: Peer, corpus: Corpus, out: Path, truth: list[dict[str, Any]], raw: list[str], progress: Progress
) -> dict[str, Any]:
    with progress.bar(f"install {peer.name}"):
        python = environment(peer.name)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with watching(progress, f"{peer.name}") as tick:
        run = run_peer(peer, python, corpus.documents, out, os.cpu_count() or 1, tick)
    return {
        **_speed(corpus.rows, run.seconds, sum(run.inside.values())),
        "version": run.version,
        "steps_s": dict(run.inside),
        "peak_rss_bytes": run.peak_rss_bytes,
        "peak_pss_bytes": run.peak_pss_bytes,
        "quality": score(truth, raw, Result(run.texts, peer.masks)),
    }


def _speed(rows: int, seconds: float, inside_s: float) -> dict[str, float]:
    """End to end as a person waits for it, and without the time the program takes to start."""
    return {
        "seconds": round(seconds, 3),
        "documents_per_s": round(rows / seconds, 1),
        "documents_per_s_without_start": round(rows / inside_s, 1),
    }


def _stage(stage: dict[str, Any], rows: int) -> dict[str, Any]:
    return {
        "name": stage["name"],
        "seconds": stage["seconds"],
        "documents_per_s": round(rows / max(stage["seconds"], 1e-3), 1),
        "steps": stage["summary"].get("steps", []),
    }


@contextmanager
def watching(progress: Progress, title: str) -> Iterator[Tick]:
    """A bar that shows seconds and memory of a child process."""
    with progress.bar(title) as bar:
        yield lambda seconds, memory: _note(bar, seconds, memory)


def _note(bar: Bar, seconds: float, memory: int) -> None:
    bar.note(f"{seconds:.0f} s, {memory / 1e6:,.0f} MB")
