from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tulou.bootstrap import assistant
from tulou.bootstrap.pipeline import build_pipeline, require_bases
from tulou.bootstrap.project import Project
from tulou.core.errors import ModelError
from tulou.core.progress import Silent
from tulou.core.stage import Stage, StageContext, code_digest

SETTINGS = """
[data]
store = "memory://user:hunter2@host/store"

[[data.source]]
name = "notes"
url = "notes/*.md"

[[data.source]]
name = "tickets"
url = "tickets/*.csv"
label = "intent"

[model.intents]
task = "classify"
source = "tickets"

[model.assistant]
task = "chat"
base = "scratch"
"""


@dataclass
class FakeVersion:
    fingerprint: str


class FakeRegistry:
    def __init__(self) -> None:
        self.serving: dict[str, FakeVersion] = {}

    def champion(self, name: str) -> FakeVersion | None:
        return self.serving.get(name)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "tulou.toml").write_text(SETTINGS)
    (tmp_path / "exam").mkdir()
    (tmp_path / "exam" / "questions.jsonl").touch()
    return Project.open(tmp_path)


def stage(project: Project, name: str) -> Stage:
    return next(each for each in build_pipeline(project).stages if each.name == name)


def raw(project: Project, name: str) -> str:
    digest = stage(project, name).raw
    assert digest is not None
    return digest()


def test_all_code_that_stages_name_is_there(project: Project) -> None:
    for each in build_pipeline(project).stages:
        for module in each.code:
            assert code_digest(module), (each.name, module)


def test_a_password_in_the_store_url_is_kept_nowhere(project: Project, tmp_path: Path) -> None:
    store = stage(project, "store")
    made = tmp_path / "made"
    made.mkdir()
    context = StageContext(made, made, {f"clean.{name}": made for name in ("notes", "tickets")}, "f", Silent(), "store")
    summary: dict[str, Any] = {}
    try:
        summary = store.run(context)
    finally:
        assert "hunter2" not in json.dumps([store.settings, summary])
    assert summary["url"] == "memory://host/store"


def test_another_store_is_another_fingerprint(project: Project) -> None:
    before = stage(project, "store").settings
    (project.folder / "tulou.toml").write_text(SETTINGS.replace("hunter2", "hunter3"))
    assert stage(Project.open(project.folder), "store").settings != before


def test_a_reader_installed_later_collects_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    missing = {"rapidocr", "pocketsphinx"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else found("json"))
    before = raw(project, "collect.notes")
    assert raw(project, "collect.notes") == before
    missing.remove("rapidocr")
    assert raw(project, "collect.notes") != before


def test_the_exam_is_taken_again_when_other_versions_serve(project: Project) -> None:
    registry = FakeRegistry()
    project.__dict__["registry"] = registry
    digests = [raw(project, "exam")]
    for fingerprint in ("a", "b"):
        registry.serving["assistant"] = FakeVersion(fingerprint)
        digests.append(raw(project, "exam"))
    assert len(set(digests)) == 3


def test_an_exam_without_off_topic_questions_is_one(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def nobody(*_: object) -> AsyncIterator[None]:
        yield None

    monkeypatch.setattr(assistant, "local_apps", nobody)
    score = asyncio.run(assistant.exam(project, Silent()))
    assert (score["questions"], score["off_topic"]) == (0, 0)


def test_each_way_to_train_is_a_stage_before_what_needs_it(project: Project) -> None:
    (project.folder / "tulou.toml").write_text(
        SETTINGS
        + """
preference = true

[model.writer]
task = "chat"
base = "bases/qwen"
pretrain = { tokens = 1000 }

[model.finder]
task = "embed"
source = "tickets"
pairs = ["passages", "feedback"]

[model.judge]
task = "rerank"
base = "bases/reranker"
"""
    )
    stages = {stage.name: stage for stage in build_pipeline(Project.open(project.folder)).stages}
    assert stages["prefer.assistant"].inputs == ("finetune.assistant",)
    assert stages["compress.assistant"].inputs[0] == "prefer.assistant"
    assert "pretrain.writer" in stages["finetune.writer"].inputs
    assert {"pretrain.writer", "finetune.writer"} <= set(stages["card.writer"].inputs)
    assert {"finetune.assistant", "prefer.assistant"} <= set(stages["card.assistant"].inputs)
    assert stages["pairs.finder"].inputs == ("passages", "clean.tickets")
    assert stages["compress.finder"].inputs == ("train.finder",)
    assert list(stages).index("compress.finder") < list(stages).index("index")
    assert stages["card.judge"].inputs == ("index", "compress.finder", "compress.judge", "parity.judge")
    assert "register.judge" in stages["exam"].inputs


def test_a_base_without_a_tokenizer_is_refused_before_the_first_stage_and_only_where_it_is_wanted(
    tmp_path: Path,
) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).touch()
    (tmp_path / "tulou.toml").write_text(SETTINGS.replace('task = "classify"', 'task = "classify"\nbase = "mine"'))
    project = Project.open(tmp_path)
    pipeline = build_pipeline(project)
    require_bases(project, pipeline, "split.intents")
    with pytest.raises(ModelError, match=r"mine has no tokenizer\.json"):
        require_bases(project, pipeline)
