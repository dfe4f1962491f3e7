from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tulou.model.curves import Curve, Trainings, curve
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


def test_the_newest_training_of_each_stage_is_read_back_point_by_point(client: Any) -> None:
    for fingerprint, loss in (("old", 9.0), ("new", 1.0)):
        with curve(client, "shop.assistant", fingerprint, {"stage": "pretrain.assistant"}) as report:
            report({"step": 1, "progress": 0.5, "loss": loss})
            report({"step": 2, "progress": 1.0, "loss": loss / 2, "validation": 3.0})
    with pytest.raises(KeyboardInterrupt), curve(client, "shop.assistant", "f", {"stage": "finetune.assistant"}):
        raise KeyboardInterrupt
    pretrained, finetuned = Trainings(client).latest("assistant", "shop.assistant")
    assert (pretrained.model, pretrained.stage, pretrained.state) == ("assistant", "pretrain.assistant", "finished")
    assert pretrained.points == (
        {"step": 1, "progress": 0.5, "loss": 1.0},
        {"step": 2, "progress": 1.0, "loss": 0.5, "validation": 3.0},
    )
    assert (finetuned.stage, finetuned.state, finetuned.points) == ("finetune.assistant", "failed", ())
    assert Trainings(client).latest("intents", "shop.intents") == []


def test_a_training_that_runs_is_read_anew_and_one_that_tells_nothing_is_called_silent(client: Any) -> None:
    now = [0.0]
    trainings = Trainings(client, clock=lambda: now[0])
    with curve(client, "intents", "f1", {"stage": "train.intents"}) as report:
        report({"step": 1, "seconds": 200.0})
        (training,) = trainings.latest("intents", "intents")
        now[0] = training.told_at + 900
        assert trainings.latest("intents", "intents")[0].state == "running", "its points are 200 s apart"
        report({"step": 2, "seconds": 201.0})
        now[0] = training.told_at + 1900
        (training,) = trainings.latest("intents", "intents")
        assert (training.state, len(training.points)) == ("silent", 2)
    assert trainings.latest("intents", "intents")[0].state == "finished"
