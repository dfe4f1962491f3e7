"""Every engine gives the same output, row for row, whoever is killed on the way."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tulou.core.progress import Silent
from tulou.core.settings import CleanSettings
from tulou.data.clean import clean, pipeline
from tulou.data.engine import Engine, InProcess, ProcessPool, RayCluster
from tulou.data.parquet import read_batches

WriteDocuments = Callable[..., Path]


@pytest.fixture
def documents(write_documents: WriteDocuments, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Some dirty records in seven shards, with copies across them."""
    monkeypatch.setattr(pipeline, "_SHARD_ROWS", 100)
    monkeypatch.setattr("tulou.data.parquet._GROUP_ROWS", 100)
    rows: list[dict[str, Any]] = []
    for n in range(700):
        text = (
            f"第{n % 300}单的包裹昨天寄到了，箱子有点破，联系电话是138{n % 300:08d}，谢谢。"
            if n % 2
            else f"Order {n} came late.  "
        )
        rows.append({"text": text + "<b>!</b>" * (n % 5 == 0), "position": ""})
    return write_documents(rows)


def digest(out: Path) -> str:
    total = hashlib.sha256()
    for name in ("documents", "decisions"):
        for batch in read_batches(out, name):
            for row in batch.to_pylist():
                total.update(repr(row).encode())
    return total.hexdigest()


def cleaned(documents: Path, out: Path, engine: Engine) -> tuple[str, dict[str, Any]]:
    with engine:
        summary = clean(documents, out, CleanSettings(), Silent(), engine=engine, speaks_for_itself=False)
    return digest(out), {name: summary[name] for name in ("in", "kept", "dropped", "changed", "examples", "copies")}


def test_a_pool_gives_what_one_process_gives(documents: Path, tmp_path: Path) -> None:
    one = cleaned(documents, tmp_path / "one", InProcess())
    assert one[1]["in"] == 700
    assert one[1]["dropped"]["exact_duplicate.same_text"] > 100
    assert len(list((tmp_path / "one").glob("documents-*.parquet"))) == 7
    assert cleaned(documents, tmp_path / "pool", ProcessPool(2)) == one


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_gives_what_one_process_gives_though_a_worker_is_killed(documents: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    one = cleaned(documents, tmp_path / "one", InProcess())
    assert cleaned(documents, tmp_path / "ray", RayCluster("local", 2)) == one
    killed: list[int] = []

    def kill_a_worker() -> None:
        for _ in range(600):
            for process in psutil.Process().children(recursive=True):
                name = " ".join(process.cmdline()) if process.is_running() else ""
                if name.startswith("ray::Map"):
                    process.kill()
                    killed.append(process.pid)
                    return
            time.sleep(0.02)

    hunter = threading.Thread(target=kill_a_worker)
    hunter.start()
    again = cleaned(documents, tmp_path / "killed", RayCluster("local", 2))
    hunter.join()
    assert killed
    assert again == one


def test_a_killed_run_goes_on_where_it_was(documents: Path, tmp_path: Path) -> None:
    expected = cleaned(documents, tmp_path / "one", InProcess())[0]
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    script = (
        "import sys; from pathlib import Path; from tulou.core.progress import Silent\n"
        "from tulou.core.settings import CleanSettings; from tulou.data.clean import clean, pipeline\n"
        "pipeline._SHARD_ROWS = 100\n"
        "a, b, c = map(Path, sys.argv[1:])\n"
        "clean(a, b, CleanSettings(), Silent(), speaks_for_itself=False, scratch=c)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script, str(documents), str(out), str(scratch)])
    deadline = time.monotonic() + 60
    while len(list(scratch.glob("shard-?????"))) < 3 and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    before = {path.name: path.stat().st_mtime_ns for path in scratch.glob("shard-?????")}
    assert 3 <= len(before) < 7
    clean(documents, out, CleanSettings(), Silent(), speaks_for_itself=False, scratch=scratch)
    assert digest(out) == expected
    after = {path.name: path.stat().st_mtime_ns for path in scratch.glob("shard-?????")}
    assert len(after) == 7
