"""Cutting blocks of every family that can be cut: what is left computes what it should, and loads again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tulou.core.errors import ModelError


def body_of(family: str) -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    if family == "distilbert":
        sizes = {"vocab_size": 50, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    config = transformers.AutoConfig.for_model(family, max_position_embeddings=40, pad_token_id=0, **sizes)
    return transformers.AutoModel.from_config(config).eval()


def hidden(body: Any) -> Any:
    import torch

    ids = torch.arange(1, 13).reshape(2, 6)
    with torch.no_grad():
        return body(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert"])
def test_a_cut_block_computes_what_the_whole_one_does_with_those_weights_at_zero(family: str) -> None:
    import torch

    from tulou.model.narrowed import blocks_of

    whole, cut = body_of(family), body_of(family)
    first, second = blocks_of(whole)
    with torch.no_grad():
        first.linear(first.layout.attention_out).weight[:, 8:16] = 0  # head 1 of 8 dimensions
        second.linear(second.layout.feed_out).weight[:, 10:] = 0
    first, second = blocks_of(cut)
    first.keep_heads([0, 2, 3])
    second.keep_neurons(range(10))
    assert [(block.heads, block.neurons) for block in blocks_of(cut)] == [(3, 64), (4, 10)]
    torch.testing.assert_close(hidden(cut), hidden(whole), atol=1e-5, rtol=1e-4)


def test_a_cut_body_loads_again_with_its_widths(tmp_path: Path) -> None:
    import torch

    from tulou.model.encoder import load_body
    from tulou.model.narrowed import blocks_of, note_widths

    body = body_of("bert")
    blocks_of(body)[0].keep_heads([1, 3])
    blocks_of(body)[1].keep_neurons(range(32))
    note_widths(body)
    body.save_pretrained(tmp_path)
    again = load_body(tmp_path).eval()
    assert [(block.heads, block.neurons) for block in blocks_of(again)] == [(2, 64), (4, 32)]
    torch.testing.assert_close(hidden(again), hidden(body))
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_body(tmp_path)


def test_a_family_that_is_not_known_is_named() -> None:
    import transformers

    from tulou.model.narrowed import blocks_of

    config = transformers.AutoConfig.for_model("albert", hidden_size=32, num_attention_heads=2, intermediate_size=64)
    with pytest.raises(ModelError, match="encoders of type 'albert' cannot be pruned"):
        blocks_of(transformers.AutoModel.from_config(config))
