"""Training curves in MLflow, point by point while the model learns, and read back for whoever shows them.

The loop tells a callable and knows nothing of MLflow. A run that was killed goes on in the MLflow run that it began,
found by its fingerprint. A tracking server that fails costs points of a picture, never the training: what was lost is
counted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_LOST = 3  # points in a row that could not be written, after which no more are tried


class Curve:
    """One training's points in the MLflow run `run_id`."""

    def __init__(self, client: MlflowClient, run_id: str, clock: Any = time.time) -> None:
        self._client, self.run_id, self._clock = client, run_id, clock
        self.lost = 0
        self._lost_in_a_row = 0

    def __call__(self, point: Mapping[str, float]) -> None:
        if self._lost_in_a_row >= MAX_LOST:
            self.lost += 1
            return
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        at, step = int(self._clock() * 1000), int(point["step"])
        metrics = [
            Metric(key, float(value), at, step)
            for key, value in point.items()
            if key != "step" and math.isfinite(value)
        ]
        try:
            self._client.log_batch(self.run_id, metrics=metrics)
            self._lost_in_a_row = 0
        except (MlflowException, OSError):
            self.lost += 1
            self._lost_in_a_row += 1


@contextmanager
def curve(client: MlflowClient, name: str, fingerprint: str, parameters: Mapping[str, Any]) -> Iterator[Curve]:
    """A curve in the experiment `training/NAME`, ended as what came of the training."""
    title = f"training/{name}"
    experiment = client.get_experiment_by_name(title)
    number = experiment.experiment_id if experiment else client.create_experiment(title)
    begun = client.search_runs([number], f"tags.fingerprint = '{fingerprint}' and attributes.status != 'FINISHED'")
    if begun:
        run_id = begun[0].info.run_id
        client.update_run(run_id, status="RUNNING")
    else:
        run_id = client.create_run(number, tags={"fingerprint": fingerprint}).info.run_id
        for key, value in parameters.items():
            client.log_param(run_id, key, value)
    try:
        yield Curve(client, run_id)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


State = Literal["running", "silent", "finished", "failed"]
"""Silent: it says that it runs and has told nothing for long, as after a kill or on a machine that went to sleep."""

SILENT_S = 300.0  # at least; a training whose points are far apart is given longer
SILENT_POINTS = 5  # of its own points that could have been told meanwhile


@dataclass(frozen=True)
class Training:
    """One training as far as it has come."""

    model: str
    stage: str
    state: State
    started_at: float  # seconds since the epoch
    told_at: float  # of the last point
    points: tuple[dict[str, float], ...]  # `loop.Point`s


class Trainings:
    """The newest training of each stage of a model, as MLflow has it; what has ended is asked for once."""

    def __init__(self, client: MlflowClient, clock: Callable[[], float] = time.time) -> None:
        self._client, self._clock = client, clock
        self._ended: dict[str, Training] = {}

    def latest(self, model: str, full_name: str) -> list[Training]:
        """Oldest first; `full_name` is what the registry's server calls the model."""
        experiment = self._client.get_experiment_by_name(f"training/{full_name}")
        if experiment is None:
            return []
        newest: dict[str, Any] = {}
        for run in self._client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"]):
            newest.setdefault(run.data.params.get("stage", ""), run)
        return [self._training(model, stage, run) for stage, run in reversed(newest.items())]

    def _training(self, model: str, stage: str, run: Any) -> Training:
        run_id, has_ended = run.info.run_id, run.info.status != "RUNNING"
        if has_ended and run_id in self._ended:
            return self._ended[run_id]
        started_at = run.info.start_time / 1000
        points: dict[int, dict[str, float]] = {}
        told_at = started_at
        for key in run.data.metrics:
            for metric in self._client.get_metric_history(run_id, key):
                points.setdefault(metric.step, {"step": metric.step})[key] = metric.value
                told_at = max(told_at, metric.timestamp / 1000)
        told = tuple(point for _, point in sorted(points.items()))
        training = Training(model, stage, self._state(run.info.status, told, told_at), started_at, told_at, told)
        if has_ended:
            self._ended[run_id] = training
        return training

    def _state(self, status: str, points: Sequence[Mapping[str, float]], told_at: float) -> State:
        if status != "RUNNING":
            return "finished" if status == "FINISHED" else "failed"
        apart_s = points[-1].get("seconds", 0.0) / len(points) if points else 0.0
        return "silent" if self._clock() - told_at > max(SILENT_S, SILENT_POINTS * apart_s) else "running"
