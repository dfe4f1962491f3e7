"""How the blocks of a causal model compute while it learns from rows of one length; what they learn is the same.

On a processor, plain products make attention over a short row twice as fast as the fused kernel, whose way back is
slow; they keep every score, so long rows and large models stay with it. Compiled, a block's many small operations
become few: a sixth less time, after twenty seconds of compiling. It imports torch at the top: import it inside the
function that needs it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tulou.model.training import autocast, pick_device

# What plain products keep of each score until the way back: in bf16 before the softmax and after, in FP32 within.
SCORE_BYTES = 10
MOST_SCORES_BYTES = 1 << 30
# Floating-point operations of a run from which on compiling pays: about two minutes of two cores, or of one GPU.
COMPILING_PAYS = {"cpu": 5e13, "cuda": 2e16}

logger = logging.getLogger(__name__)


def attend(model: Any, rows: int, length: int) -> None:
    """Choose the attention for batches of `rows` rows of `length` tokens."""
    config = model.config.get_text_config()
    kept = SCORE_BYTES * config.num_hidden_layers * config.num_attention_heads * rows * length**2
    if pick_device().type == "cpu" and kept <= MOST_SCORES_BYTES:
        model.set_attn_implementation("eager")


def is_worth_compiling(parameters: int, tokens: int) -> bool:
    """Whether a run is long enough, at 6 operations for each parameter and token (Kaplan et al. 2020)."""
    return 6.0 * parameters * tokens >= COMPILING_PAYS[pick_device().type]


def compile_blocks(learner: nn.Module, example: Mapping[str, Tensor]) -> bool:
    """Compile each block of `learner` in place, for batches like `example`; False where that fails, and it is spoilt.

    They are alike, so one is compiled and all use it.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    for module in learner.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.compile()
    learner.train()  # as it will be called: compiled for evaluation, it would be compiled again in the first step
    try:
        with autocast(pick_device()):
            loss: Tensor = learner(**example)
        loss.backward()  # type: ignore[no-untyped-call]
    except (RuntimeError, OSError) as err:  # no C++ compiler, or a block that does not lend itself to it
        said = str(err).strip() or type(err).__name__
        logger.warning("the model is not compiled, and learns more slowly: %s", said.splitlines()[0])
        return False
    learner.zero_grad()
    return True
