"""Muon whose matrices of one shape are orthogonalised together, in three iterations: half the time of torch's.

A small model's matrices are so small that a step of `torch.optim.Muon`, which takes them one by one, spends much of
its time between the products. Its five iterations repeat one polynomial; three that are each the best for what the one
before left come as near. It imports torch at the top: import it inside the function that needs it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

# Of x, x^3 and x^5 in each iteration: those that bring singular values from 0.01 to 1 nearest to 1 (Amsel et al. 2025,
# "The Polar Express"), with a hundredth of room for bf16 in all but the last.
POLYNOMIALS = ((8.0132, -22.9258, 16.5994), (3.6006, -2.6419, 0.5105), (2.6613, -1.9772, 0.4526))
ROOM = 1.01
SMALLEST_NORM = 1e-7
STACK_NUMBERS = 1 << 24  # in one stack, which takes some ten bytes for each; large matrices gain nothing from one


class StackedMuon(torch.optim.Muon):
    """`torch.optim.Muon` whose steps are as large as AdamW's.

    Parameters cut by FSDP are left to torch's own step, of five iterations, which is much like this one.
    """

    def __init__(self, matrices: Sequence[nn.Parameter], lr: float, weight_decay: float = 0.1) -> None:
        super().__init__(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if any(isinstance(parameter, DTensor) for group in self.param_groups for parameter in group["params"]):
            super().step(closure)  # type: ignore[no-untyped-call]
            return
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for alike in by_shape.values():
                at_once = max(1, STACK_NUMBERS // alike[0].numel())
                for start in range(0, len(alike), at_once):
                    self._step(alike[start : start + at_once], group)

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
    """Matrices (N, rows, columns) with all singular values but the smallest brought near 1, in bf16."""
    x = matrices.bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_NORM)
    is_tall = x.shape[1] > x.shape[2]
    for number, (a, b, c) in enumerate(POLYNOMIALS):
        gram = x.mT @ x if is_tall else x @ x.mT  # (N, shorter, shorter)
        if number == 0:  # its norm bounds the largest singular value's square far more closely than that of x
            bound = ROOM * gram.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_NORM)
            x, gram = x / bound.sqrt(), gram / bound
        change = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, x, change, beta=a) if is_tall else torch.baddbmm(x, change, x, beta=a)
    return x
