"""Which rows a step learns from, decided by the step's number alone: a run that was cut goes on as if it had not been.

A step's rows are cut first among workers and then into parts, so that little memory suffices; gradients are weighed
such that the step stays the one of a single process that takes all rows at once. It imports torch at the top: import
it inside the function that needs it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from torch import Tensor

from tulou.model.team import ALONE, Team
from tulou.model.training import length_buckets


@dataclass(frozen=True)
class Batch:
    """Rows that go through the model together: `tensors` are the learner's arguments, one row each in dimension 0."""

    tensors: dict[str, Tensor]
    names: tuple[str, ...]  # of the rows, for whoever must find one of them
    weight: float  # what the learner's loss is a mean over: rows, or tokens that are answered
    tokens: int  # read, padding not counted


Steps = Callable[[int], list[Batch]]
"""The parts of step number n that this worker computes, the first step being 0."""

Collate = Callable[[Sequence[int]], Batch]
"""Numbers of rows to a batch of them."""


@dataclass(frozen=True)
class Epochs:
    """Passes over rows in batches of like length, another order in each pass."""

    lengths: tuple[int, ...]
    batch_size: int
    seed: int
    count: int

    @property
    def steps_each(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    @property
    def steps(self) -> int:
        return self.count * self.steps_each

    @property
    def tokens(self) -> int:
        return self.count * sum(self.lengths)

    def rows(self, step: int) -> Sequence[int]:
        epoch, place = divmod(step, self.steps_each)
        return _order(self, epoch)[place]


@lru_cache(maxsize=1)
def _order(epochs: Epochs, epoch: int) -> list[list[int]]:
    return length_buckets(epochs.lengths, epochs.batch_size, random.Random(epochs.seed + epoch))


def cut_steps(rows: Callable[[int], Sequence[int]], collate: Collate, accumulate: int = 1, team: Team = ALONE) -> Steps:
    """Steps of `rows`, each in at most `accumulate` parts. All workers have equally many: they meet in each."""

    def parts(step: int) -> list[Batch]:
        chosen = rows(step)
        mine = chosen[team.rank :: team.size]
        most = -(-len(chosen) // team.size)  # rows of the worker that has the most
        size = -(-most // accumulate)
        batches = []
        for start in range(0, most, size):
            piece = mine[start : start + size]
            batch = collate(piece or chosen[:1])
            batches.append(batch if piece else replace(batch, weight=0.0, tokens=0))
        return batches

    return parts
