"""The registry: every model ever made for a project, with its evaluation, its lineage and which one serves.

MLflow keeps names, versions, aliases and metrics (an SQLite file by default, a server by URL); the files of a version
are kept beside it, hard-linked where the disk allows, so that stage outputs can be pruned; with a server they are
uploaded, too, and a machine that lacks them fetches them. A version is never changed after it was registered. The alias
`champion` is what serves, `challenger` the newest one that was registered and does not. Which versions have served, in
order, is a tag of the model, so that rolling back returns to what served before and not to what never did.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tulou.core.errors import ModelError
from tulou.core.extras import load_extra
from tulou.core.stage import read_json, write_json
from tulou.core.urls import without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
WEIGHTS = "weights"  # folder with the float weights of what serves, where the compress stage left them
_RECORD = "registration.json"
_SERVED = "tulou.served"  # tag of a model: numbers of the versions that have served, oldest first
_SERVED_KEPT = 500
_CANARY = "tulou.canary"  # tag of a model: the version that is tried out, as JSON; empty: none
_PARAMETER_CHARS = 500  # MLflow refuses longer values of parameters on some servers
_SERVER_TRIES, _SERVER_TIMEOUT_S = "2", "30"  # MLflow's own are seven tries of two minutes


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
    left_out: tuple[dict[str, str], ...] = ()  # methods of compression that were not tried: precision, reason
    is_champion: bool = False
    is_challenger: bool = False

    @property
    def weights(self) -> Path | None:
        """The safetensors folder that the served graph was exported from; None where none was registered."""
        folder = self.folder.parent / WEIGHTS
        return folder if folder.is_dir() else None

    @property
    def size_bytes(self) -> int:
        """What serves, graph and weights; measured now where nothing was compressed and so nothing compared."""
        from tulou.model.compress.compare import size_bytes  # with all that compresses: half as much again to load

        measured = next((row for row in self.table if row["precision"] == self.precision), {})
        return int(measured.get("size_bytes") or size_bytes(self.folder))


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
    left_out: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True)
class Canary:
    """A version that is tried out beside the champion."""

    version: int
    share: float  # of the requests that it answers
    shadow: float = 0.0  # of the requests that it gets copies of
    since: float = 0.0  # seconds since the epoch


class Registry:
    """`prefix` keeps the models of several projects apart on one server; names given and returned are without it."""

    def __init__(self, uri: str, artifacts: Path, prefix: str = "") -> None:
        self._uri = uri
        self._artifacts = artifacts
        self._prefix = prefix

    def register(self, candidate: Candidate) -> ModelVersion:
        """Add `candidate` as the newest version; the first version of a name becomes champion, others challenge it.

        Registering the same fingerprint again returns the version it already has.
        """
        for known in self.versions(candidate.name):
            if known.fingerprint == candidate.fingerprint:
                return known
        client = self.client
        if candidate.name not in self.names():
            client.create_registered_model(self.full_name(candidate.name))
        final = self._keep(candidate)
        run = self._log_run(candidate)
        if self._is_server:
            client.log_artifacts(run, str(final), candidate.fingerprint)
        created = client.create_model_version(
            self.full_name(candidate.name),
            source=f"runs:/{run}/{candidate.fingerprint}" if self._is_server else str(final),
            run_id=run,
            tags={"fingerprint": candidate.fingerprint},
        )
        if self.champion(candidate.name) is None:
            self.promote(candidate.name, int(created.version))
        else:
            self.challenge(candidate.name, int(created.version))
        return self.find(candidate.name, int(created.version))

    def full_name(self, name: str) -> str:
        """What `name` is called on the server."""
        return self._prefix + name

    def names(self) -> list[str]:
        found = (model.name for model in self.client.search_registered_models(max_results=1000))
        return sorted(name.removeprefix(self._prefix) for name in found if name.startswith(self._prefix))

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of `name`, oldest first; empty for an unknown name."""
        champion, challenger = self._aliased(name, CHAMPION), self._aliased(name, CHALLENGER)
        found = self.client.search_model_versions(f"name = '{self.full_name(name)}'")
        made = (_version(each, name, champion, challenger, self._fetched(each, name)) for each in found)
        return sorted(made, key=lambda each: each.version)

    def find(self, name: str, version: int | str | None = None) -> ModelVersion:
        """One version by number or alias, by default the champion. Raises `ModelError` listing what there is."""
        versions = self.versions(name)
        alias = CHAMPION if version is None else version
        for each in versions:
            is_meant = {CHAMPION: each.is_champion, CHALLENGER: each.is_challenger}.get(str(alias), False)
            if is_meant or str(each.version) == str(version):
                return each
        if not versions:
            have = ", ".join(self.names()) or "none yet"
            raise ModelError(f"no model {name!r} is registered; there are: {have}")
        have = ", ".join(str(each.version) for each in versions)
        if alias == CHALLENGER:
            raise ModelError(f"model {name!r} has no challenger: its newest version serves; there are: {have}")
        raise ModelError(f"model {name!r} has no version {version}; there are: {have}")

    def champion(self, name: str) -> ModelVersion | None:
        number = self._aliased(name, CHAMPION)
        return None if number is None else self.find(name, number)

    def promote(self, name: str, version: int) -> None:
        """Let `version` serve; a running service follows. Raises `ModelError` if there is no such version."""
        promoted = self.find(name, version)
        served = self.served(name)
        if not served or served[-1] != version:
            self._note_served(name, [*served, version])
        self.client.set_registered_model_alias(self.full_name(name), CHAMPION, str(version))
        if promoted.is_challenger:
            self.client.delete_registered_model_alias(self.full_name(name), CHALLENGER)
        self.try_out(name, None)

    def challenge(self, name: str, version: int) -> None:
        """Mark `version` as the one that wants to serve. Raises `ModelError` if there is no such version."""
        self.find(name, version)
        self.client.set_registered_model_alias(self.full_name(name), CHALLENGER, str(version))

    def rollback(self, name: str) -> None:
        """Make the version that served before the champion champion again. Raises `ModelError` if there is none."""
        champion = self.find(name)
        served = self.served(name)
        while served and served[-1] == champion.version:
            served.pop()
        if not served:
            raise ModelError(f"model {name!r} has served no version before {champion.version} to go back to")
        self._note_served(name, served)
        self.client.set_registered_model_alias(self.full_name(name), CHAMPION, str(served[-1]))
        self.try_out(name, None)

    def served(self, name: str) -> list[int]:
        """Numbers of the versions that served, the champion last. Before there was the tag, every version served."""
        tags = self.client.get_registered_model(self.full_name(name)).tags
        if _SERVED in tags:
            return [int(number) for number in tags[_SERVED].split(",") if number]
        champion = self._aliased(name, CHAMPION) or 0
        return [each.version for each in self.versions(name) if each.version <= champion]

    def canary(self, name: str) -> Canary | None:
        """The version that is tried out beside the champion, if any."""
        tags = self.client.get_registered_model(self.full_name(name)).tags
        return Canary(**json.loads(tags[_CANARY])) if tags.get(_CANARY) else None

    def try_out(self, name: str, canary: Canary | None) -> None:
        """Let a version have a share of the requests, or end that. Raises `ModelError` if there is no such version."""
        if canary is not None and self.find(name, canary.version).is_champion:
            raise ModelError(f"version {canary.version} of model {name!r} is the champion and serves already")
        if canary is not None or self.canary(name) is not None:
            value = json.dumps(asdict(canary)) if canary else ""
            self.client.set_registered_model_tag(self.full_name(name), _CANARY, value)

    def _note_served(self, name: str, numbers: Sequence[int]) -> None:
        kept = numbers[-_SERVED_KEPT:]  # a tag holds a few thousand characters
        self.client.set_registered_model_tag(self.full_name(name), _SERVED, ",".join(map(str, kept)))

    def _keep(self, candidate: Candidate) -> Path:
        """Copy the candidate's folders beside the registry, whole or not at all."""
        arriving = self._artifacts / candidate.name / f"{candidate.fingerprint}.partial"
        final = self._artifacts / candidate.name / candidate.fingerprint
        shutil.rmtree(arriving, ignore_errors=True)
        shutil.rmtree(final, ignore_errors=True)
        measured = [str(row["precision"]) for row in candidate.table]
        for folder in dict.fromkeys((candidate.precision, *measured, WEIGHTS)):
            if (candidate.folder / folder).is_dir() or folder == candidate.precision:
                shutil.copytree(candidate.folder / folder, arriving / folder, copy_function=_link_or_copy)
        write_json(arriving / _RECORD, {**asdict(candidate), "folder": candidate.precision})
        os.replace(arriving, final)
        return final

    def _fetched(self, entry: Any, name: str) -> Path:
        """Where a version's files lie now: beside the registry, wherever the project was when it was registered.

        Files that another machine registered are downloaded from the server at their first use.
        """
        fingerprint = str(entry.tags.get("fingerprint") or Path(entry.source).name)
        folder = self._artifacts / name / fingerprint
        if self._is_server and not (folder / _RECORD).is_file():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder.parent, prefix=f"{fingerprint}.partial-") as arriving:
                got = self.client.download_artifacts(entry.run_id, fingerprint, arriving)
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(got, folder)
        return folder

    @property
    def _is_server(self) -> bool:
        return self._uri.startswith(("http://", "https://"))

    def _aliased(self, name: str, alias: str) -> int | None:
        from mlflow.exceptions import MlflowException

        try:
            return int(self.client.get_model_version_by_alias(self.full_name(name), alias).version)
        except MlflowException as err:
            if err.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise ModelError(f"the registry {without_secrets(self._uri)} cannot be read: {err.message}") from err

    def _log_run(self, candidate: Candidate) -> str:
        """The evaluation as an MLflow run, for those who look with MLflow's own tools."""
        client, name = self.client, self.full_name(candidate.name)
        experiment = client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
        tags = {"fingerprint": candidate.fingerprint}
        for key in ("data", "code"):
            tags |= {part: str(value) for part, value in flat({key: candidate.lineage.get(key, {})}).items()}
        run_id: str = client.create_run(experiment_id, tags=tags).info.run_id
        for key, value in candidate.metrics.items():
            client.log_metric(run_id, key, value)
        client.log_param(run_id, "precision", candidate.precision)
        for key, value in flat(candidate.lineage.get("settings") or {}).items():
            client.log_param(run_id, key, str(value)[:_PARAMETER_CHARS])
        client.set_terminated(run_id)
        return run_id

    @cached_property
    def client(self) -> MlflowClient:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow = load_extra("mlflow", "train", "the model registry")
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells every table it makes
        _make_database(mlflow, self._uri)
        client = mlflow.MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        if self._is_server:
            _require_answer(mlflow, client, self._uri)
        return client


