"""The search: make every candidate, measure all side by side, keep those that no other beats, let the fastest serve.

A finished candidate stays in scratch with its score, so a run that was killed goes on with the next one. When the time
that was given is up, what was not begun is left out and named. A candidate that cannot be made (a tokenizer that cannot
be trimmed, say) is named with the reason, and the others go on.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tulou.core.compression import Plan
from tulou.core.errors import ModelError
from tulou.core.progress import Bar
from tulou.core.settings import CompressSettings
from tulou.core.stage import read_json, write_json
from tulou.model.compress.compare import choose, compare, front
from tulou.model.compress.picture import pareto_picture

QUALITY = "quality.json"  # beside a candidate's files in scratch
PICTURE = "pareto.svg"
WEIGHTS = "weights"  # folder of the float weights that the served candidate was exported from


@dataclass(frozen=True)
class Bench:
    """What a search is given to work with: how to make a candidate, judge it and time it."""

    shape: Callable[[Plan, Path], Mapping[str, Any]]  # weights of a plan's shape, into a folder
    export: Callable[[Plan, Path, Path], object]  # a plan's graph, from a folder of weights into another
    measure: Callable[[Path], Mapping[str, Any]]
    open_timed: Callable[[Path], Callable[[Any], object]]
    probes: Sequence[Any]
    rounds: int
    why_torch: Callable[[Path], str] = lambda _: ""  # why a folder is no graph, so that there are no others either


def search(
    plans: Sequence[Plan],
    trained: Path,
    bench: Bench,
    out: Path,
    scratch: Path,
    settings: CompressSettings,
    bar: Bar,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Write the candidates of the front to `out`, a folder each; return table, choice, reason and the rest.

    The first plan is the baseline: it is always made and always kept.
    """
    started = clock()
    made: dict[str, Path] = {}
    not_made: list[dict[str, str]] = []
    why_torch = ""
    for plan in plans:
        if why_torch:
            not_made.append({"precision": plan.name, "reason": why_torch})
            bar.advance()
            continue
        minutes = (clock() - started) / 60
        is_late = settings.max_minutes and minutes >= settings.max_minutes
        if is_late and made and not _is_made(scratch, plan):
            reason = f"the {settings.max_minutes:g} minutes of model.compress.max_minutes were over"
            not_made.append({"precision": plan.name, "reason": reason})
            continue
        bar.note(plan.name)
        try:
            made[plan.name] = _candidate(plan, trained, bench, scratch)
            why_torch = bench.why_torch(made[plan.name])
        except ModelError as err:
            if not made:
                raise
            not_made.append({"precision": plan.name, "reason": str(err)})
        bar.advance()
    table = compare(made, bench.open_timed, bench.probes, lambda folder: read_json(folder / QUALITY), bench.rounds)
    chosen, reason = choose(table, settings.max_accuracy_loss)
    if why_torch:
        reason = f"{chosen} serves with the torch engine, uncompressed: {why_torch}"
    elif len(table) == 1 and not_made:
        reason = f"{chosen} serves: {not_made[0]['precision']} was not made: {not_made[0]['reason']}"
    kept = front(table)
    for name in {plans[0].name, chosen, *kept}:
        _link(made[name], out / name, without=(QUALITY,))
    served = next(plan for plan in plans if plan.name == chosen)
    _link(_weights(served, trained, scratch), out / WEIGHTS)
    summary = {
        "table": table,
        "chosen": chosen,
        "reason": reason,
        "max_accuracy_loss": settings.max_accuracy_loss,
        "front": kept,
        "not_made": not_made,
    }
    if len(table) > 1:
        picture = pareto_picture(table, kept, chosen, settings.max_accuracy_loss)
        (out / PICTURE).write_text(picture, encoding="utf-8")
        summary["picture"] = PICTURE
        write_json(out / "pareto.json", summary)
    return summary


def _candidate(plan: Plan, trained: Path, bench: Bench, scratch: Path) -> Path:
    """The folder of the plan's model with its score, made now unless an earlier run made it."""
    final = scratch / "candidates" / plan.name
    if _is_made(scratch, plan):
        return final
    weights = _weights(plan, trained, scratch)
    shaped: Mapping[str, Any] = {}
    if plan.shaping:
        if not weights.is_dir():
            _whole(weights, lambda folder: write_json(folder / "shape.json", dict(bench.shape(plan, folder))))
        shaped = read_json(weights / "shape.json")

    def make(folder: Path) -> None:
        bench.export(plan, weights, folder)
        facts = {"parameters": shaped["parameters"]} if shaped else {}
        write_json(folder / QUALITY, {**facts, **bench.measure(folder)})

    _whole(final, make)
    return final


def _is_made(scratch: Path, plan: Plan) -> bool:
    return (scratch / "candidates" / plan.name / QUALITY).is_file()


def _weights(plan: Plan, trained: Path, scratch: Path) -> Path:
    return scratch / "shapes" / plan.shape_name if plan.shaping else trained


def _whole(folder: Path, make: Callable[[Path], None]) -> None:
    """Let `make` fill a folder that appears when it is whole, or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    partial.mkdir(parents=True)
    make(partial)
    os.replace(partial, folder)


def _link(source: Path, target: Path, without: Sequence[str] = ()) -> None:
    """Copy a folder by hard links, which cost no space; across disks by copying."""

    def link_or_copy(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)

    shutil.copytree(source, target, copy_function=link_or_copy, ignore=shutil.ignore_patterns("stage.json", *without))
