"""A student with fewer layers, cut from its teacher: evenly spaced blocks, everything else the same.

Starting from the teacher's own layers is what makes a student good after a few epochs (Sanh et al. 2019,
"DistilBERT"). It then learns from the teacher's answers in `recover.py`. It imports torch at the top: import it inside
the function that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from tulou.model.narrowed import NARROWED, layout_of, note_widths

if TYPE_CHECKING:
    from tulou.model.encoder import Encoder


def keep_layers(model: Encoder, share: float) -> None:
    """Keep `share` of the layers of `model`, the first and the last among them where there is more than one."""
    body = model.body
    parent, _, name = layout_of(body).blocks.rpartition(".")
    blocks = list(body.get_submodule(layout_of(body).blocks))
    kept = layers_to_keep(len(blocks), share)
    setattr(body.get_submodule(parent), name, nn.ModuleList([blocks[i] for i in kept]))
    body.config.num_hidden_layers = len(kept)
    if hasattr(body.config, NARROWED):
        note_widths(body)


def layers_to_keep(layers: int, share: float) -> list[int]:
    """Numbers of evenly spaced layers, ends included: 6 of 12 are 0, 2, 4, 7, 9, 11."""
    count = max(1, round(layers * share))
    if count == 1:
        return [layers - 1]
    return [round(i * (layers - 1) / (count - 1)) for i in range(count)]
