"""The names of compression: `int8`, `prune+int8`, `trim@0.25+distill@0.5+int8`.

A method is a chain: first what changes the shape of a model, then at most one way to store and compute its weights. A
number behind `@` says how much is kept (or, for INT4, how many weights share a scale); without it every usual amount is
tried, each as a candidate of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from tulou.core.types import Task

Kind = Literal["shape", "precision"]
BASELINE = "fp32"


@dataclass(frozen=True)
class Method:
    kind: Kind
    tasks: tuple[Task, ...]
    amounts: tuple[float, ...] = ()  # tried where the name stands alone; none: the method takes no amount


# Shares kept, each measured in docs/benchmarks.md: half of heads and width lost nothing on BANKING77 after recovery, a
# third makes a BERT-base in INT8 nearly 20 times as fast as PyTorch. DistilBERT keeps half of the layers (Sanh et al.
# 2019). A quarter of BERT's vocabulary held every token of BANKING77's training rows. INT4 shares a scale among 64
# weights: NNCF's own 128 does not divide the widths of small models.
METHODS: dict[str, Method] = {
    "trim": Method("shape", ("classify",), (0.25,)),
    "distill": Method("shape", ("classify",), (0.5,)),
    "prune": Method("shape", ("classify",), (0.5, 0.33)),
    "bf16": Method("precision", ("classify", "chat")),
    "int8": Method("precision", ("classify", "chat")),
    "int4": Method("precision", ("chat",), (64,)),
    "int4_sym": Method("precision", ("chat",), (64,)),
}

_MODELS: dict[Task, str] = {"classify": "classifiers", "chat": "chat models"}


@dataclass(frozen=True)
class Step:
    name: str
    amount: float | None = None

    def __str__(self) -> str:
        return self.name if self.amount is None else f"{self.name}@{self.amount:g}"


@dataclass(frozen=True)
class Plan:
    """One candidate: what happens to the trained model, in order."""

    shaping: tuple[Step, ...] = ()
    precision: Step = Step(BASELINE)

    @property
    def shape_name(self) -> str:
        return "+".join(map(str, self.shaping)) or BASELINE

    @property
    def name(self) -> str:
        """Also a folder's name: `prune@0.5+int8`."""
        is_plain = self.precision.name == BASELINE
        return "+".join(map(str, self.shaping if is_plain and self.shaping else (*self.shaping, self.precision)))


def plans(methods: Iterable[str], task: Task) -> list[Plan]:
    """The candidates of `methods` that fit `task`, behind the baseline; each once, in the order given."""
    found = [Plan()]
    for method in methods:
        steps = parse(method)
        if all(task in METHODS[step.name].tasks for step in steps):
            found += _spread(steps)
    return list(dict.fromkeys(found))


def without_shaping(methods: Iterable[str]) -> tuple[str, ...]:
    """The methods whose candidates are only exported: nothing is trained for them."""
    return tuple(method for method in methods if all(METHODS[step.name].kind != "shape" for step in parse(method)))


def left_out(methods: Iterable[str], task: Task) -> list[dict[str, str]]:
    """Methods that are not for models of this task, each with what it is for."""
    found = []
    for method in methods:
        if unfit := next((step.name for step in parse(method) if task not in METHODS[step.name].tasks), None):
            meant = " and ".join(_MODELS[each] for each in METHODS[unfit].tasks)
            found.append({"precision": method, "reason": f"{unfit} is for {meant} only"})
    return found


def parse(method: str) -> list[Step]:
    """The steps of a chain such as `prune@0.5+int8`. Raises `ValueError` saying what is wrong with it."""
    steps = [_step(part, method) for part in method.split("+")]
    names = [step.name for step in steps]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"method {method!r} names {sorted(doubled)[0]!r} twice")
    if any(METHODS[name].kind == "precision" for name in names[:-1]):
        raise ValueError(f"method {method!r}: a precision ({', '.join(_of('precision'))}) comes last, and only once")
    return steps


def _step(part: str, method: str) -> Step:
    name, at, amount = part.partition("@")
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r} in {method!r}; choose from {', '.join(METHODS)}, joined by '+'")
    if not at:
        return Step(name)
    known = METHODS[name]
    if not known.amounts:
        raise ValueError(f"method {name!r} in {method!r} takes no amount; write it without '@'")
    try:
        value = float(amount)
    except ValueError:
        value = -1.0
    if known.kind == "shape" and not 0 < value < 1:
        raise ValueError(f"{part!r} in {method!r}: the share that is kept is a number between 0 and 1")
    if known.kind == "precision" and value not in (16, 32, 64, 128, 256):
        raise ValueError(f"{part!r} in {method!r}: weights share a scale in groups of 16, 32, 64, 128 or 256")
    return Step(name, value)


def _spread(steps: Sequence[Step]) -> list[Plan]:
    """One plan for every combination of the amounts that were not said."""
    choices = []
    for step in steps:
        usual = METHODS[step.name].amounts
        choices.append([Step(step.name, amount) for amount in usual] if step.amount is None and usual else [step])
    spread = []
    for chosen in product(*choices):
        shaping = tuple(step for step in chosen if METHODS[step.name].kind == "shape")
        precision = next((step for step in chosen if METHODS[step.name].kind == "precision"), Step(BASELINE))
        spread.append(Plan(shaping, precision))
    return spread


def _of(kind: Kind) -> list[str]:
    return [name for name, method in METHODS.items() if method.kind == kind]
