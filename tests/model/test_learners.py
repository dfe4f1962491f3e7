from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tulou.model import learners
from tulou.model.causal import IGNORED, load_causal
from tulou.model.learners import Speaker, log_probabilities


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_log_probabilities_and_their_gradients_are_those_of_cross_entropy(
    dtype: torch.dtype, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(learners.PIECE, "cpu", 7 * 33)  # pieces of seven rows, the last one shorter
    torch.manual_seed(0)
    drawn, targets, weights = 5 * torch.randn(count, 33), torch.randint(0, 33, (count,)), torch.rand(count)
    logits, known = (drawn.to(dtype).requires_grad_() for _ in range(2))
    found = log_probabilities(logits, targets)
    expected = -torch.nn.functional.cross_entropy(known.float(), targets, reduction="none")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad((found * weights).sum(), logits)
    (known_gradient,) = torch.autograd.grad((expected * weights).sum(), known)
    torch.testing.assert_close(gradient, known_gradient)


def test_the_gradient_may_be_asked_for_twice() -> None:
    logits = torch.randn(4, 9, requires_grad=True)
    total = log_probabilities(logits, torch.arange(4)).sum()
    (first,) = torch.autograd.grad(total, logits, retain_graph=True)
    (second,) = torch.autograd.grad(total, logits)
    assert torch.equal(first, second)


def test_targets_are_the_same_whether_taken_at_once_or_picked(causal_folder: Path) -> None:
    speaker = Speaker(load_causal(causal_folder)).eval()
    ids = torch.randint(3, 50, (2, 8))
    of_all = speaker.log_probabilities(ids, ids).view(2, 7)
    some = ids.clone()
    some[0, 3:] = some[1, :2] = IGNORED
    picked = speaker.log_probabilities(ids, some)
    torch.testing.assert_close(picked, torch.cat([of_all[0, :2], of_all[1, 1:]]))
    assert len(speaker.log_probabilities(ids[:, :1], ids[:, :1])) == 0
    assert len(speaker.log_probabilities(ids, torch.full_like(ids, IGNORED))) == 0
