from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tulou.bench.passages import DIMENSIONS, Passages
from tulou.bench.search import bench_search
from tulou.core.progress import Silent


def test_passages_of_a_seed_are_always_the_same_and_questions_lie_near_theirs() -> None:
    [(first, vectors)] = Passages(300, 3).batches()
    [(again, _)] = Passages(300, 3).batches()
    assert first.equals(again)
    assert vectors.shape == (300, DIMENSIONS)
    place = {key: number for number, key in enumerate(first.column("id").to_pylist())}
    for question in Passages(300, 3).questions(20):
        assert int(np.argmax(vectors @ question.vector)) == place[question.passage_id]
    assert set(first.column("language").to_pylist()) == {"zh", "en"}


def test_the_benchmark_says_every_figure(tmp_path: Path) -> None:
    figures = bench_search(600, Silent(), tmp_path, asked=20, kills=1)
    json.dumps(figures)
    assert figures["vector_recall_at_10"] == 1.0
    assert figures["hybrid_hit_at_10"] > 0.95
    assert figures["kill_rows_lost"] == 0
    assert {"build_s", "hybrid_p50_ms", "hybrid_p99_ms", "filtered_p99_ms", "add_100_searchable_s"} <= set(figures)
