from __future__ import annotations

import errno
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.model.kills import Killed, KilledAt
from torch import Tensor, nn

from tulou.core.errors import BusyError, DiskFullError, ModelError
from tulou.core.progress import Progress, Silent
from tulou.model.batches import Batch, Epochs, cut_steps
from tulou.model.checkpoint import alone_in
from tulou.model.loop import Outcome, Plan, Validation, train
from tulou.model.training import Optimizers

ROWS = 40


class Line(nn.Module):
    """A regression with dropout, so that random numbers matter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.mse_loss(self.layers(x)[:, 0], y)


def adamw(learner: nn.Module) -> Optimizers:
    return Optimizers(torch.optim.AdamW(learner.parameters(), lr=1e-2, fused=True))


def batch_of(rows: Sequence[int], x: Tensor) -> Batch:
    chosen = x[list(rows)]
    return Batch({"x": chosen, "y": chosen.sum(dim=1)}, tuple(f"row-{i}" for i in rows), len(rows), len(rows))


def data() -> Tensor:
    return torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(5))


def run(
    scratch: Path,
    progress: Progress | None = None,
    *,
    seed: int = 0,
    accumulate: int = 1,
    x: Tensor | None = None,
    validate: Callable[[Any], Validation] | None = None,
    report: Callable[[Mapping[str, float]], None] | None = None,
    **plan: Any,
) -> Outcome:
    values = data() if x is None else x
    epochs = Epochs((1,) * ROWS, 8, seed, 4)
    steps = cut_steps(epochs.rows, lambda rows: batch_of(rows, values), accumulate)
    return train(
        Line, adamw, steps, Plan(epochs.steps, epochs.tokens, seed, **plan), scratch,
        progress=progress, validate=validate, report=report,
    )  # fmt: skip


def weights(outcome: Outcome) -> list[Tensor]:
    return [parameter.detach() for parameter in outcome.learner.parameters()]


def is_equal(a: Outcome, b: Outcome) -> bool:
    return all(one.equal(other) for one, other in zip(weights(a), weights(b), strict=True))


def curve(outcome: Outcome) -> list[tuple[float, float, float]]:
    return [(point["step"], point["loss"], point["lr"]) for point in outcome.course.points]


@pytest.mark.parametrize("step", [1, 5, 12, 19])
def test_a_run_killed_at_any_step_ends_with_the_bits_of_one_that_was_not(step: int, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "cut", KilledAt(step), checkpoint_every=3)
    resumed = run(tmp_path / "cut", checkpoint_every=3)
    assert is_equal(whole, resumed)
    assert curve(whole) == curve(resumed)
    assert resumed.summary().get("resumed_at_step", 0) == 3 * ((step - 1) // 3)
    assert "resumed_at_step" not in whole.summary()


def test_a_resumed_run_takes_only_the_steps_that_are_left(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, KilledAt(11), checkpoint_every=5)
    fuse = KilledAt(12)
    run(tmp_path, fuse, checkpoint_every=5)
    assert fuse.left == 1, "the bar moved for what was done, then for each of the 10 steps left"


def test_seeds_reproduce_and_differ(tmp_path: Path) -> None:
    a, b, c = (run(tmp_path / name, seed=seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert is_equal(a, b)
    assert not is_equal(a, c)


def test_a_step_in_parts_is_the_step_in_one(tmp_path: Path) -> None:
    class Still(Line):
        def __init__(self) -> None:
            super().__init__()
            self.layers[2] = nn.Identity()

    epochs = Epochs((1,) * ROWS, 7, 0, 3)  # 7 rows in 3 parts: 3, 3 and 1
    ends = []
    for accumulate in (1, 3):
        steps = cut_steps(epochs.rows, lambda rows: batch_of(rows, data()), accumulate)
        ends.append(train(Still, adamw, steps, Plan(epochs.steps, epochs.tokens), tmp_path / str(accumulate)))
    for one, other in zip(weights(ends[0]), weights(ends[1]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)  # bf16 products


def test_the_best_weights_are_kept_and_training_stops_when_nothing_gets_better(tmp_path: Path) -> None:
    scores = iter([1.0, 3.0, 2.0, 2.5, 9.0])
    seen: list[Tensor] = []

    def validate(learner: Any) -> Validation:
        seen.append(learner.layers[0].weight.detach().clone())
        score = next(scores)
        return Validation(score, score)

    outcome = run(tmp_path, validate=validate, validate_every=3, patience=2)
    assert (outcome.course.step, outcome.course.best_step, outcome.course.stopped_early) == (12, 6, True)
    assert outcome.learner.layers[0].weight.equal(seen[1])
    assert outcome.best is not None
    assert outcome.best["validation"] == 3.0
    again = run(tmp_path, validate=validate, validate_every=3, patience=2)
    assert again.course.step == 12, "what has stopped stays stopped"


def test_among_weights_that_cannot_be_told_apart_the_later_are_kept(tmp_path: Path) -> None:
    scores = iter([1.0, 3.0, 2.9, 2.4, 2.4, 2.4])
    outcome = run(tmp_path, validate=lambda _: Validation(next(scores), 0.0, margin=0.5), validate_every=3, patience=2)
    assert (outcome.course.best_step, outcome.course.best_score) == (9, 3.0)
    assert outcome.course.step == 12, "two validations without a better one"


def test_the_margin_of_a_share_is_one_standard_error() -> None:
    assert Validation.of_share(0.9, 100, {}).margin == pytest.approx(0.03)


def test_the_weights_it_began_with_may_be_the_best(tmp_path: Path) -> None:
    scores = iter([5.0, 1.0, 1.0])
    outcome = run(tmp_path, validate=lambda _: Validation(next(scores), 0.0), validate_every=10, validates_first=True)
    assert outcome.course.best_step == 0
    assert outcome.learner.layers[0].weight.equal(Line().layers[0].weight)


def test_a_loss_that_is_no_number_names_its_row_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    poisoned = data()
    poisoned[17, 1] = math.nan
    with pytest.raises(ModelError, match=r"the loss stopped being a number at step \d+ of 20, at rows row-17; the w"):
        run(tmp_path, x=poisoned, checkpoint_every=1)
    before = run(tmp_path)  # the row was mended: it goes on from the weights before
    assert all(parameter.isfinite().all() for parameter in weights(before))
    assert before.course.step == 20


def test_a_gradient_that_is_no_number_never_reaches_the_weights(tmp_path: Path) -> None:
    class Steep(Line):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return (super().forward(x, y) * 0).sqrt()  # 0, with an infinite slope

    epochs = Epochs((1,) * ROWS, 8, 0, 1)
    steps = cut_steps(epochs.rows, lambda rows: batch_of(rows, data()))
    told = r"the gradient stopped being a number at step 1 of 5, at rows row-.*; no checkpoint was written yet: "
    with pytest.raises(ModelError, match=told):
        train(Steep, adamw, steps, Plan(epochs.steps, epochs.tokens), tmp_path)


@pytest.mark.parametrize(
    ("full_at", "told"),
    [
        (1, "at step 4 of training; no checkpoint was written"),
        (3, "at step 12 of training; the checkpoint before"),
    ],
)
def test_a_full_disk_at_a_checkpoint_keeps_the_one_before(
    full_at: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves, real = 0, safetensors.torch.save_file

    def fill(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        nonlocal saves
        saves += 1
        if saves == full_at:
            Path(path).write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path, metadata=metadata)

    monkeypatch.setattr("tulou.model.checkpoint.save_file", fill)
    with pytest.raises(DiskFullError, match=told):
        run(tmp_path, checkpoint_every=4)
    assert not list(tmp_path.glob("*.partial"))
    monkeypatch.setattr("tulou.model.checkpoint.save_file", real)
    assert is_equal(run(tmp_path, checkpoint_every=4), run(tmp_path / "whole"))


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path) -> None:
    with alone_in(tmp_path / "worker-0"), pytest.raises(BusyError, match="another training is at work in"):
        run(tmp_path)


def test_points_tell_loss_speed_rate_and_memory(tmp_path: Path) -> None:
    told: list[Mapping[str, float]] = []
    outcome = run(tmp_path, report=told.append, validate=lambda _: Validation(0.5, 0.5), validate_every=20)
    assert told == outcome.course.points == outcome.summary()["history"]
    shown = {"step", "progress", "loss", "lr", "tokens_s", "rows_s", "memory_bytes", "seconds", "validation", "kept"}
    assert shown == told[-1].keys()
    assert told[-1]["progress"] == 1.0
    assert told[-1]["memory_bytes"] > 50e6


def test_the_pace_of_a_point_is_of_learning_and_not_of_validating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def tick() -> float:
        nonlocal now
        now += 0.001
        return now

    def slow(_: Any) -> Validation:
        nonlocal now
        now += 100
        return Validation(0.5, 0.5)

    monkeypatch.setattr("tulou.model.loop.time", SimpleNamespace(monotonic=tick))
    *_, last = run(tmp_path, validate=slow, validate_every=20).course.points
    assert last["seconds"] > 100
    assert last["tokens_s"] > 8 / 1, "eight tokens a step, which took some ticks, and 100 s of validating"


def test_progress_says_step_loss_and_memory(tmp_path: Path) -> None:
    notes: list[str] = []

    class Noting(Silent):
        def bar(self, title: str, total: float | None = None, unit: str = "") -> Any:
            bar = super().bar(title, total, unit)

            class Listening:
                def __enter__(self) -> Any:
                    inner = bar.__enter__()
                    inner.note = notes.append  # type: ignore[assignment]
                    return inner

                def __exit__(self, *err: Any) -> None:
                    bar.__exit__(*err)

            return Listening()

    run(tmp_path, Noting())
    assert notes[9].startswith("step 10/20, loss ")
    assert notes[9].endswith(" GB")
