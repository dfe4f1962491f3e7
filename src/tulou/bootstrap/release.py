"""From a compressed model to a registered version, and whether it serves.

The first version of a model serves. A later one takes over if it is not worse than the champion, and than the best of
those that served before and were judged by the same rows, by more than the accuracy a model may lose: so no chain of
small losses becomes a large one. Otherwise, or where settings say so, it is kept, and a person may promote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tulou.core.stage import MANIFEST, Summary, read_json
from tulou.model.registry import Candidate, ModelVersion, Registry

# Steps whose output is data and no model.
_DATA_STEPS = ("collect", "clean", "split", "passages", "examples", "index")


def release(registry: Registry, name: str, made: Path, tolerance: float, *, promotes: bool = True) -> Summary:
    """Register the output folder `made` of a compress stage, and promote it unless it is worse or nothing is to be."""
    manifest = read_json(made / MANIFEST)
    summary = manifest["summary"]
    champion = registry.champion(name)
    version = registry.register(_candidate(name, made, manifest))
    worse = champion is not None and is_worse(version, _to_beat(registry, champion, version), tolerance)
    if champion is not None and promotes and not worse:
        registry.promote(name, version.version)
    return {
        "is_worse": worse,
        "version": version.version,
        "serves": registry.find(name).version,
        "score": version.score,
        "champion_score": champion.score if champion else None,
        "verdict": summary["reason"],
    }


def is_worse(version: ModelVersion, others: Sequence[ModelVersion], tolerance: float) -> bool:
    """Whether `version` falls short of one of `others` by more than `tolerance`; what is not measured is never worse.

    By its score on the test rows or on those that it was validated by, whichever is worse, as candidates are compared.
    """
    return any(
        mine is not None and theirs is not None and mine < theirs - tolerance
        for other in others
        for mine, theirs in zip(_measures(version), _measures(other), strict=True)
    )


def _measures(version: ModelVersion) -> tuple[float | None, float | None]:
    return version.score, version.metrics.get("validation_accuracy")


def _to_beat(registry: Registry, champion: ModelVersion, version: ModelVersion) -> list[ModelVersion]:
    """The champion, and those that served before it and were judged by the rows that `version` was judged by."""
    served = set(registry.served(version.name)) - {version.version, champion.version}
    before = [each for each in registry.versions(version.name) if each.version in served]
    return [champion, *(each for each in before if each.lineage.get("data") == version.lineage.get("data"))]


def _candidate(name: str, made: Path, manifest: dict[str, Any]) -> Candidate:
    summary = manifest["summary"]
    row: dict[str, Any] = next((row for row in summary["table"] if row["precision"] == summary["chosen"]), {})
    scores = {
        key: float(value)
        for key, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return Candidate(
        name=name,
        folder=made,
        fingerprint=manifest["fingerprint"],
        precision=summary["chosen"],
        table=summary["table"],
        metrics=scores,
        score=scores.get("accuracy", scores.get("token_accuracy")),
        verdict=summary["reason"],
        left_out=left_out(summary),
        lineage=lineage_of(made, manifest),
    )


def left_out(summary: Summary) -> list[dict[str, str]]:
    """The methods that a compress stage did not try or could not make, each with its reason."""
    return [*summary.get("left_out", ()), *summary.get("not_made", ())]


def lineage_of(made: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """What a model was made from: the data's fingerprints, and settings and code of each stage that made the model."""
    stages: dict[str, dict[str, Any]] = {}
    _gather(made.parent.parent, manifest, stages)
    models = {name: stage for name, stage in stages.items() if name.partition(".")[0] not in _DATA_STEPS}
    return {
        "stage": manifest["name"],
        "inputs": manifest["inputs"],
        "settings": {name.partition(".")[0]: stage["settings"] or {} for name, stage in models.items()},
        "data": {name: stage["fingerprint"] for name, stage in stages.items() if name not in models},
        "code": {module: digest for stage in models.values() for module, digest in stage.get("code", {}).items()},
    }


def _gather(root: Path, manifest: dict[str, Any], stages: dict[str, dict[str, Any]]) -> None:
    """`manifest` and those of everything upstream that is still there, nearest first."""
    stages[manifest["name"]] = manifest
    for name, fingerprint in manifest["inputs"].items():
        if name not in stages and (upstream := read_json(root / name / fingerprint / MANIFEST)):
            _gather(root, upstream, stages)
