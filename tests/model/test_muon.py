from __future__ import annotations

import pytest
import torch
from torch import nn

from tulou.model.muon import StackedMuon, orthogonal
from tulou.model.training import inner_matrices

SHAPES = ((16, 16), (48, 16), (16, 48), (48, 16), (8, 16))


def matrices() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    """Cosine of two matrices; of the same length, too, within a fifth."""
    one, other = one.detach(), other.detach()
    assert torch.linalg.norm(one).item() == pytest.approx(torch.linalg.norm(other).item(), rel=0.2)
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def test_stacked_steps_are_much_like_those_of_torchs_muon() -> None:
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
        assert likeness(mine - before, other - before) > 0.95
        assert torch.equal(stacked.state[mine]["momentum_buffer"], alone.state[other]["momentum_buffer"])


def test_where_parameters_are_cut_the_step_is_much_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tulou.model.muon.STACK_NUMBERS", 800)  # stacks of one and of two
    ours, theirs = matrices(), matrices()
    for mine, other in zip(ours, theirs, strict=True):
        mine.grad = torch.randn_like(mine)
        other.grad = mine.grad.clone()
    StackedMuon(ours, lr=0.02).step()
    torch.optim.Muon.step(StackedMuon(theirs, lr=0.02))  # type: ignore[no-untyped-call]
    for before, mine, other in zip(matrices(), ours, theirs, strict=True):
        assert likeness(mine - before, other - before) > 0.95


def test_matrices_without_gradient_stay_as_they_are() -> None:
    learnt, frozen = matrices()[:2]
    learnt.grad = torch.randn_like(learnt)
    before = frozen.detach().clone()
    StackedMuon([learnt, frozen], lr=0.02).step()
    assert torch.equal(frozen, before)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 64, 32), (3, 32, 64)])
def test_singular_values_come_near_one(shape: tuple[int, ...], scale: float) -> None:
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonal(scale * torch.randn(shape)).float())
    assert values.max() < 1.3
    assert values.median() == pytest.approx(1.0, abs=0.25)


def test_of_a_wide_range_of_singular_values_all_come_near_one() -> None:
    torch.manual_seed(2)
    left, right = torch.linalg.qr(torch.randn(64, 64))[0], torch.linalg.qr(torch.randn(64, 64))[0]
    values = torch.linalg.svdvals(orthogonal((left * torch.logspace(0, -1.7, 64) @ right)[None]).float())
    assert values.min() > 0.6
    assert values.max() < 1.35


def test_matrices_of_zeros_stay_zeros() -> None:
    assert not orthogonal(torch.zeros(2, 8, 16)).any()


def test_embeddings_and_heads_are_no_inner_matrices_whatever_they_are_called() -> None:
    block = nn.Linear(8, 8)
    outside = {"wte": nn.Embedding(20, 8), "norm": nn.LayerNorm(8), "lm_head": nn.Linear(8, 20)}
    model = nn.ModuleDict({"block": block, **outside})
    matrices, rest = inner_matrices(model)
    assert [id(matrix) for matrix in matrices] == [id(block.weight)]
    assert len(rest) == len(list(model.parameters())) - 1
