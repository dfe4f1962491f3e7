from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from tulou.cli import plan


def stage(seconds: float | None, basis: str, caution: str | None = None) -> dict[str, Any]:
    nothing = dict.fromkeys(("parameters", "peak_bytes", "disk_bytes", "money", "refusal"))
    return {**nothing, "would_fit": [], "seconds": seconds, "basis": basis, "caution": caution}


def test_the_sum_names_the_trainings_that_are_not_in_it_and_doubts_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=120, record=True, force_terminal=False)
    monkeypatch.setattr(plan, "stdout", console)
    stages = {
        "clean.notes": stage(121, "trial", "machine was busy"),
        "train.intents": stage(None, "known after split.intents"),
        "card.intents": stage(None, "known after train.intents"),
    }
    total = {"seconds": 121, "money": None, "peak_bytes": None, "unknown_stages": 2}
    made = {"stages": stages, "currency": "CNY", "total": {**total, "unknown_trainings": ["train.intents"]}}
    plan.show_plan(made)
    shown = console.export_text()
    assert "trial, machine was busy" in shown
    assert "known so far  2 min 1 s" in shown
    assert "the training of train.intents and 1 other stage, of which nothing is known yet" in shown
