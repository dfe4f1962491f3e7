"""From the registry to a running service: who serves, who is tried out, and when it may have more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tulou.bootstrap import rollout
from tulou.bootstrap.project import Project
from tulou.bootstrap.rollout import advance, roll_back, try_out, wanted
from tulou.cli import app
from tulou.core.errors import ModelError
from tulou.core.manifest import write_manifest
from tulou.core.state import requests
from tulou.core.types import ModelManifest
from tulou.model.registry import Candidate

TOML = """
[model.assistant]
task = "chat"
base = "scratch"

[rollout]
steps = [0.1, 0.5, 1.0]
min_requests = 10
keys = ["key_tester"]
"""


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registered")
    (folder / "tulou.toml").write_text(TOML)
    opened = Project.open(folder)
    for number in (1, 2, 3):
        made = folder / "made" / str(number)
        write_manifest(made / "fp32", ModelManifest("assistant", "chat", "echo", "fp32", f"f{number}", "none"))
        opened.registry.register(Candidate("assistant", made, f"f{number}", "fp32"))
    return folder


@pytest.fixture
def project(registered: Path, tmp_path: Path) -> Project:
    """Three versions of an assistant, of which the first serves and the third challenges."""
    return Project.open(shutil.copytree(registered, tmp_path / "project"))


def served(project: Project) -> list[tuple[str, float, float]]:
    row = wanted(project)["assistant"]
    return [(each.version, round(each.weight, 3), each.shadow) for each in row]


def answered(
    project: Project, version: str, statuses: list[int], at: float = 200.0, latency_ms: float = 50.0, variant: str = ""
) -> None:
    rows = [
        {
            "id": f"{version} {variant} {at} {i}", "at": at, "route": "/v1", "model": "assistant",
            "model_version": version, "replica": "", "status": status, "latency_ms": latency_ms, "variant": variant,
            "prompt_tokens": 0, "completion_tokens": 0,
        }
        for i, status in enumerate(statuses)
    ]  # fmt: skip
    with project.state.begin() as db:
        db.execute(requests.insert(), rows)


def test_the_champion_serves_alone(project: Project) -> None:
    (only,) = wanted(project)["assistant"]
    assert (only.version, only.weight, only.manifest("assistant").fingerprint) == ("1", 1.0, "f1")
    project.registry.promote("assistant", 2)
    assert served(project) == [("2", 1.0, 0.0)]
    assert roll_back(project, "assistant").version == 1
    assert served(project) == [("1", 1.0, 0.0)]


def test_the_challenger_is_tried_out_with_the_first_steps_share(project: Project) -> None:
    assert try_out(project, "assistant") == {"name": "assistant", "version": 3, "share": 0.1, "shadow": 0.0}
    assert served(project) == [("3", 0.1, 0.0), ("1", 0.9, 0.0)]
    row = wanted(project)["assistant"]
    assert row[0].variant.keys == {"key_tester"}
    try_out(project, "assistant", 2, shadow=0.3)
    assert served(project) == [("2", 0.0, 0.3), ("1", 1.0, 0.0)]
    assert not wanted(project)["assistant"][0].keys


def test_rolling_back_ends_a_trial_first(project: Project) -> None:
    project.registry.promote("assistant", 2)
    try_out(project, "assistant")
    assert roll_back(project, "assistant").version == 2
    assert served(project) == [("2", 1.0, 0.0)]
    assert roll_back(project, "assistant").version == 1


@pytest.mark.parametrize(
    ("version", "share", "sentence"),
    [
        (1, 0.1, "version 1 of model 'assistant' is the champion"),
        (9, 0.1, "no version 9"),
        (2, 0.0, "would get nothing"),
        (2, 1.0, "`tulou models promote assistant 2`"),
    ],
)
def test_a_trial_that_makes_no_sense_is_refused(project: Project, version: int, share: float, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        try_out(project, "assistant", version, share)
    assert project.registry.canary("assistant") is None


def test_a_version_that_answers_well_climbs_to_the_top(project: Project) -> None:
    with pytest.raises(ModelError, match="no version of model 'assistant' is tried out"):
        advance(project, "assistant")
    try_out(project, "assistant", 3, now=lambda: 100.0)
    answered(project, "3", [200] * 9, at=150)
    answered(project, "3", [500] * 50, at=99)  # before its trial
    answered(project, "1", [500] * 50, at=150)  # another version
    with pytest.raises(ModelError, match="may not take the next step yet: 9 requests so far, 10 are needed"):
        advance(project, "assistant")
    answered(project, "3", [200, 400, 499], at=160)
    found = advance(project, "assistant", now=lambda: 300.0)
    assert (found["share"], found["verdict"], served(project)[0]) == (0.5, "pass", ("3", 0.5, 0.0))
    with pytest.raises(ModelError, match="0 requests so far"):  # judged anew at each step
        advance(project, "assistant")
    answered(project, "3", [200] * 10, at=301)
    assert advance(project, "assistant")["share"] == 1.0
    assert served(project) == [("3", 1.0, 0.0)]
    assert project.registry.find("assistant").version == 3


def test_a_version_that_fails_or_is_slow_stays_where_it_is_unless_forced(project: Project) -> None:
    try_out(project, "assistant", 3, now=lambda: 100.0)
    answered(project, "3", [200] * 9 + [503])
    with pytest.raises(ModelError, match="is not good enough: 1 of 10 requests failed"):
        advance(project, "assistant")
    assert served(project)[0] == ("3", 0.1, 0.0)
    assert advance(project, "assistant", is_forced=True, now=lambda: 300.0)["share"] == 0.5
    answered(project, "3", [200] * 10, at=301, latency_ms=2000)
    with pytest.raises(ModelError, match="its p99 is 2000 ms, more than 1500 ms"):
        advance(project, "assistant")


def test_the_commands_tell_what_they_did(project: Project) -> None:
    def tulou(*words: str) -> dict[str, object]:
        done = CliRunner().invoke(app, ["models", *words, "--project", str(project.folder), "--json"])
        assert done.exit_code == 0, done.output
        found: dict[str, object] = json.loads(done.output)
        return found

    assert tulou("canary", "assistant", "2", "--share", "0.2") == {
        "name": "assistant", "version": 2, "share": 0.2, "shadow": 0.0,
    }  # fmt: skip
    assert set(tulou("advance", "assistant", "--force")) == {"name", "version", "share", "verdict", "reason"}
    assert tulou("rollback", "assistant") == {"name": "assistant", "champion": 1}
    assert tulou("promote", "assistant", "3") == {"name": "assistant", "champion": 3}


def test_a_model_that_was_never_made_is_left_out(project: Project) -> None:
    assert rollout.serving_of(project.registry, ["assistant", "other"]).keys() == {"assistant"}


def test_what_another_had_to_answer_in_its_place_is_a_failure(project: Project) -> None:
    try_out(project, "assistant", 3, now=lambda: 100.0)
    answered(project, "3", [200] * 20)
    answered(project, "1", [200], variant="instead:3")
    with pytest.raises(ModelError, match="is not good enough: 1 of 21 requests failed"):
        advance(project, "assistant")


def test_a_version_is_not_judged_by_another_model_that_has_the_same_number(project: Project) -> None:
    try_out(project, "assistant", 3, now=lambda: 100.0)
    answered(project, "3", [200] * 10, variant="fallback:small")
    with pytest.raises(ModelError, match="0 requests so far"):
        advance(project, "assistant")
