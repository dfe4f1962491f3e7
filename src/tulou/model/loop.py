"""The one training loop: a recipe brings a learner, the steps' batches and a plan, and gets back the best weights.

A step is a function of the weights, the optimizer's state and the step's number: random numbers are seeded with it
anew. So a run that was killed goes on at its last checkpoint and ends, on a CPU, with the very bits of one that was
not. A loss or gradient that is no number stops the run before it reaches the weights. It imports torch at the top:
import it inside the function that needs it.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tulou.core.errors import ModelError
from tulou.core.progress import Bar, Progress, Silent
from tulou.model.batches import Batch, Steps
from tulou.model.checkpoint import Checkpoint, alone_in, learnt, restore, write_tensors
from tulou.model.heap import kept_heap
from tulou.model.team import ALONE, Team, whole
from tulou.model.training import WARM_UP, Optimizers, autocast, pick_device, warm_up_then_linear

Point = dict[str, float]
"""One point of the curves: step, progress (share of all steps), loss (mean since the point before), lr, tokens_s,
rows_s, memory_bytes, seconds; and, where the model was validated, `validation` with what else was measured, `kept`
where these are the best weights so far."""

Report = Callable[[Mapping[str, float]], None]
"""Told each point as it is made."""

POINTS = 100  # of a whole run's curve: more than a screen can show apart
CHECKPOINT_S = 60.0  # what a kill costs at most, where the settings say nothing
NAMES_SHOWN = 8


@dataclass(frozen=True)
class Validation:
    """How good the model is on rows it does not learn from; the highest `score` is the best.

    Scores within `margin` of the best cannot be told from it, and then the later weights are kept: the learning rate
    falls to the end, so late steps are the finest.
    """

    score: float
    value: float  # what is shown, such as an accuracy or a loss
    facts: Mapping[str, float] = field(default_factory=dict)
    margin: float = 0.0

    @classmethod
    def of_share(cls, share: float, rows: float, facts: Mapping[str, float]) -> Validation:
        """A share of `rows` that came out right; its margin is one standard error."""
        return cls(share, share, facts, math.sqrt(share * (1 - share) / rows))


@dataclass(frozen=True)
class Plan:
    steps: int
    tokens: int  # read in all of them, for the bar
    seed: int = 0
    validate_every: int = 0  # steps; 0: never
    validates_first: bool = False  # whether the weights before the first step may be the best
    patience: int = 0  # validations without a better one after which training ends; 0: it never ends early
    checkpoint_every: int = 0  # steps; 0: every CHECKPOINT_S seconds
    clip: float = 1.0  # longest gradient
    warm_up: float = WARM_UP  # share of steps
    recomputes: bool = False  # whether activations are computed twice rather than kept


@dataclass
class Course:
    """How far a run has come; goes into its checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    points: list[Point] = field(default_factory=list)
    best_step: int | None = None  # whose weights are kept
    best_score: float | None = None  # the highest of all
    stale: int = 0  # validations since the best one
    stopped_early: bool = False
    resumed_at: int = 0  # the step at which a run that was killed went on last; 0: it never was
    loss_sum: float = 0.0  # since the last point
    rows: int = 0
    loss_weight: float = 0.0


@dataclass(frozen=True)
class Outcome:
    learner: Any  # with the best weights, or the last where nothing was validated
    course: Course

    @property
    def best(self) -> Point | None:
        """The point of the curve at which the weights were taken."""
        return next((p for p in self.course.points if p["step"] == self.course.best_step and "validation" in p), None)

    def summary(self) -> dict[str, Any]:
        """What a stage tells of its training, whatever the task."""
        course = self.course
        return {
            "steps": course.step,
            "best_step": course.best_step,
            "stopped_early": course.stopped_early,
            **({"resumed_at_step": course.resumed_at} if course.resumed_at else {}),
            "train_seconds": round(course.seconds, 1),
            "tokens_seen": course.tokens,
            "tokens_s": round(course.tokens / max(course.seconds, 1e-9)),
            "history": course.points,
        }


def train(
    build: Callable[[], nn.Module],
    make_optimizers: Callable[[Any], Optimizers],
    steps: Steps,
    plan: Plan,
    scratch: Path,
    *,
    title: str = "Train",
    validate: Callable[[Any], Validation] | None = None,
    progress: Progress | None = None,
    report: Report | None = None,
    team: Team = ALONE,
) -> Outcome:
    """Take `plan.steps` steps from the learner that `build` makes, going on from the checkpoint in `scratch`, if any.

    A learner is a module that returns the mean loss of the batch's `tensors`. Raises `ModelError` naming the rows at
    which the loss stops being a number, `DiskFullError` where a checkpoint has no room, `BusyError` where another
    training is at work in `scratch`.
    """
    with alone_in(scratch / f"worker-{team.rank}"), kept_heap():
        device = pick_device()
        learner = build().to(device)
        if plan.recomputes:
            recompute_activations(learner)
        run = _Run(learner, team.wrap(learner), make_optimizers, steps, plan, scratch, validate, report, team)
        with (progress or Silent()).bar(title, total=plan.tokens, unit="tokens") as bar:
            run.all_steps(bar)
        if team.is_sharded:
            learner = build().to(device)
        restore(learner, load_file(scratch / "best.safetensors"))
    return Outcome(learner.eval(), run.course)


