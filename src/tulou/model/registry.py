"""The registry: every model ever made for a project, with its evaluation, its lineage and which one serves.

MLflow keeps names, versions, aliases and metrics (an SQLite file by default, a server by URL); the files of a version
are kept beside it, hard-linked where the disk allows, so that stage outputs can be pruned. A version is never changed
after it was registered. The alias `champion` is what serves.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tulou.core.errors import ModelError
from tulou.core.extras import load_extra
from tulou.core.stage import read_json, write_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
_RECORD = "registration.json"


@dataclass(frozen=True)
class ModelVersion:
    """One registered model: what it scored, what it was made from, where it lies."""

    name: str
    version: int
    fingerprint: str  # of the stage that made it
    precision: str  # the one that serves
    table: tuple[dict[str, Any], ...]  # size, latency and accuracy of each precision
    metrics: dict[str, float]  # of the precision that serves, on held-out rows
    score: float | None  # the one metric by which versions compare, higher is better; None: not comparable
    verdict: str  # why this precision serves
    lineage: dict[str, Any]
    registered_at: float  # seconds since the epoch
    folder: Path  # of the precision that serves
    is_champion: bool = False


@dataclass(frozen=True)
class Candidate:
    """A model to register: `folder` holds one model folder for each precision."""

    name: str
    folder: Path
    fingerprint: str
    precision: str
    table: Sequence[Mapping[str, Any]] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None
    verdict: str = ""
    lineage: Mapping[str, Any] = field(default_factory=dict)


class Registry:
    def __init__(self, uri: str, artifacts: Path) -> None:
        self._uri = uri
        self._artifacts = artifacts

    def register(self, candidate: Candidate) -> ModelVersion:
        """Add `candidate` as the newest version; the first version of a name becomes champion.

        Registering the same fingerprint again returns the version it already has.
        """
        for known in self.versions(candidate.name):
            if known.fingerprint == candidate.fingerprint:
                return known
        client = self._client
        if candidate.name not in self.names():
            client.create_registered_model(candidate.name)
        arriving = self._artifacts / candidate.name / f"{candidate.fingerprint}.partial"
        final = self._artifacts / candidate.name / candidate.fingerprint
        shutil.rmtree(arriving, ignore_errors=True)
        shutil.rmtree(final, ignore_errors=True)
        precisions = [row["precision"] for row in candidate.table] or [candidate.precision]
        for precision in precisions:
            shutil.copytree(candidate.folder / precision, arriving / precision, copy_function=_link_or_copy)
        record = {**asdict(candidate), "folder": candidate.precision}
        write_json(arriving / _RECORD, record)
        os.replace(arriving, final)
        run = self._log_run(candidate)
        created = client.create_model_version(
            candidate.name, source=str(final), run_id=run, tags={"fingerprint": candidate.fingerprint}
        )
        if self.champion(candidate.name) is None:
            self.promote(candidate.name, int(created.version))
        return self.find(candidate.name, int(created.version))

    def names(self) -> list[str]:
        return sorted(model.name for model in self._client.search_registered_models(max_results=1000))

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of `name`, oldest first; empty for an unknown name."""
        champion = self._champion_number(name)
        found = self._client.search_model_versions(f"name = '{name}'")
        made = (_version(each, champion, self._folder(each)) for each in found)
        return sorted(made, key=lambda each: each.version)

    def find(self, name: str, version: int | None = None) -> ModelVersion:
        """One version, by default the champion. Raises `ModelError` listing what there is."""
        versions = self.versions(name)
        for each in versions:
            if each.version == version or (version is None and each.is_champion):
                return each
        if not versions:
            have = ", ".join(self.names()) or "none yet"
            raise ModelError(f"no model {name!r} is registered; there are: {have}")
        have = ", ".join(str(each.version) for each in versions)
        raise ModelError(f"model {name!r} has no version {version}; there are: {have}")

    def champion(self, name: str) -> ModelVersion | None:
        number = self._champion_number(name)
        return None if number is None else self.find(name, number)

    def promote(self, name: str, version: int) -> None:
        """Let `version` serve from the next start on. Raises `ModelError` if there is no such version."""
        self.find(name, version)
        self._client.set_registered_model_alias(name, CHAMPION, str(version))

    def rollback(self, name: str) -> None:
        """Make the version before the champion champion again. Raises `ModelError` if there is none."""
        champion = self.find(name)
        earlier = [each.version for each in self.versions(name) if each.version < champion.version]
        if not earlier:
            raise ModelError(f"model {name!r} has no version before {champion.version} to go back to")
        self.promote(name, earlier[-1])

    def _folder(self, entry: Any) -> Path:
        """Where a version's files lie now: beside the registry, wherever the project was when it was registered."""
        return self._artifacts / str(entry.name) / str(entry.tags.get("fingerprint") or Path(entry.source).name)

    def _champion_number(self, name: str) -> int | None:
        from mlflow.exceptions import MlflowException

        try:
            return int(self._client.get_model_version_by_alias(name, CHAMPION).version)
        except MlflowException as err:
            if err.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise ModelError(f"the registry {self._uri} cannot be read: {err.message}") from err

    def _log_run(self, candidate: Candidate) -> str:
        """The evaluation as an MLflow run, for those who look with MLflow's own tools."""
        client = self._client
        experiment = client.get_experiment_by_name(candidate.name)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(candidate.name)
        run_id: str = client.create_run(experiment_id, tags={"fingerprint": candidate.fingerprint}).info.run_id
        for key, value in candidate.metrics.items():
            client.log_metric(run_id, key, value)
        client.log_param(run_id, "precision", candidate.precision)
        client.set_terminated(run_id)
        return run_id

    @cached_property
    def _client(self) -> MlflowClient:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow = load_extra("mlflow", "train", "the model registry")
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells every table it makes
        _make_database(mlflow, self._uri)
        return mlflow.MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)


def _make_database(mlflow: ModuleType, uri: str) -> None:
    """Make an SQLite registry that is not there yet, whole or not at all: MLflow cannot resume what broke half-way."""
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or path.exists():
        return
    with TemporaryDirectory(dir=path.parent, prefix="mlflow-") as folder:  # of a new name: MLflow remembers old ones
        partial = Path(folder, path.name)
        made = f"sqlite:///{partial}"
        mlflow.MlflowClient(tracking_uri=made, registry_uri=made).search_registered_models(max_results=1)
        try:
            os.link(partial, path)
        except FileExistsError:
            pass  # another process was faster
        except OSError:  # a disk without hard links
            os.replace(partial, path)


def _version(entry: Any, champion: int | None, folder: Path) -> ModelVersion:
    record = read_json(folder / _RECORD)
    if record is None:
        raise ModelError(f"the files of model {entry.name!r} version {entry.version} are missing from {folder}")
    return ModelVersion(
        name=entry.name,
        version=int(entry.version),
        fingerprint=record["fingerprint"],
        precision=record["precision"],
        table=tuple(record["table"]),
        metrics=record["metrics"],
        score=record["score"],
        verdict=record["verdict"],
        lineage=record["lineage"],
        registered_at=entry.creation_timestamp / 1000,
        folder=folder / record["precision"],
        is_champion=int(entry.version) == champion,
    )


def _link_or_copy(source: str, target: str) -> None:
    """A hard link costs no space and survives the pruning of its source; across disks it is a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
