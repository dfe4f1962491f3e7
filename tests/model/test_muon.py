from __future__ import annotations

import pytest
import torch
from torch import nn

from tulou.model.muon import StackedMuon, orthogonal

SHAPES = ((16, 16), (48, 16), (16, 48), (48, 16), (8, 16))


def matrices() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def test_stacked_steps_are_those_of_torchs_muon() -> None:
    ours, theirs = matrices(), matrices()
    stacked = StackedMuon(ours, lr=0.02, weight_decay=0.1)
    alone = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        torch.manual_seed(100 + step)
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        stacked.step()
        alone.step()  # type: ignore[no-untyped-call]
    for before, mine, other in zip(matrices(), ours, theirs, strict=True):
        assert torch.linalg.norm(mine - other) < 0.02 * torch.linalg.norm(other - before)  # bf16 rounds
        assert torch.equal(stacked.state[mine]["momentum_buffer"], alone.state[other]["momentum_buffer"])


def test_its_own_step_is_the_one_that_torch_takes_where_parameters_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tulou.model.muon.STACK_NUMBERS", 800)  # stacks of one and of two
    ours, theirs = matrices(), matrices()
    for mine, other in zip(ours, theirs, strict=True):
        mine.grad = torch.randn_like(mine)
        other.grad = mine.grad.clone()
    StackedMuon(ours, lr=0.02).step()
    torch.optim.Muon.step(StackedMuon(theirs, lr=0.02))  # type: ignore[no-untyped-call]
    for before, mine, other in zip(matrices(), ours, theirs, strict=True):
        assert torch.linalg.norm(mine - other) < 0.02 * torch.linalg.norm(other - before)


def test_matrices_without_gradient_stay_as_they_are() -> None:
    learnt, frozen = matrices()[:2]
    learnt.grad = torch.randn_like(learnt)
    before = frozen.detach().clone()
    StackedMuon([learnt, frozen], lr=0.02).step()
    assert torch.equal(frozen, before)


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 64, 32), (3, 32, 64)])
def test_singular_values_come_near_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape)).float())
    assert values.max() < 1.3
    assert values.median() == pytest.approx(0.95, abs=0.2)
