"""What the three training recipes share: precision, learning rate over time, length buckets, checkpoints.

Checkpoints are safetensors and JSON, never pickle, and replace each other in one rename, so that a killed run finds
either the old one or the new one. It imports torch at the top: import it inside the function that needs it.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WARM_UP = 0.1  # of all steps; BERT fine-tuning's usual share (Devlin et al. 2019, appendix A.3)


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 arithmetic is done by the hardware; emulated, it is slower than FP32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device) -> AbstractContextManager[Any]:
    """bf16 for matrix products where the processor has it, FP32 weights and optimizer always."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bf16(device))


def warm_up_then_linear(step: int, total: int, warm_up: float = WARM_UP) -> float:
    """Factor on the learning rate: up from 0 to 1 over the warm-up, then down to 0 at `total`."""
    rising = max(1, round(total * warm_up))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (total - step) / max(1, total - rising))


def length_buckets(lengths: Sequence[int], batch_size: int, rng: random.Random) -> list[list[int]]:
    """Indices in batches of like length, batches in random order: little padding, yet no fixed order.

    Lengths are jittered by up to 10 % before sorting, so that neighbours differ from epoch to epoch.
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i] * rng.uniform(0.9, 1.1))
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    rng.shuffle(batches)
    return batches


def pad(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Rows of unequal length to one tensor (B, T), filled up with `value` on the right."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])


class Checkpoint:
    """The newest state of one training run in `folder`, for the run that comes after a kill."""

    def __init__(self, folder: Path) -> None:
        self._tensors = folder / "checkpoint.safetensors"

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, facts: dict[str, Any]) -> None:
        """Write weights, optimizer state and the JSON-able `facts` as one file."""
        tensors = {f"model.{name}": tensor.contiguous() for name, tensor in _own_tensors(model).items()}
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value.clone().contiguous() for key, value in state.items()}
        partial = self._tensors.with_suffix(".partial")
        save_file(tensors, partial, metadata={"facts": json.dumps(facts)})
        os.replace(partial, self._tensors)

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
        """Bring `model` and `optimizer` to the saved state and return the facts; None if there is no checkpoint."""
        if not self._tensors.is_file():
            return None
        saved = load_file(self._tensors)
        weights = {name.removeprefix("model."): t for name, t in saved.items() if name.startswith("model.")}
        model.load_state_dict(weights, strict=False)  # tied weights are saved once
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in saved.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                state.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        return _facts(self._tensors)


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The state of `model`, each tensor once: safetensors refuses two names for one memory (tied embeddings)."""
    seen: set[int] = set()
    own = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            own[name] = tensor
            seen.add(tensor.data_ptr())
    return own


def _facts(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        facts: dict[str, Any] = json.loads(file.metadata()["facts"])
    return facts