class _Run:
    """One run of the loop: the weights, where they are in the plan, and what is written of them."""

    def __init__(
        self,
        learner: nn.Module,
        wrapped: nn.Module,
        make_optimizers: Callable[[Any], Optimizers],
        steps: Steps,
        plan: Plan,
        scratch: Path,
        validate: Callable[[Any], Validation] | None,
        report: Report | None,
        team: Team,
    ) -> None:
        self.learner, self.wrapped, self.optimizers = learner, wrapped, make_optimizers(learner)
        self.steps, self.plan, self.team = steps, plan, team
        self.validate, self.report = validate, report
        self.parameters = [parameter for parameter in learner.parameters() if parameter.requires_grad]
        self.best = scratch / "best.safetensors"
        self.checkpoint = Checkpoint(scratch, writes=team.is_first)
        self.course = Course(**(self.checkpoint.load(learner, self.optimizers) or {}))
        self.saved_step = self.course.resumed_at = self.course.step
        self._saved_at = time.monotonic()
        self._started = self._saved_at - self.course.seconds
        self._point_at, self._point_tokens = self.course.seconds, self.course.tokens
        self._validating_s = 0.0  # since the last point

    def all_steps(self, bar: Bar) -> None:
        course, plan = self.course, self.plan
        bar.advance(course.tokens)
        if course.resumed_at:
            bar.note(f"goes on at step {course.resumed_at}")
        point_every = max(1, plan.steps // POINTS)
        if self.validate and plan.validates_first and course.best_step is None:
            self._point(plan.warm_up, self._validated())
        self.wrapped.train()
        while course.step < plan.steps and not course.stopped_early:
            speed = warm_up_then_linear(course.step, plan.steps, plan.warm_up)
            tokens = self._step(speed)
            course.step += 1
            is_last = course.step == plan.steps
            bar.advance(tokens)
            is_valid = bool(self.validate and plan.validate_every) and (
                is_last or course.step % plan.validate_every == 0
            )
            if is_valid or is_last or course.step % point_every == 0:
                point = self._point(speed, self._validated() if is_valid else {})
                bar.note(self._said(point))
            course.seconds = time.monotonic() - self._started
            if self._is_due(is_last):
                self._save()
        if course.best_step is None:
            self._keep()

    def _step(self, speed: float) -> int:
        """Learn from one step's rows, and return how many tokens they have."""
        course, team = self.course, self.team
        parts = self.steps(course.step)
        total, rows, tokens = team.sum(
            sum(part.weight for part in parts),
            sum(len(part.names) for part in parts if part.weight),
            sum(part.tokens for part in parts),
        )
        torch.manual_seed(_seed(self.plan.seed, course.step, team.rank))
        loss_sum = 0.0
        for number, part in enumerate(parts):
            with team.gradients(self.wrapped, is_last=number == len(parts) - 1):
                loss = self._loss(self.wrapped, part)
                (loss * (part.weight * team.size / max(total, 1.0))).backward()  # type: ignore[no-untyped-call]
            loss_sum += float(loss.detach()) * part.weight
        (loss_sum,) = team.sum(loss_sum)
        length = float(whole(nn.utils.clip_grad_norm_(self.parameters, self.plan.clip)))
        if not math.isfinite(loss_sum) or not math.isfinite(length):
            raise self._stopped(parts, "loss" if not math.isfinite(loss_sum) else "gradient")
        self.optimizers.step(speed)
        course.loss_sum += loss_sum
        course.loss_weight += total
        course.rows += int(rows)
        course.tokens += int(tokens)
        return int(tokens)

    def _loss(self, learner: nn.Module, part: Batch) -> Tensor:
        with autocast(pick_device()):
            loss: Tensor = learner(**part.tensors)
        return loss.float()

    def _stopped(self, parts: list[Batch], what: str) -> ModelError:
        """The error that names the rows which give no number by themselves, or all of the step's where none does."""
        names = [name for part in parts for name in part.names if part.weight]
        if not self.team.is_sharded:
            names = [name for part in parts for name in self._culprits(part)] or names
        names = self.team.gather(names)
        shown = ", ".join(names[:NAMES_SHOWN]) + (f" and {len(names) - NAMES_SHOWN} more" * (len(names) > NAMES_SHOWN))
        kept = f"the weights of step {self.saved_step} are kept" if self.saved_step else "no checkpoint was written yet"
        return ModelError(
            f"the {what} stopped being a number at step {self.course.step + 1} of {self.plan.steps}, at rows {shown}; "
            f"{kept}: mend or remove these rows, or lower learning_rate"
        )

    def _culprits(self, part: Batch) -> list[str]:
        found = []
        with torch.no_grad():
            for number, name in enumerate(part.names):
                row = Batch({key: t[number : number + 1] for key, t in part.tensors.items()}, (name,), 1.0, 0)
                if not math.isfinite(float(self._loss(self.learner, row))):
                    found.append(name)
        return found

    def _validated(self) -> dict[str, float]:
        """Validate, keep the weights if they are the best so far, and return what was measured."""
        assert self.validate is not None
        course = self.course
        began = time.monotonic()
        self.learner.eval()
        found = self.validate(self.learner)
        self.wrapped.train()
        self._validating_s += time.monotonic() - began
        best = course.best_score
        if best is None or found.score > best:
            course.best_score, course.stale = found.score, 0
        else:
            course.stale += 1
            course.stopped_early = 0 < self.plan.patience <= course.stale
        told = {"validation": round(found.value, 6), **found.facts}
        if best is None or found.score > best - found.margin:
            course.best_step = course.step
            self._keep()
            told["kept"] = 1.0
        return told

    def _point(self, speed: float, measured: Mapping[str, float]) -> Point:
        course = self.course
        seconds = time.monotonic() - self._started
        spent = max(seconds - self._point_at - self._validating_s, 1e-9)
        point: Point = {"step": course.step, "progress": round(course.step / self.plan.steps, 4)}
        if course.loss_weight:
            point |= {
                "loss": round(course.loss_sum / course.loss_weight, 5),
                "lr": self.optimizers.learning_rate,
                "tokens_s": round((course.tokens - self._point_tokens) / spent, 1),
                "rows_s": round(course.rows / spent, 1),
            }
        point |= {"memory_bytes": memory_bytes(), "seconds": round(seconds, 2), **measured}
        course.points.append(point)
        course.loss_sum, course.loss_weight, course.rows = 0.0, 0.0, 0
        self._point_at, self._point_tokens, self._validating_s = seconds, course.tokens, 0.0
        if self.report and self.team.is_first:
            self.report(point)
        return point

    def _said(self, point: Point) -> str:
        words = f"step {self.course.step}/{self.plan.steps}, loss {point.get('loss', math.nan):.2f}"
        if "validation" in point:
            words += f", validation {point['validation']:.3f}"
        return f"{words}, {point['memory_bytes'] / 1e9:.1f} GB"  # the bar itself tells pace and time left

    def _is_due(self, is_last: bool) -> bool:
        if is_last or self.course.stopped_early:
            return True
        if self.plan.checkpoint_every:
            return self.course.step % self.plan.checkpoint_every == 0
        is_due = time.monotonic() - self._saved_at >= CHECKPOINT_S
        return is_due if self.team.size == 1 else self.team.agree(is_due)

    def _save(self) -> None:
        self.checkpoint.save(self.learner, self.optimizers, asdict(self.course))
        self.saved_step, self._saved_at = self.course.step, time.monotonic()
        self.team.wait()

    def _keep(self) -> None:
        """Write the weights as they are as the best so far."""
        write_tensors(self.best, learnt(self.learner), {"step": self.course.step}, writes=self.team.is_first)
        self.team.wait()


def recompute_activations(learner: nn.Module) -> None:
    """Keep one activation per layer and compute the rest again on the way back: a third more time, far less memory.

    Raises `ModelError` where the architecture does not offer it.
    """
    again = {"use_reentrant": False}
    module: Any
    for module in learner.modules():
        if hasattr(module, "activation_checkpointing_enable"):
            module.activation_checkpointing_enable(activation_checkpointing_kwargs=again)
            return
        if hasattr(module, "gradient_checkpointing_enable"):  # its name before transformers 5.20
            module.gradient_checkpointing_enable(gradient_checkpointing_kwargs=again)
            return
    raise ModelError("gradient_checkpointing is not offered by this architecture; leave the setting out")


def memory_bytes() -> int:
    """What training holds now: the process's memory, or the most that the GPU held."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import psutil

    return int(psutil.Process().memory_info().rss)


def _seed(seed: int, step: int, rank: int) -> int:
    return random.Random(f"{seed}/{step}/{rank}").getrandbits(63)
