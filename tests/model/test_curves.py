from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tulou.model.curves import Curve, curve
from tulou.model.registry import Registry


@pytest.fixture
def client(tmp_path: Path) -> Any:
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "registry")
    return registry.client


def test_points_of_a_training_are_in_mlflow_by_step(client: Any) -> None:
    with curve(client, "intents", "f1", {"base": "minilm"}) as report:
        for step in (1, 2):
            report({"step": step, "loss": 1.0 / step, "tokens_s": 9.0})
    history = client.get_metric_history(report.run_id, "loss")
    assert [(each.step, each.value) for each in history] == [(1, 1.0), (2, 0.5)]
    run = client.get_run(report.run_id)
    assert (run.info.status, run.data.params["base"], run.data.tags["fingerprint"]) == ("FINISHED", "minilm", "f1")


def test_a_run_that_was_killed_goes_on_in_its_mlflow_run(client: Any) -> None:
    with pytest.raises(KeyboardInterrupt), curve(client, "intents", "f1", {"base": "minilm"}) as first:
        raise KeyboardInterrupt
    assert client.get_run(first.run_id).info.status == "FAILED"
    with curve(client, "intents", "f1", {"base": "minilm"}) as second:
        pass
    with curve(client, "intents", "f1", {"base": "minilm"}) as third:
        pass
    assert second.run_id == first.run_id
    assert third.run_id != first.run_id, "what has finished is not written over"


def test_a_server_that_fails_costs_points_and_not_the_training() -> None:
    from mlflow.exceptions import MlflowException

    class Down:
        calls = 0

        def log_batch(self, *given: Any, **more: Any) -> None:
            self.calls += 1
            raise MlflowException("no answer")

    down = Down()
    report = Curve(down, "run")
    for step in range(10):
        report({"step": step, "loss": 1.0})
    assert (report.lost, down.calls) == (10, 3)
