"""`tulou explain TEXT`: the classifier's tokens and nearest training rows, and the passages an answer would rest on.

The trained folder and the rows are those that the serving version was made of, while the project still has them; else
those of the last run, which is said.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tulou.bootstrap.pipeline import build_pipeline
from tulou.bootstrap.project import Project
from tulou.core.errors import ModelError, SettingsError, TulouError

NEIGHBOURS = 5
PASSAGES = 5
TIMEOUT_S = 120.0


def explain_text(
    project: Project, text: str, name: str | None = None, label: str | None = None, count: int = NEIGHBOURS
) -> dict[str, Any]:
    """`name` is a classifier or a chat model; without it, the support application's classifier and the passages.

    Raises `SettingsError` for a model that the project has not, `ModelError` where it was not trained yet.
    """
    if not text.strip():
        raise SettingsError("there is nothing to explain: give a text")
    models = project.settings.models
    if name is not None and name not in models:
        raise SettingsError(f"there is no model {name!r}; this project has {', '.join(models)}")
    task = models[name].task if name else None
    if task in ("embed", "rerank"):
        does = "makes vectors" if task == "embed" else "orders passages"
        raise SettingsError(f"model {name!r} {does}; name a classifier or a chat model")
    classifier = name if task == "classify" else project.support.intents if name is None else None
    found: dict[str, Any] = {
        "text": text,
        "model": classifier or name,
        "classification": None,
        "neighbours": [],
        "passages": [],
    }
    if classifier is not None:
        found |= _classified(project, classifier, text, label, count)
    if task != "classify":
        found |= _passages(project, text, is_wanted=task == "chat" or classifier is None)
    return found


def explain_apart(project: Path, text: str, model: str = "") -> dict[str, Any]:
    """`tulou explain` in a process of its own. Raises `ModelError` with what it says where it cannot."""
    chosen = ["--model", model] if model else []
    command = [sys.executable, "-m", "tulou", "explain", "--json", "--project", str(project), *chosen, "--", text]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        found: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired as err:
        raise ModelError(f"the explanation took longer than {TIMEOUT_S:.0f} s") from err
    except ValueError as err:
        raise ModelError("the explanation failed; `tulou explain` on the command line says more") from err
    if "error" in found:
        raise ModelError(found["error"]["message"])
    return found


def _classified(project: Project, name: str, text: str, label: str | None, count: int) -> dict[str, Any]:
    from tulou.model.explain import attribute, nearest

    folders, is_champions = _lineage(project, name)
    trained, rows = folders[f"train.{name}"], folders[f"split.{name}"]
    explained = attribute(trained, text, label)
    cache = project.home / "explain" / f"{trained.name}.npy"
    return {
        "classification": {**asdict(explained), "relative_error": explained.relative_error},
        "is_champion": is_champions,
        "neighbours": [asdict(each) for each in nearest(trained, rows, text, count, cache)],
    }


def _lineage(project: Project, name: str) -> tuple[dict[str, Path], bool | None]:
    """Outputs that the champion was made of, else the last run's; and whether the former (None: no champion)."""
    wanted = (f"train.{name}", f"split.{name}")
    champion = project.registry.champion(name)
    made = champion.lineage.get("inputs", {}) if champion else {}
    folders = {stage: project.stages / stage / str(made.get(stage)) for stage in wanted}
    if all(folder.is_dir() for folder in folders.values()):
        return folders, True
    latest = build_pipeline(project).latest()
    if missing := [stage for stage in wanted if stage not in latest]:
        raise ModelError(f"model {name!r} cannot be explained before it is trained; `tulou run --until {missing[0]}`")
    return {stage: latest[stage].path for stage in wanted}, None if champion is None else False


def _passages(project: Project, text: str, *, is_wanted: bool) -> dict[str, Any]:
    """Passages and their scores; why there are none, where they were not asked for by name."""
    from tulou.bootstrap.assistant import find

    try:
        return {"passages": asyncio.run(find(project, text, PASSAGES))}
    except TulouError as err:
        if is_wanted:
            raise
        return {"passages": [], "no_passages_because": str(err)}
