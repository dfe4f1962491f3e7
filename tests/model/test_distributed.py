"""The same recipe in two processes under Ray Train."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file
from tests.model.test_classify import WORDS, settings, write_rows

from tulou.core.errors import ModelError
from tulou.core.progress import Silent
from tulou.core.settings import ModelSettings
from tulou.model.distributed import InThisProcess, RayTeam, open_launch
from tulou.model.finetune.classify import train_classifier

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


def launch(base: Path, rows: Path, home: Path, chosen: ModelSettings, **more: Any) -> dict[str, Any]:
    (home / "scratch").mkdir(parents=True, exist_ok=True)
    return RayTeam("local", 2)(
        train_classifier, examples=rows, out=home / "out", scratch=home / "scratch", settings=chosen, project=home,
        progress=Silent(), **more,
    )  # fmt: skip


def test_the_engine_is_chosen_by_its_url() -> None:
    made = {engine: open_launch(ModelSettings(task="embed", engine=engine)) for engine in ("local", "ray://head:10001")}
    assert isinstance(made["local"], InThisProcess)
    assert isinstance(made["ray://head:10001"], RayTeam)
    assert made["ray://head:10001"].address == "head:10001"


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_two_workers_learn_what_one_learns(bert_folder: Path, tmp_path: Path, sharding: str) -> None:
    rows = write_rows(tmp_path / "rows", WORDS)
    chosen = settings(bert_folder, 3).model_copy(update={"sharding": sharding})
    told: list[Mapping[str, float]] = []
    alone = train_classifier(rows, tmp_path / "alone", tmp_path / "s", chosen, tmp_path, Silent())
    facts = launch(bert_folder, rows, tmp_path / "team", chosen, report=told.append)
    assert facts["workers"] == 2
    assert [point["step"] for point in told] == [point["step"] for point in facts["history"]]
    losses = [[point["loss"] for point in made["history"]] for made in (alone, facts)]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
    one, other = (load_file(tmp_path / name / "head.safetensors")["weight"] for name in ("alone", "team/out"))
    assert (one - other).abs().max() < 0.01  # sums are rounded in another order


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_a_worker_killed_in_mid_run_costs_only_the_steps_since_the_checkpoint(
    bert_folder: Path, tmp_path: Path, sharding: str
) -> None:
    rows = write_rows(tmp_path / "rows", WORDS)
    chosen = settings(bert_folder, 12).model_copy(update={"checkpoint_steps": 4, "sharding": sharding})
    launch(bert_folder, rows, tmp_path / "whole", chosen)
    checkpoint = tmp_path / "cut" / "scratch" / "checkpoint.safetensors"
    killed: list[int] = []

    def kill() -> None:
        while not checkpoint.exists():
            time.sleep(0.01)
        for process in psutil.Process().children(recursive=True):
            if "TrainWorker" in process.name() or any("RayTrainWorker" in word for word in process.cmdline()):
                killed.append(process.pid)
                os.kill(process.pid, signal.SIGKILL)
                return

    threading.Thread(target=kill, daemon=True).start()
    facts = launch(bert_folder, rows, tmp_path / "cut", chosen)
    assert killed
    steps = [point["step"] for point in facts["history"]]
    assert steps == sorted(set(steps)), "no step is told twice"
    diary = (tmp_path / "cut" / "scratch" / "told.jsonl").read_text().splitlines()
    told = [entry["point"]["step"] for entry in map(json.loads, diary) if "point" in entry]
    assert all(told.count(step) == 1 for step in (1, 2, 3, 4)), "the steps before the checkpoint were not taken again"
    whole, resumed = (load_file(tmp_path / name / "out" / "head.safetensors") for name in ("whole", "cut"))
    assert whole["weight"].equal(resumed["weight"])


def test_what_the_recipe_says_in_a_worker_is_said_here(bert_folder: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", WORDS)
    long = settings(bert_folder).model_copy(update={"max_tokens": 65})
    with pytest.raises(ModelError, match="max_tokens 65 is beyond the 64 positions of"):
        launch(bert_folder, rows, tmp_path / "team", long)
