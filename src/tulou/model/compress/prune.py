"""Structured pruning: attention heads and feed-forward neurons that matter least are taken out, weights and all.

What a head or a neuron matters is how much the loss would change without it, to first order: |gate * dL/dgate| with a
gate of one on each (heads: Michel, Levy & Neubig 2019, "Are Sixteen Heads Really Better than One?"; neurons: Molchanov
et al. 2019, "Importance Estimation for Neural Network Pruning"), averaged over labelled rows. It costs one forward and
one backward pass over a few hundred rows; what is left must be trained again (`recover.py`). It imports torch at the
top: import it inside the function that needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tulou.model.narrowed import Block, blocks_of, note_widths

if TYPE_CHECKING:
    from tulou.model.encoder import Encoder

Batch = tuple[Tensor, Tensor, Tensor]  # input_ids (B, T), attention_mask (B, T), labels (B,)

LANES = 32  # feed-forward widths are multiples of this, as vector units like them


def prune(model: Encoder, share: float, batches: Sequence[Batch]) -> None:
    """Keep `share` of the heads of `model`, wherever they are, and `share` of the neurons of each block.

    Heads are ranked across blocks, so blocks may keep different numbers, but at least one each.
    """
    heads, neurons = importance(model, batches)
    for block, kept in zip(blocks_of(model.body), heads_to_keep(heads, share), strict=True):
        block.keep_heads(kept)
    for block, scores in zip(blocks_of(model.body), neurons, strict=True):
        block.keep_neurons(neurons_to_keep(scores, share))
    note_widths(model.body)


def importance(model: Encoder, batches: Sequence[Batch]) -> tuple[list[Tensor], list[Tensor]]:
    """For each block the importance of its heads (H,) and of its neurons (F,)."""
    blocks = blocks_of(model.body)
    heads = [torch.zeros(block.heads) for block in blocks]
    neurons = [torch.zeros(block.neurons) for block in blocks]
    model.eval()
    with _frozen(model):
        for input_ids, attention_mask, labels in batches:
            rows = len(labels)
            head_gates = [torch.ones(rows, block.heads, requires_grad=True) for block in blocks]  # (B, H) each
            neuron_gates = [torch.ones(rows, block.neurons, requires_grad=True) for block in blocks]  # (B, F) each
            with ExitStack() as hooks:
                for block, head_gate, neuron_gate in zip(blocks, head_gates, neuron_gates, strict=True):
                    hooks.enter_context(_gated(block, block.layout.attention_out, head_gate))
                    hooks.enter_context(_gated(block, block.layout.feed_out, neuron_gate))
                logits = model(input_ids, attention_mask)  # (B, C)
            nn.functional.cross_entropy(logits, labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
            for total, gate in zip([*heads, *neurons], [*head_gates, *neuron_gates], strict=True):
                assert gate.grad is not None
                total += gate.grad.abs().sum(dim=0)  # each row's own change, not the change of the mean
    return heads, neurons


def heads_to_keep(scores: Sequence[Tensor], share: float) -> list[list[int]]:
    """Heads of each block: the best of each, and the best of the rest wherever they are.

    Scores are made comparable across blocks by their length (Michel et al. 2019, after Molchanov et al. 2017).
    """
    wanted = max(len(scores), round(share * sum(len(each) for each in scores)))
    normal = [each / each.norm().clamp(min=1e-12) for each in scores]
    kept = [[int(each.argmax())] for each in normal]
    others = [
        (float(score), block, head)
        for block, each in enumerate(normal)
        for head, score in enumerate(each)
        if head != kept[block][0]
    ]
    for _, block, head in sorted(others, reverse=True)[: wanted - len(scores)]:
        kept[block].append(head)
    return [sorted(each) for each in kept]


def neurons_to_keep(scores: Tensor, share: float) -> list[int]:
    """The `share` of one block's neurons with the highest scores (F,), rounded to whole lanes."""
    lanes = min(LANES, len(scores))
    count = min(len(scores), max(lanes, round(share * len(scores) / lanes) * lanes))
    return sorted(scores.topk(count).indices.tolist())


@contextmanager
def _gated(block: Block, path: str, gate: Tensor) -> Iterator[None]:
    """Multiply what comes into the layer at `path` by `gate`: (B, G) on (B, T, G * D)."""

    def multiply(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = inputs[0]
        grouped = hidden.reshape(*hidden.shape[:2], gate.shape[1], -1)  # (B, T, G, D); D is 1 for neurons
        return ((grouped * gate[:, None, :, None]).flatten(-2), *inputs[1:])

    handle = block.linear(path).register_forward_pre_hook(multiply)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _frozen(model: nn.Module) -> Iterator[Any]:
    """Only gates need gradients here; weights would only slow the backward pass down."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield model.requires_grad_(False)
    finally:
        for parameter, needed in before:
            parameter.requires_grad_(needed)
