from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tulou.bootstrap.budget import beside, make_plan, stored_plan
from tulou.bootstrap.calibrate import WARM_UP, Enough, Watched
from tulou.bootstrap.cards import attach_card
from tulou.bootstrap.explain import explain_text
from tulou.bootstrap.judge_stages import grounds
from tulou.bootstrap.pipeline import build_pipeline
from tulou.bootstrap.project import Project
from tulou.core.errors import ModelError, SettingsError, TulouError
from tulou.core.progress import Silent

SETTINGS = """
[[data.source]]
name = "tickets"
url = "tickets.csv"
text = ["text"]
label = "intent"

[model.intents]
task = "classify"
source = "tickets"

[model.assistant]
task = "chat"
base = "scratch"

[budget]
cpu_core_hour = 0.5
calibration_s = 60
"""


class NothingRegistered:
    def champion(self, name: str) -> None:
        return None


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "tulou.toml").write_text(SETTINGS)
    rng = random.Random(0)
    words = [a + b for a in ("re", "un", "de", "in", "over") for b in ("do", "make", "sell", "load", "pay", "turn")]
    rows = [
        f"My {what} {' '.join(rng.choices(words, k=8))},{what}" for _ in range(30) for what in ("parcel", "invoice")
    ]
    (tmp_path / "tickets.csv").write_text("\n".join(["text,intent", *rows]))
    return Project.open(tmp_path)


def test_nothing_is_registered_before_it_is_compared_and_judged(project: Project) -> None:
    stages = {stage.name: stage for stage in build_pipeline(project).stages}
    order = list(stages)
    for name in project.settings.models:
        assert {f"parity.{name}", f"card.{name}"} <= set(stages[f"register.{name}"].inputs)
        assert f"parity.{name}" in stages[f"card.{name}"].inputs
        assert order.index(f"compress.{name}") < order.index(f"parity.{name}") < order.index(f"register.{name}")


def test_another_number_of_canaries_trains_again(project: Project) -> None:
    before = [stage.settings for stage in build_pipeline(project).stages if stage.name.startswith(("train", "fine"))]
    (project.folder / "tulou.toml").write_text(SETTINGS + "\n[judge]\ncanaries = 0\n")
    again = Project.open(project.folder)
    after = [stage.settings for stage in build_pipeline(again).stages if stage.name.startswith(("train", "fine"))]
    assert all(a != b for a, b in zip(before, after, strict=True))


def test_a_plan_tries_stages_one_on_the_output_of_another_and_touches_nothing(project: Project) -> None:
    plan = make_plan(project, build_pipeline(project), "split.intents", Silent())
    assert list(plan["stages"]) == ["collect.tickets", "clean.tickets", "split.intents"]
    for stage in plan["stages"].values():
        assert stage["basis"] == "trial"
        assert stage["seconds"] > 0
        assert stage["peak_bytes"] > 1 << 20
        assert stage["money"] > 0
    assert plan["fits"]
    assert plan["total"]["seconds"] == pytest.approx(sum(stage["seconds"] for stage in plan["stages"].values()))
    assert sorted(path.name for path in project.home.iterdir()) == ["plan.json"]
    assert set(stored_plan(project)) == set(plan["stages"])


def test_a_stage_that_fails_is_named(project: Project) -> None:
    (project.folder / "tickets.csv").write_text("other\n1\n")
    with pytest.raises(TulouError, match=r"stage collect\.tickets cannot be planned, because it fails: .*text"):
        make_plan(project, build_pipeline(project), "collect.tickets", Silent())


def test_what_earlier_stages_left_in_the_process_is_not_held_against_a_prediction() -> None:
    plan = {"train.intents": {"fingerprint": "a", "seconds": 100.0, "peak_bytes": 1_000 << 20}}
    done: dict[str, Any] = {"name": "train.intents", "fingerprint": "a", "seconds": 120.0}
    told = beside({**done, "peak_rss_bytes": 2_000 << 20, "before_rss_bytes": 1_500 << 20}, plan)
    assert told["own_bytes"] == 1_100 << 20  # 600 MiB are the process's own
    assert told["memory_deviation"] == pytest.approx(0.1)
    assert beside({**done, "peak_rss_bytes": 900 << 20, "before_rss_bytes": 300 << 20}, plan)["own_bytes"] == 900 << 20


def test_what_was_planned_counts_only_for_just_this_work() -> None:
    plan = {"train.intents": {"fingerprint": "a", "seconds": 100.0, "peak_bytes": 5}}
    done: dict[str, Any] = {"name": "train.intents", "fingerprint": "a", "seconds": 120.0, "peak_rss_bytes": 6}
    assert beside(done, plan)["deviation"] == pytest.approx(0.2)
    assert beside({**done, "fingerprint": "b"}, plan)["deviation"] is None


def test_a_watched_bar_ends_long_work_and_lets_short_work_finish() -> None:
    watched = Watched(seconds=0.0)
    with watched.bar("short", total=3) as bar:
        for _ in range(3):
            bar.advance()
    with watched.bar("long", total=1000) as bar:
        for _ in range(WARM_UP + 1):
            bar.advance()
        with pytest.raises(Enough):
            bar.advance()
    assert watched.bar_seen is not None
    assert watched.bar_seen.total == 1000
    assert (watched.bar_seen.rate or 0) > 0


def test_the_applications_rule_judges_entries_of_the_prompt() -> None:
    entries = ["[Returns] You may send goods back within 30 days.", "No heading here at all."]
    assert grounds("You may send goods back within 30 days.", entries, "en")
    assert not grounds("You may send goods back within 90 days.", entries, "en")


def test_a_card_is_laid_beside_the_version(tmp_path: Path) -> None:
    card, version = tmp_path / "card", tmp_path / "version"
    card.mkdir()
    version.mkdir()
    (card / "card.json").write_text(json.dumps({"name": "m"}))
    (card / "stage.json").write_text("{}")
    attach_card(card, version)
    assert [path.name for path in version.iterdir()] == ["card.json"]


def test_questions_about_what_is_not_there_are_answered_with_a_sentence(project: Project) -> None:
    with pytest.raises(SettingsError, match="no model 'x'; this project has intents, assistant, encoder"):
        explain_text(project, "hello", "x")
    with pytest.raises(SettingsError, match="give a text"):
        explain_text(project, " ")
    with pytest.raises(SettingsError, match="makes vectors"):
        explain_text(project, "hello", "encoder")
    project.__dict__["registry"] = NothingRegistered()
    with pytest.raises(ModelError, match=r"before it is trained; `tulou run --until train\.intents`"):
        explain_text(project, "hello", "intents")
