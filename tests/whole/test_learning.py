"""Every way to learn, through the command line: an encoder from pairs, a base read on, LoRA, preferences."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.whole.conftest import PROJECT, write_shop
from tests.whole.test_other_base import make_qwen3

Tulou = Callable[..., subprocess.CompletedProcess[str]]

LEARNING = """
[model.encoder]
task = "embed"
base = "minilm"
pairs = ["passages"]
epochs = 1
"""


@pytest.mark.slow
def test_a_project_learns_in_every_way(tulou: Tulou, tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    make_qwen3(shop / "bases" / "tiny-qwen3")
    asked = (
        'base = "bases/tiny-qwen3"\npretrain = { tokens = 4096, row_tokens = 64 }\nmethod = "lora"\npreference = true'
    )
    (shop / "tulou.toml").write_text(PROJECT.replace('base = "scratch"', asked) + LEARNING, encoding="utf-8")
    ran = tulou("run", "--until", "prefer.assistant", "--json", "--project", str(shop))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    made = {stage["name"]: stage["summary"] for stage in json.loads(ran.stdout)["stages"]}
    assert made["pretrain.assistant"]["fertility"].keys() == {"own", "minilm"}
    assert made["finetune.assistant"]["method"] == "lora"
    assert made["finetune.assistant"]["history"][-1]["tokens_s"] > 0
    assert made["prefer.assistant"]["skipped"] == "no correction and no pair of thumbs to learn from yet"
    ran = tulou("run", "--until", "train.encoder", "--json", "--project", str(shop))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    summary = json.loads(ran.stdout)["stages"][-1]["summary"]
    assert summary["mrr"] is None or summary["mrr"] >= summary["base_mrr"]
    assert summary["mlflow_run"]


@pytest.mark.slow
def test_a_project_trains_under_ray(tulou: Tulou, tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    asked = 'base = "scratch"\nengine = "ray://local"\nworkers = 2\npretrain = { tokens = 8192, row_tokens = 64 }'
    (shop / "tulou.toml").write_text(PROJECT.replace('base = "scratch"', asked), encoding="utf-8")
    ran = tulou("run", "--until", "finetune.assistant", "--json", "--project", str(shop))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    made = {stage["name"]: stage["summary"] for stage in json.loads(ran.stdout)["stages"]}
    assert made["pretrain.assistant"]["workers"] == made["finetune.assistant"]["workers"] == 2
    assert made["finetune.assistant"]["mlflow_run"]
