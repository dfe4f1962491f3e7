"""Training curves in MLflow, point by point while the model learns.

The loop tells a callable and knows nothing of MLflow. A run that was killed goes on in the MLflow run that it began,
found by its fingerprint. A tracking server that fails costs points of a picture, never the training: what was lost is
counted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
