from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tulou.bootstrap import budget
from tulou.bootstrap.earlier import Earlier
from tulou.bootstrap.pipeline import build_pipeline
from tulou.bootstrap.project import Project
from tulou.core.progress import Silent
from tulou.core.stage import Pipeline, Stage, StageContext, StageResult, write_json
from tulou.model.budget import Prediction

SETTINGS = """
[[data.source]]
name = "tickets"
url = "tickets.csv"
label = "intent"

[model.intents]
task = "classify"
source = "tickets"

[model.compress]
methods = METHODS
"""


class Unseen:
    def started(self, stage: Stage, index: int, total: int) -> None:
        pass

    def finished(self, result: StageResult, index: int, total: int) -> None:
        pass


def nothing(context: StageContext) -> dict[str, Any]:
    return {"epochs": 5}


def stages(data: str = "a", train: Any = None, search: Any = None) -> list[Stage]:
    return [
        Stage("collect", nothing, raw=lambda: data),
        Stage("train", nothing, inputs=("collect",), settings=train),
        Stage("compress", nothing, inputs=("train",), settings=search),
    ]


def difference(root: Path, changed: list[Stage]) -> str | None:
    pipeline = Pipeline(changed, root)
    return Earlier({each.stage.name: each for each in pipeline.todo()}, pipeline.latest()).difference("compress")


def test_an_earlier_run_is_believed_only_where_what_costs_was_the_same(tmp_path: Path) -> None:
    Pipeline(stages(train={"base": "a", "epochs": 5, "seed": 0}, search={"methods": ("int8",)}), tmp_path).run(
        Silent(), Unseen()
    )
    same: dict[str, Any] = {"train": {"base": "a", "epochs": 5, "seed": 0}, "search": {"methods": ["int8"]}}
    assert difference(tmp_path, stages(**same)) is None
    assert difference(tmp_path, stages(**same | {"search": {"methods": ("int8", "bf16")}})) == "other settings"
    assert difference(tmp_path, stages(**same | {"train": {"base": "b", "epochs": 5, "seed": 0}})) == "other settings"
    assert difference(tmp_path, stages(**same | {"train": {"base": "a", "epochs": 9, "seed": 1}})) is None
    assert difference(tmp_path, stages("b", **same)) == "other data"


def opened(folder: Path, methods: str) -> Project:
    (folder / "tulou.toml").write_text(SETTINGS.replace("METHODS", methods))
    return Project.open(folder)


def predicted(project: Project, stage: str, home: Path) -> Prediction:
    pipeline = build_pipeline(project)
    todo = {each.stage.name: each for each in pipeline.todo(stage)}
    return budget._predict(project, todo[stage], {}, Earlier(todo, pipeline.latest()), {}, home)


def remember(project: Project, seconds: dict[str, float]) -> None:
    """As if each stage of `seconds` had run with the settings of now."""
    found = {each.stage.name: each for each in build_pipeline(project).todo() if each.stage.name in seconds}
    for name, each in found.items():
        facts = {"title": "", "summary": {"epochs": 5}, "peak_rss_bytes": 1 << 30, "finished_at": 0.0}
        inputs = dict.fromkeys(each.stage.inputs, "as before")
        done = {"settings": each.stage.settings, "inputs": inputs, "code": {}, "seconds": seconds[name]}
        path = project.stages / name / each.fingerprint / "stage.json"
        write_json(path, {**facts, **done, "name": name, "fingerprint": each.fingerprint})
    write_json(project.stages / "latest.json", {"stages": {name: each.fingerprint for name, each in found.items()}})


def test_a_search_of_more_candidates_is_not_told_as_the_last_one_took(tmp_path: Path) -> None:
    (tmp_path / "tickets.csv").write_text("text,intent\nhello,a\n")
    before = opened(tmp_path, '["int8"]')
    upstream = ("collect.tickets", "clean.tickets", "split.intents", "train.intents", "compress.intents")
    remember(before, {**dict.fromkeys(upstream, 1.0), "train.intents": 300.0, "compress.intents": 60.0})
    assert predicted(before, "compress.intents", tmp_path).seconds == 60
    now = opened(tmp_path, '["int8", "bf16", "trim+prune@0.5+int8"]')
    told = predicted(now, "compress.intents", tmp_path)
    assert told.basis == "earlier run"
    assert told.caution == "scaled to 3 candidates, 1 trained again"
    assert told.seconds == pytest.approx(4 * 30 + 6 * 60)