def _require_answer(mlflow: ModuleType, client: MlflowClient, uri: str) -> None:
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _SERVER_TRIES)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", _SERVER_TIMEOUT_S)
    try:
        client.search_registered_models(max_results=1)
    except mlflow.exceptions.MlflowException as err:
        raise ModelError(
            f"the registry {without_secrets(uri)} does not answer: {str(err.message)[:300]}; "
            "check model.registry.url and that the MLflow server runs"
        ) from err


@contextmanager
def _loggers_left_on() -> Iterator[None]:
    """MLflow configures logging anew when it makes a database, and that switches off every logger there is."""
    loggers = [each for each in logging.Logger.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    before = [(each, each.disabled) for each in loggers]
    root, level, handlers = logging.getLogger(), logging.getLogger().level, list(logging.getLogger().handlers)
    try:
        yield
    finally:
        for each, is_disabled in before:
            each.disabled = is_disabled
        root.setLevel(level)
        root.handlers[:] = handlers


def _make_database(mlflow: ModuleType, uri: str) -> None:
    """Make an SQLite registry that is not there yet, whole or not at all: MLflow cannot resume what broke half-way."""
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix="mlflow-") as folder:  # of a new name: MLflow remembers old ones
        partial = Path(folder, path.name)
        made = f"sqlite:///{partial}"
        with _loggers_left_on():
            mlflow.MlflowClient(tracking_uri=made, registry_uri=made).search_registered_models(max_results=1)
        try:
            os.link(partial, path)
        except FileExistsError:
            pass  # another process was faster
        except OSError:  # a disk without hard links
            os.replace(partial, path)


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested tables as one: {"train": {"epochs": 5}} becomes {"train.epochs": 5}."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found


def _version(entry: Any, name: str, champion: int | None, challenger: int | None, folder: Path) -> ModelVersion:
    record = read_json(folder / _RECORD)
    if record is None:
        raise ModelError(f"the files of model {name!r} version {entry.version} are missing from {folder}")
    return ModelVersion(
        name=name,
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
        left_out=tuple(record.get("left_out", ())),
        is_champion=int(entry.version) == champion,
        is_challenger=int(entry.version) == challenger,
    )


def _link_or_copy(source: str, target: str) -> None:
    """A hard link costs no space and survives the pruning of its source; across disks it is a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
