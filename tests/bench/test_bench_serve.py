"""The benchmark of accidents, in small: a replica dies and a version comes, and nobody notices."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tulou.bench import serve


@pytest.mark.skipif(shutil.which("wrk") is None, reason="the load comes from wrk")
def test_kills_and_promotions_cost_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "KILL_EVERY_S", 0.6)
    monkeypatch.setattr(serve, "ROUND_S", 2.0)
    monkeypatch.setattr(serve, "PROMOTIONS", 1)
    figures = serve.bench_serve(tmp_path, 600)
    assert set(figures) == {"kills", "promotions"}
    assert figures["kills"]["accidents"] >= 1
    for run in figures.values():
        assert run["requests"] >= 600
        assert run["failures"] == 0
