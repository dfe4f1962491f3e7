"""Muon whose matrices of one shape are orthogonalised together: fewer and larger products, a fifth less time.

A small model's matrices are so small that a step of `torch.optim.Muon`, which takes them one by one, spends much of
its time between the products. It imports torch at the top: import it inside the function that needs it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

# Coefficients, steps and the smallest norm of Jordan et al. 2024, as in torch.optim.Muon.
A, B, C = 3.4445, -4.7750, 2.0315
ITERATIONS = 5
SMALLEST_NORM = 1e-7


class StackedMuon(torch.optim.Muon):
    """`torch.optim.Muon` with its arguments and its state; parameters cut by FSDP are left to its own step."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            learnt = [parameter for parameter in group["params"] if parameter.grad is not None]
            if any(isinstance(parameter, DTensor) for parameter in learnt):
                super().step(closure)  # type: ignore[no-untyped-call]
                return
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in learnt:
                by_shape[parameter.shape].append(parameter)
            for alike in by_shape.values():
                self._step(alike, group)

    def _step(self, parameters: Sequence[Tensor], group: dict[str, Any]) -> None:
        """One step of matrices of one shape, as large as one of AdamW's (Liu et al. 2025)."""
        momentum, speed = group["momentum"], group["lr"]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        averages = [self._average(parameter) for parameter in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        updates = orthogonal(torch.stack(torch._foreach_lerp(gradients, averages, momentum)))  # Nesterov's
        scale = 0.2 * max(updates.shape[1:]) ** 0.5
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.mul_(1 - speed * group["weight_decay"]).add_(update, alpha=-speed * scale)

    def _average(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average: Tensor = state["momentum_buffer"]
        return average


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (N, rows, columns) with all singular values brought near 1 by Newton-Schulz, in bf16."""
    x = matrices.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_NORM)
    is_tall = x.shape[1] > x.shape[2]
    for _ in range(ITERATIONS):
        gram = x.mT @ x if is_tall else x @ x.mT  # (N, shorter, shorter)
        change = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        x = torch.baddbmm(x, x, change, beta=A) if is_tall else torch.baddbmm(x, change, x, beta=A)
    return x
