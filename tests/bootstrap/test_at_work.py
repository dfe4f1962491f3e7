from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from tulou.bootstrap.overview import ServiceOverview
from tulou.bootstrap.project import Project
from tulou.bootstrap.status import project_status
from tulou.cli import screens
from tulou.core.stage import RUNNING, write_json

SETTINGS = """
[[data.source]]
name = "notes"
url = "notes/*.md"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "tulou.toml").write_text(SETTINGS)
    return Project.open(tmp_path)


def leave_word(project: Project, pid: int) -> None:
    told: dict[str, Any] = {"pid": pid, "stage": "clean.notes", "title": "Clean notes", "index": 2, "total": 9}
    now = time.time()
    write_json(project.stages / RUNNING, {**told, "started_at": now - 100, "stage_started_at": now - 70})


def test_status_and_console_tell_of_a_run_at_work(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert project_status(project)["run_at_work"] is None
    monkeypatch.setattr("tulou.bootstrap.project._is_same_process", lambda pid, at: True)  # this one is too young
    leave_word(project, os.getpid())
    status = project_status(project)
    assert status["run_at_work"]["stage"] == "clean.notes"
    console = Console(width=120, record=True, force_terminal=False)
    monkeypatch.setattr(screens, "stdout", console)
    screens.show_status(status)
    said = f"at work for 1 min 40 s (process {os.getpid()}): Clean notes, stage 2 of 9, for 1 min 10 s"
    assert said in console.export_text()
    (run,) = ServiceOverview(project, cast("Any", SimpleNamespace(in_flight=dict)), "").runs()
    assert (run.name, run.state, run.summary["pid"]) == ("clean.notes", "running", os.getpid())
    assert run.seconds == pytest.approx(70, abs=5)


def test_the_word_of_a_process_that_is_gone_means_nothing(project: Project) -> None:
    leave_word(project, 2**22 + 1)  # above Linux's largest pid
    assert project_status(project)["run_at_work"] is None
    assert ServiceOverview(project, cast("Any", SimpleNamespace(in_flight=dict)), "").runs() == []
