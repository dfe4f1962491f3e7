"""`tulou plan`: each stage still to run is tried for some seconds, and what it will take is predicted and written down.

Trials run one after the other in processes of their own, so that each has its own memory, and the plan ends one that
outgrows the machine. Stages that publish something are not tried; they, and those whose inputs are not made yet, are
told from an earlier run or not at all. What came true is shown beside the prediction afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tulou.bootstrap.earlier import Earlier, scaled
from tulou.bootstrap.model_stages import TRAINING
from tulou.bootstrap.project import Project
from tulou.core.compression import without_shaping
from tulou.core.errors import TulouError
from tulou.core.progress import Progress
from tulou.core.settings import ModelSettings
from tulou.core.stage import Pipeline, Planned, StageResult, read_json, write_json
from tulou.model.budget import (
    PROCESS_BYTES,
    SLACK,
    Prediction,
    Prices,
    Room,
    Search,
    Trial,
    count_parameters,
    fits,
    money,
    predict,
    static_need,
    would_fit,
)

PLAN = "plan.json"
LOOK_EVERY_S = 0.1
TOLD_BYTES = PROCESS_BYTES * 3 // 2  # below that a prediction is mostly of the process itself
MEASURED = ("name", "fingerprint", "seconds", "peak_rss_bytes", "before_rss_bytes")


def make_plan(project: Project, pipeline: Pipeline, until: str | None, progress: Progress) -> dict[str, Any]:
    """Predict every stage still to run, write the plan down and return it."""
    todo = pipeline.todo(until)
    outputs = {each.stage.name: each.result.path for each in todo if each.result}
    done = {each.stage.name: each.result for each in todo if each.result}
    earlier = Earlier({each.stage.name: each for each in todo}, {**pipeline.latest(), **done})
    missing = [each for each in todo if each.result is None]
    made: dict[str, Prediction] = {}
    folder = TemporaryDirectory(dir=project.home, prefix="plan-")
    with folder as home, progress.bar("Plan", total=len(missing), unit="stages") as bar:
        for each in missing:
            bar.note(each.stage.name)
            made[each.stage.name] = _predict(project, each, outputs, earlier, made, Path(home) / each.stage.name)
            bar.advance()
    room = find_room(project)
    stages = {each.stage.name: {"fingerprint": each.fingerprint, **made[each.stage.name].to_json()} for each in missing}
    unknown = [name for name, stage in stages.items() if stage["seconds"] is None]
    known = [stage["seconds"] for stage in stages.values() if stage["seconds"] is not None]
    costs = [stage["money"] for stage in stages.values() if stage["money"] is not None]
    peaks = [stage["peak_bytes"] for stage in stages.values() if stage["peak_bytes"] is not None]
    plan = {
        "made_at": time.time(),
        "machine": {"memory_bytes": room.memory_bytes, "disk_bytes": room.disk_bytes, "cores": room.cores},
        "currency": project.settings.budget.currency,
        "stages": stages,
        "up_to_date": len(todo) - len(missing),
        "total": {
            "seconds": sum(known),
            "money": sum(costs) if costs else None,
            "peak_bytes": max(peaks, default=None),
            "unknown_stages": len(unknown),
            "unknown_trainings": [name for name in unknown if name.partition(".")[0] in (*TRAINING, "prefer")],
        },
        "fits": not any(stage["refusal"] for stage in stages.values()),
    }
    _store(project, plan)
    return plan


def stored_plan(project: Project) -> dict[str, Any]:
    """Predictions by stage name, of the last plan and of earlier ones whose stages it did not look at."""
    stages: dict[str, Any] = (read_json(project.home / PLAN) or {}).get("stages", {})
    return stages


def beside(done: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """What a stage took, `done` its manifest, beside what was predicted for just this work."""
    planned = plan.get(done["name"], {})
    is_same = planned.get("fingerprint") == done["fingerprint"]
    predicted, predicted_bytes = (planned["seconds"], planned["peak_bytes"]) if is_same else (None, None)
    left = max(0, done.get("before_rss_bytes", 0) - PROCESS_BYTES)  # by stages before it, in the same process
    own = done["peak_rss_bytes"] - left
    return {
        "stage": done["name"],
        "predicted_s": predicted,
        "seconds": done["seconds"],
        "deviation": done["seconds"] / predicted - 1 if predicted else None,
        "predicted_bytes": predicted_bytes,
        "own_bytes": own,
        "memory_deviation": own / predicted_bytes - 1 if predicted_bytes and predicted_bytes > TOLD_BYTES else None,
        "peak_rss_bytes": done["peak_rss_bytes"],
    }


def compare_results(project: Project, results: list[StageResult]) -> list[dict[str, Any]]:
    """The stages of `results` that were planned and run, beside their predictions."""
    plan = stored_plan(project)
    rows = [beside({key: getattr(each, key) for key in MEASURED}, plan) for each in results]
    return [row for row in rows if row["predicted_s"] is not None]


def find_room(project: Project) -> Room:
    import psutil

    memory = psutil.virtual_memory().available
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        used = Path("/sys/fs/cgroup/memory.current")
        memory = min(memory, int(text) - int(used.read_text()) if used.is_file() else int(text))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Room(int(memory * SLACK), shutil.disk_usage(project.home).free, cores)


def _predict(
    project: Project,
    planned: Planned,
    outputs: dict[str, Path],
    earlier: Earlier,
    made: Mapping[str, Prediction],
    home: Path,
) -> Prediction:
    """From a trial where there can be one; `outputs` gains what a trial finished."""
    stage, room, prices = planned.stage, find_room(project), _prices(project)
    training = _training(project, stage.name)
    if training and (refused := _refused_at_sight(project, training, room)):
        return refused
    missing = [name for name in stage.inputs if name not in outputs]
    if missing or stage.publishes:
        if done := earlier.results.get(stage.name):
            spent, caution = money(done.seconds, room.cores, False, prices), earlier.difference(stage.name)
            told = Prediction(done.seconds, done.peak_rss_bytes, None, None, spent, "earlier run", caution=caution)
            return _search_scaled(project, planned, told, earlier, made)
        why = f"known after {missing[0]}" if missing else "publishes: not tried"
        return Prediction(None, None, None, None, None, why)
    tried = _try(project, stage.name, {name: outputs[name] for name in stage.inputs}, home, room)
    if isinstance(tried, int):
        facts = training.model_dump() if training else {}
        refusal = f"it held {tried / 1e9:.1f} GB after a few steps and {room.memory_bytes / 1e9:.1f} GB are free"
        would = would_fit(tried, 0, room.memory_bytes, facts)
        return Prediction(None, tried, None, None, None, "trial", refusal, would)
    if tried.is_finished:
        outputs[stage.name] = home / "out"
    told = predict(tried, room, prices, training.model_dump() if training else None)
    return _search_scaled(project, planned, told, earlier, made)


def _search_scaled(
    project: Project, planned: Planned, told: Prediction, earlier: Earlier, made: Mapping[str, Prediction]
) -> Prediction:
    """A compression stage as a search of other candidates told it: the last one, or the trial, which shapes none."""
    step, _, name = planned.stage.name.partition(".")
    model = project.settings.models.get(name)
    if step != "compress" or model is None or model.task not in ("classify", "chat"):
        return told
    settings = planned.stage.settings
    tried = Search.of({**settings, "methods": without_shaping(settings["methods"])}, model.task)
    done = tried if told.basis == "trial" else earlier.search(planned.stage.name, model)
    return scaled(told, done, Search.of(settings, model.task), _epoch_s(f"train.{name}", model, earlier, made))


def _epoch_s(training: str, model: ModelSettings, earlier: Earlier, made: Mapping[str, Prediction]) -> float | None:
    """Seconds of an epoch of the uncut classifier, as predicted for the next run or as the last one took."""
    from tulou.model.finetune.classify import EPOCHS

    if (predicted := made.get(training)) and predicted.seconds:
        return predicted.seconds / (model.epochs or EPOCHS)
    done = earlier.results.get(training)
    return done.seconds / done.summary["epochs"] if done else None


def _refused_at_sight(project: Project, training: ModelSettings, room: Room) -> Prediction | None:
    """Where the weights alone tell that training cannot fit; nothing is loaded for it."""
    from tulou.model.base import resolve_base

    if training.base == "scratch":
        return None
    parameters = count_parameters(resolve_base(training.base, project.folder))
    facts = training.model_dump()
    need = static_need(parameters, facts)
    refusal, would = fits(need, 0, parameters, room, facts)
    return Prediction(None, need, None, parameters, None, "size of the base", refusal, would) if refusal else None


def _try(project: Project, stage: str, inputs: Mapping[str, Path], home: Path, room: Room) -> Trial | int:
    """The trial of `stage`, or how much memory it held when it was ended because there was no more."""
    import psutil

    home.mkdir(parents=True)
    request, result = home / "request.json", home / "result.json"
    asked = {
        "project": str(project.folder),
        "stage": stage,
        "inputs": {name: str(path) for name, path in inputs.items()},
        "out": str(home),
        "seconds": project.settings.budget.calibration_s,
        "result": str(result),
    }
    request.write_text(json.dumps(asked), encoding="utf-8")
    with (home / "trial.log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "tulou.bootstrap.calibrate", str(request)], stdout=log, stderr=log
        )
        try:
            watched, held = psutil.Process(child.pid), 0
            while child.poll() is None:
                with suppress(psutil.Error):  # it has just ended
                    held = max(held, watched.memory_info().rss)
                if held > room.memory_bytes:
                    return int(held)
                time.sleep(LOOK_EVERY_S)
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
    found = read_json(result) or {"error": _last_line(home / "trial.log")}
    if "error" in found:
        raise TulouError(f"stage {stage} cannot be planned, because it fails: {found['error']}")
    return Trial(**found)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it ended without a word"


def _training(project: Project, stage: str) -> ModelSettings | None:
    step, _, name = stage.partition(".")
    return project.settings.models.get(name) if step in TRAINING else None


def _prices(project: Project) -> Prices:
    budget = project.settings.budget
    return Prices(budget.currency, budget.cpu_core_hour, budget.gpu_hour)


def _store(project: Project, plan: dict[str, Any]) -> None:
    """Earlier predictions stay: their stages have run, or were not asked for this time."""
    write_json(project.home / PLAN, {**plan, "stages": {**stored_plan(project), **plan["stages"]}})
