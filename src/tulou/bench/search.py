"""`tulou bench search`: how fast the embedded index is built, asked and changed, how well it finds, what a kill costs.

One index of `rows` passages with given vectors, one question at a time. Recall is against comparing with every vector;
the kills are of real processes that add rows and say so, and what they said must be there afterwards.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tulou.bench.passages import DIMENSIONS, Passages, Question
from tulou.core.errors import DataError
from tulou.core.progress import Progress
from tulou.core.tables import PASSAGE
from tulou.data.search.hybrid import SearchIndex
from tulou.data.search.lance import UNREAD, LanceIndex

QUESTIONS = 500
RECALL_QUESTIONS = 200
KILL_ROUNDS = 12
_WARM_UP = 20
_GROUP = 8192
_K = 10
_ADDED_ROWS = 100
_KILL_AFTER_S = (0.05, 0.6)  # from the first acknowledged row
_WRITER_ROWS = 20
_START_TIMEOUT_S = 60


def bench_search(
    rows: int, progress: Progress, workdir: Path, seed: int = 0, asked: int = QUESTIONS, kills: int = KILL_ROUNDS
) -> dict[str, Any]:
    """Every figure of the search benchmark; `workdir` is filled and left for whoever wants to look."""
    corpus = Passages(rows, seed)
    built = _build(corpus, workdir / "index", progress)
    index = LanceIndex(workdir / "index")
    questions = corpus.questions(asked)
    with progress.bar("Ask", total=None, unit="questions"):
        answered = _asked(index, questions)
        found = _found(index, corpus, questions[:RECALL_QUESTIONS])
    with progress.bar("Change", total=None, unit="passages"):
        changed = _changed(index, rows)
    index.close()
    with progress.bar("Kill", total=kills, unit="rounds") as bar:
        killed = kill_rounds(workdir / "killed", kills, seed, bar.advance)
    return {"passages": rows, "dimensions": DIMENSIONS, **built, **answered, **found, **changed, **killed}


def _build(corpus: Passages, folder: Path, progress: Progress) -> dict[str, Any]:
    """Making the passages and vectors is not counted; segmenting, writing and indexing them is."""
    index = LanceIndex.create(folder, DIMENSIONS, readable_for=UNREAD)
    add_s = 0.0
    waiting: list[tuple[pa.RecordBatch, NDArray[np.float32]]] = []
    with progress.bar("Build", total=corpus.rows, unit="passages") as bar:
        for batch, vectors in corpus.batches():
            waiting.append((batch, vectors))
            held = sum(each.num_rows for each, _ in waiting)
            bar.advance(batch.num_rows)
            if held >= _GROUP:
                add_s += _added(index, waiting)
                waiting = []
        add_s += _added(index, waiting) if waiting else 0.0
        started = time.perf_counter()
        index.optimize()
        optimize_s = time.perf_counter() - started
    index.close()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "build_s": round(add_s + optimize_s, 2),
        "add_s": round(add_s, 2),
        "optimize_s": round(optimize_s, 2),
        "disk_bytes": size,
    }


def _added(index: SearchIndex, parts: Sequence[tuple[pa.RecordBatch, NDArray[np.float32]]]) -> float:
    batch = pa.concat_batches([each for each, _ in parts])
    vectors = np.concatenate([each for _, each in parts])
    started = time.perf_counter()
    index.add(batch, vectors)
    return time.perf_counter() - started


def _asked(index: SearchIndex, questions: Sequence[Question]) -> dict[str, Any]:
    ways: dict[str, Callable[[Question], object]] = {
        "hybrid": lambda question: index.search(question.text, question.vector, _K),
        "text": lambda question: index.search(question.text, None, _K),
        "vector": lambda question: index.search("", question.vector, _K),
        "filtered": lambda question: index.search(
            question.text, question.vector, _K, sources=["source1"], since="2026-03-01", until="2026-09-30"
        ),
    }
    figures: dict[str, Any] = {}
    for name, ask in ways.items():
        times_ms = _times_ms(ask, questions)
        for percent in (50, 99):
            figures[f"{name}_p{percent}_ms"] = round(float(np.percentile(times_ms, percent)), 2)
    return figures


def _times_ms(ask: Callable[[Question], object], questions: Sequence[Question]) -> list[float]:
    for question in questions[:_WARM_UP]:
        ask(question)
    times = []
    for question in questions:
        started = time.perf_counter()
        ask(question)
        times.append((time.perf_counter() - started) * 1000)
    return times


def _found(index: SearchIndex, corpus: Passages, questions: Sequence[Question]) -> dict[str, Any]:
    """Recall of the vector ranking against brute force, and how often the passage asked about is among the first 10."""
    exact = _exact(corpus, np.stack([question.vector for question in questions]))
    near = hits = 0
    for question, nearest in zip(questions, exact, strict=True):
        near += len(nearest & set(_nearest(index, question.vector)))
        hits += question.passage_id in {hit.passage.id for hit in index.search(question.text, question.vector, _K)}
    return {
        "vector_recall_at_10": round(near / (_K * len(questions)), 4),
        "hybrid_hit_at_10": round(hits / len(questions), 4),
    }


def _nearest(index: SearchIndex, vector: NDArray[np.float32]) -> list[str]:
    """Ids of the vector ranking alone. Asked for many, as a search varies the files among those it returns."""
    hits = sorted(index.search("", vector, 50), key=lambda hit: -hit.cosine)
    return [hit.passage.id for hit in hits[:_K]]


def _exact(corpus: Passages, queries: NDArray[np.float32]) -> list[set[str]]:
    best: list[list[tuple[float, str]]] = [[] for _ in queries]
    for batch, vectors in corpus.batches():
        ids = batch.column("id").to_pylist()
        similar = queries @ vectors.T  # (queries, rows)
        for place, row in enumerate(similar):
            top = np.argpartition(-row, min(_K, len(row) - 1))[:_K]
            best[place] = sorted([*best[place], *((float(row[at]), ids[at]) for at in top)], reverse=True)[:_K]
    return [{key for _, key in each} for each in best]


def _changed(index: SearchIndex, rows: int) -> dict[str, Any]:
    """Seconds from calling `add` until a search finds the rows, and the same for `delete`."""
    batch, vectors = _rows_of("added", 0, _ADDED_ROWS)
    started = time.perf_counter()
    index.add(batch, vectors)
    _until(lambda: bool(index.search("added-0-7", None, 1)))
    added_s = time.perf_counter() - started
    started = time.perf_counter()
    removed = index.delete(document_ids=batch.column("document_id").to_pylist())
    _until(lambda: not index.search("added-0-7", None, 1))
    deleted_s = time.perf_counter() - started
    if removed != _ADDED_ROWS or index.count() != rows:
        raise DataError(f"the index holds {index.count()} passages after adding and deleting, not {rows}")
    return {"add_100_searchable_s": round(added_s, 3), "delete_100_gone_s": round(deleted_s, 3)}


def _until(is_true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.perf_counter() + timeout_s
    while not is_true():
        if time.perf_counter() > deadline:
            raise DataError(f"a change of the index was not seen within {timeout_s:.0f} s")
        time.sleep(0.005)


def kill_rounds(folder: Path, rounds: int, seed: int, advance: Callable[[int], object]) -> dict[str, Any]:
    """Kill a process that adds rows, again and again; raises `DataError` if a row it acknowledged is not there."""
    LanceIndex.create(folder, DIMENSIONS).close()
    rng = np.random.default_rng(seed)
    acknowledged = 0
    recover_s: list[float] = []
    for number in range(rounds):
        acknowledged += _killed_writer(folder, number, float(rng.uniform(*_KILL_AFTER_S)))
        started = time.perf_counter()
        index = LanceIndex(folder)
        recover_s.append(time.perf_counter() - started)
        _require_whole(index, acknowledged)
        acknowledged = index.count()  # what was written but not acknowledged in time may be there too
        index.close()
        advance(1)
    return {
        "kill_rounds": rounds,
        "kill_rows_kept": acknowledged,
        "kill_rows_lost": 0,
        "kill_reopen_max_s": round(max(recover_s), 3),
    }


def _killed_writer(folder: Path, number: int, after_s: float) -> int:
    """Rows that a writer acknowledged before it was killed."""
    command = [sys.executable, "-m", "tulou.bench.search", str(folder), str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        try:
            first = writer.stdout.readline()
            time.sleep(after_s)
        finally:
            os.kill(writer.pid, signal.SIGKILL)
        said = [first, *writer.stdout.readlines()]
    return sum(_WRITER_ROWS for line in said if line.endswith("\n"))


def _require_whole(index: LanceIndex, acknowledged: int) -> None:
    """Every acknowledged row is there, found by its word, and the statistics are those of the rows."""
    count = index.count()
    if count < acknowledged or count % _WRITER_ROWS:
        raise DataError(f"{acknowledged} rows were acknowledged, {count} are there")
    index.require_consistent()
    if count and len(index.search("common", None, _WRITER_ROWS)) != min(count, _WRITER_ROWS):
        raise DataError("rows of the index are not found by their words")


def _rows_of(name: str, number: int, count: int) -> tuple[pa.RecordBatch, NDArray[np.float32]]:
    rows = [
        {
            **dict.fromkeys(PASSAGE.names, ""),
            "id": f"{name}-{number}-{row}",
            "document_id": f"{name}-{number}",
            "uri": f"{name}-{number}-{row}.md",
            "text": f"common {name}-{number}-{row}",
            "language": "en",
            "modified_at": "2026-11-01T00:00:00+00:00",
        }
        for row in range(count)
    ]
    vectors = np.random.default_rng((7, number)).normal(size=(count, DIMENSIONS)).astype(np.float32)
    return pa.RecordBatch.from_pylist(rows, schema=PASSAGE), vectors


def write_until_killed(folder: Path, number: int) -> None:
    """Add rows and acknowledge each addition with a line, until somebody kills this process."""
    index = LanceIndex(folder)
    addition = 0
    while True:
        index.add(*_rows_of(f"round{number}", addition, _WRITER_ROWS))
        if addition % 7 == 6:
            index.optimize()
        sys.stdout.write(f"{addition}\n")
        sys.stdout.flush()
        addition += 1


if __name__ == "__main__":
    write_until_killed(Path(sys.argv[1]), int(sys.argv[2]))
