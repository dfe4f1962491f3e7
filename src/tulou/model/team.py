"""The processes that train one model together: alone, or several under torch.distributed, as DDP or FSDP.

Every worker runs the same recipe. A worker computes its share of each step's rows, gradients are averaged so that the
step is the one that a single process would take, and the first worker alone writes files. DDP keeps the whole model in
every process; FSDP cuts weights, gradients and optimizer state among them, and pays with traffic. It imports torch at
the top: import it inside the function that needs it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from tulou.model.training import pick_device

Sharding = Literal["ddp", "fsdp"]
T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    rank: int = 0
    size: int = 1
    sharding: Sharding = "ddp"

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def is_sharded(self) -> bool:
        return self.size > 1 and self.sharding == "fsdp"

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This worker's part of what is evaluated. Under FSDP all do all of it: they must call the model in step."""
        return items if self.is_sharded else items[self.rank :: self.size]

    def wrap(self, learner: nn.Module) -> nn.Module:
        """What to call in training; `learner` itself is still what to evaluate and to save."""
        if self.size == 1:
            return learner
        if self.sharding == "ddp":
            return nn.parallel.DistributedDataParallel(learner)
        from torch.distributed.fsdp import fully_shard

        for block in _blocks(learner):
            fully_shard(block)
        fully_shard(learner)
        return learner

    @contextlib.contextmanager
    def gradients(self, wrapped: nn.Module, *, is_last: bool) -> Iterator[None]:
        """Exchange gradients behind the last part of a step only."""
        if isinstance(wrapped, nn.parallel.DistributedDataParallel) and not is_last:
            with wrapped.no_sync():
                yield
            return
        if self.is_sharded:
            wrapped.set_requires_gradient_sync(is_last)  # type: ignore[operator]  # a method of FSDPModule
        yield

    def sum(self, *values: float) -> list[float]:
        """Each value added up over all workers."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=pick_device())
        dist.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def gather(self, values: Sequence[str]) -> list[str]:
        if self.size == 1:
            return list(values)
        everyone: list[Any] = [None] * self.size
        dist.all_gather_object(everyone, list(values))
        return [value for part in everyone for value in part]

    def agree(self, is_due: bool) -> bool:
        """What the first worker says: clocks differ."""
        return bool(self.sum(float(is_due and self.is_first))[0])

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier()


ALONE = Team()


def current_team(sharding: Sharding = "ddp") -> Team:
    """The team that this process was started in; alone where torch.distributed was not set up."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    return Team(dist.get_rank(), dist.get_world_size(), sharding)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that FSDP may have cut; every worker must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def cut_like(tensor: Tensor, model: Tensor) -> Tensor:
    """`tensor` on the device of `model`, and cut as it is."""
    if isinstance(model, DTensor):
        return distribute_tensor(tensor.to(model.device), model.device_mesh, model.placements)
    return tensor.to(model.device)


def _blocks(learner: nn.Module) -> list[nn.Module]:
    """The layers of a transformer: children of its longest list of modules."""
    lists = [module for module in learner.modules() if isinstance(module, nn.ModuleList)]
    longest = max(lists, key=len, default=None)
    return list(longest) if longest is not None else []
