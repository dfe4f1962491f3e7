from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn

from tulou.model.libraries import load_openvino, quiet


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("no graph")


def test_a_conversion_that_fails_leaves_warnings_on() -> None:
    before = logging.getLogger().level
    with pytest.raises(RuntimeError, match="no graph"), quiet():
        load_openvino().convert_model(Failing(), example_input=torch.ones(2))
    assert logging.getLogger().level == before
