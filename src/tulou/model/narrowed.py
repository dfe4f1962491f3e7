"""Encoders whose blocks are narrower than their configuration says: some heads gone here, some neurons there.

Transformers knows one number of heads for all blocks, and since version 5 no longer prunes. Its attention asks only for
whole heads, so narrower projections run, train and trace as they are; what it cannot do is load them again. So the
widths are written to `config.json`, and loading makes the body anew, narrows it, and fills it. The price: such a folder
loads with Tulou only; what is exported from it runs anywhere. It imports torch at the top: import it inside the
function that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from tulou.core.errors import ModelError
from tulou.model.libraries import load_transformers

NARROWED = "narrowed"  # key of config.json: {"heads": [per block], "neurons": [per block]}


@dataclass(frozen=True)
class Layout:
    """Where a family of encoders keeps its blocks, and the linear layers in each."""

    blocks: str
    query: str
    key: str
    value: str
    attention_out: str
    feed_in: str
    feed_out: str


_BERT = Layout(
    blocks="encoder.layer",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_out="attention.output.dense",
    feed_in="intermediate.dense",
    feed_out="output.dense",
)
_DISTILBERT = Layout(
    blocks="transformer.layer",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_out="attention.out_lin",
    feed_in="ffn.lin1",
    feed_out="ffn.lin2",
)
LAYOUTS: dict[str, Layout] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "distilbert": _DISTILBERT,
}


class Block:
    """One transformer block: how wide it is, and how to make it narrower."""

    def __init__(self, module: nn.Module, layout: Layout, head_size: int) -> None:
        self.module = module
        self.layout = layout
        self.head_size = head_size

    @property
    def heads(self) -> int:
        return self.linear(self.layout.query).out_features // self.head_size

    @property
    def neurons(self) -> int:
        """Width of the feed-forward layer."""
        return self.linear(self.layout.feed_in).out_features

    def linear(self, path: str) -> nn.Linear:
        found = self.module.get_submodule(path)
        assert isinstance(found, nn.Linear)
        return found

    def keep_heads(self, heads: Sequence[int]) -> None:
        """Cut query, key, value and output down to `heads`; their order stays."""
        inner = [head * self.head_size + i for head in sorted(heads) for i in range(self.head_size)]
        for path in (self.layout.query, self.layout.key, self.layout.value):
            self._replace(path, _cut(self.linear(path), inner, dim=0))
        self._replace(self.layout.attention_out, _cut(self.linear(self.layout.attention_out), inner, dim=1))

    def keep_neurons(self, neurons: Sequence[int]) -> None:
        self._replace(self.layout.feed_in, _cut(self.linear(self.layout.feed_in), sorted(neurons), dim=0))
        self._replace(self.layout.feed_out, _cut(self.linear(self.layout.feed_out), sorted(neurons), dim=1))

    def _replace(self, path: str, module: nn.Module) -> None:
        self.module.set_submodule(path, module)


def blocks_of(body: Any) -> list[Block]:
    """The blocks of a Hugging Face encoder. Raises `ModelError` for a family whose layout is not known."""
    layout = layout_of(body)
    head_size = body.config.hidden_size // body.config.num_attention_heads
    return [Block(module, layout, head_size) for module in body.get_submodule(layout.blocks)]


def layout_of(body: Any) -> Layout:
    family = body.config.model_type
    if family not in LAYOUTS:
        raise ModelError(
            f"encoders of type {family!r} cannot be pruned or distilled; that is known for {', '.join(LAYOUTS)}. "
            "Leave 'prune' and 'distill' out of model.compress.methods"
        )
    return LAYOUTS[family]


def note_widths(body: Any) -> None:
    """Write what `body` has into its configuration, so that it can be loaded again."""
    blocks = blocks_of(body)
    setattr(
        body.config, NARROWED, {"heads": [each.heads for each in blocks], "neurons": [each.neurons for each in blocks]}
    )


def load_narrowed(folder: Path, config: Any) -> Any:
    """The body in `folder`, FP32, with the widths that its `config` notes."""
    widths = getattr(config, NARROWED)
    body = load_transformers().AutoModel.from_config(config, dtype=torch.float32)
    for block, heads, neurons in zip(blocks_of(body), widths["heads"], widths["neurons"], strict=True):
        block.keep_heads(range(heads))
        block.keep_neurons(range(neurons))
    try:
        body.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as err:
        raise ModelError(f"the narrowed encoder in {folder} cannot be loaded: {err}") from err
    return body


def _cut(layer: nn.Linear, kept: Sequence[int], dim: int) -> nn.Linear:
    """`layer` with only the outputs (`dim` 0) or inputs (`dim` 1) in `kept`."""
    index = torch.tensor(kept, device=layer.weight.device)
    weight = layer.weight.detach().index_select(dim, index)  # (O', I) or (O, I')
    cut = nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None, device=weight.device)
    with torch.no_grad():
        cut.weight.copy_(weight)
        if layer.bias is not None:
            cut.bias.copy_(layer.bias.index_select(0, index) if dim == 0 else layer.bias)
    return cut
