"""The state of one training run on disk: safetensors and JSON, never pickle, replaced in one rename.

A killed run finds either the old checkpoint or the new one. Only what is learnt is kept (frozen weights come from the
base again), whole even where FSDP has cut it, so that a run may go on with another number of workers. It imports torch
at the top: import it inside the function that needs it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tulou.core.disk import is_disk_full
from tulou.core.errors import BusyError, DiskFullError
from tulou.model.team import cut_like, whole
from tulou.model.training import Optimizers

CHECKPOINT = "checkpoint.safetensors"


class Checkpoint:
    """The newest state of one training run in `folder`, for the run that comes after a kill."""

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        self.path = folder / CHECKPOINT
        self._writes = writes

    def save(self, model: nn.Module, optimizers: Optimizers, facts: dict[str, Any]) -> None:
        """Write weights, optimizer state and the JSON-able `facts` as one file.

        Raises `DiskFullError` where it has no room; the checkpoint before stays.
        """
        tensors = {f"model.{name}": tensor for name, tensor in learnt(model).items()}
        for number, optimizer in enumerate(optimizers.each):
            for index, state in optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"optimizer.{number}.{index}.{key}"] = value
        write_tensors(self.path, tensors, facts, writes=self._writes)

    def load(self, model: nn.Module, optimizers: Optimizers) -> dict[str, Any] | None:
        """Bring `model` and `optimizers` to the saved state and return the facts; None if there is no checkpoint."""
        if not self.path.is_file():
            return None
        saved = load_file(self.path)
        restore(model, {name.removeprefix("model."): t for name, t in saved.items() if name.startswith("model.")})
        for number, optimizer in enumerate(optimizers.each):
            groups = optimizer.state_dict()["param_groups"]
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in saved.items():
                if name.startswith(f"optimizer.{number}."):
                    _, _, index, key = name.split(".", 3)
                    like = parameters[int(index)]
                    state.setdefault(int(index), {})[key] = tensor if tensor.ndim == 0 else cut_like(tensor, like)
            optimizer.load_state_dict({"state": state, "param_groups": groups})
        return read_facts(self.path)


def learnt(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that training changes, tied ones once."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def restore(model: nn.Module, saved: dict[str, Tensor]) -> None:
    """Write `saved` weights into the parameters of `model` that have their names."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in saved.items():
            parameters[name].copy_(cut_like(tensor, parameters[name]))


def write_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any], *, writes: bool = True) -> None:
    """Write a safetensors file whole or not at all. Every worker calls it, those with `writes` write.

    Raises `DiskFullError` where it has no room; what was there before stays.
    """
    complete = {name: whole(tensor).cpu().clone().contiguous() for name, tensor in tensors.items()}
    if not writes:
        return
    partial = path.with_suffix(".partial")
    try:
        save_file(complete, partial, metadata={"facts": json.dumps(facts)})
        os.replace(partial, path)
    except (OSError, SafetensorError) as err:
        partial.unlink(missing_ok=True)
        if not is_disk_full(err):
            raise
        where = f"the disk that holds {path.parent} is full at step {facts.get('step', 0)} of training"
        if (path.parent / CHECKPOINT).is_file():
            kept = "the checkpoint before is kept: free some space and run again to go on from there"
        else:
            kept = "no checkpoint was written yet: free some space and run again"
        raise DiskFullError(f"{where}; {kept}") from err


def read_facts(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        facts: dict[str, Any] = json.loads(file.metadata()["facts"])
    return facts


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the training in `folder`; the kernel lets go of it when the process ends, however it ends.

    Raises `BusyError` where another training holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "training.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"another training is at work in {folder}; wait for it, stop it, or give this one a folder of its own"
            ) from None
        yield
