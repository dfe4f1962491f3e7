from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn

from tulou.core.extras import load_openvino
from tulou.model.libraries import cause_of, load_nncf, quiet


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("no graph")


def test_a_conversion_that_fails_leaves_warnings_on() -> None:
    before = logging.getLogger().level
    with pytest.raises(RuntimeError, match="no graph"), quiet():
        load_openvino().convert_model(Failing(), example_input=torch.ones(2))
    assert logging.getLogger().level == before


def test_quieting_nncf_quiets_nobody_who_listens_to_it(caplog: pytest.LogCaptureFixture) -> None:
    nncf = logging.getLogger("nncf")
    nncf.addHandler(caplog.handler)
    try:
        load_nncf()
    finally:
        nncf.removeHandler(caplog.handler)
    logging.getLogger("tulou.model").warning("seen")
    assert "seen" in caplog.text
    assert not nncf.isEnabledFor(logging.WARNING)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            "Couldn't trace.\nException:\nlist index out of range\nPlease check the example.\n See: url",
            "list index out of range",
        ),
        (
            "Check 'false' failed\nSummary:\n-- No conversion rule found for operations: aten::histc\n\n",
            "No conversion rule found for operations: aten::histc",
        ),
        ("Exception:", "Exception:"),
        ("", "ValueError"),
    ],
)
def test_of_a_page_of_advice_one_line_is_told(said: str, cause: str) -> None:
    assert cause_of(ValueError(said)) == cause


def test_what_the_exporter_to_onnx_lacks_is_no_news() -> None:
    exporter = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = exporter.isEnabledFor(logging.WARNING)
    with quiet():
        assert not exporter.isEnabledFor(logging.WARNING)
        assert exporter.isEnabledFor(logging.ERROR)
    assert exporter.isEnabledFor(logging.WARNING) == before
