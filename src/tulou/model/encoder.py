"""One shape for every encoder: a Hugging Face body, mean pooling over real tokens, then a head.

The head is a linear layer for a classifier (`head.safetensors` beside the body) and L2 normalisation for an embedder.
Training, evaluation and export all use this module, so there is one definition of what a label's score is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.errors import ModelError
from tulou.model.libraries import load_torch, load_transformers, quiet

if TYPE_CHECKING:
    from torch import Tensor, nn

HEAD = "head.safetensors"


def mean_pool(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean of the hidden states of real tokens (Reimers & Gurevych 2019): (B, T, H), (B, T) -> (B, H)."""
    keep = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
    return (hidden * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1)


def build_encoder(body: Any, head: nn.Linear | None) -> nn.Module:
    """Join body and head into one module: `input_ids`, `attention_mask` (B, T) -> logits (B, C) or vectors (B, H)."""
    torch = load_torch()

    class Encoder(torch.nn.Module):  # type: ignore[misc, name-defined]  # the class exists only once torch does
        def __init__(self) -> None:
            super().__init__()
            self.body = body
            self.head = head

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            hidden = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, H)
            pooled = mean_pool(hidden, attention_mask)  # (B, H)
            if self.head is not None:
                return self.head(pooled)  # type: ignore[no-any-return]  # (B, C)
            return torch.nn.functional.normalize(pooled, dim=-1)  # type: ignore[no-any-return]  # (B, H)

    return Encoder()


def load_encoder(folder: Path) -> nn.Module:
    """The encoder saved in `folder`, FP32, in evaluation mode; with a head if it is a classifier."""
    torch, transformers = load_torch(), load_transformers()
    try:
        with quiet():
            body = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError) as err:
        raise ModelError(f"the encoder in {folder} cannot be loaded: {err}") from err
    head = None
    if (folder / HEAD).is_file():
        from safetensors.torch import load_file

        weights = load_file(folder / HEAD)
        head = torch.nn.Linear(weights["weight"].shape[1], weights["weight"].shape[0])  # (H -> C)
        head.load_state_dict(weights)
    return build_encoder(body, head).eval()


def save_encoder(model: nn.Module, tokenizer: Any, labels: list[str], folder: Path) -> None:
    """Write body, head and tokenizer; the body alone loads with `AutoModel.from_pretrained`."""
    from safetensors.torch import save_file

    body: Any = model.body
    body.config.id2label = dict(enumerate(labels))
    body.config.label2id = {label: i for i, label in enumerate(labels)}
    body.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if model.head is not None:
        head: Any = model.head
        save_file({name: weight.contiguous() for name, weight in head.state_dict().items()}, folder / HEAD)
