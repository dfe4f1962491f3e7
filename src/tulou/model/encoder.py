"""One shape for every encoder: a Hugging Face body, mean pooling over real tokens, then a head.

The head is a linear layer for a classifier (`head.safetensors` beside the body) and L2 normalisation for an embedder.
Training, evaluation and export all use this module, so there is one definition of what a label's score is. It imports
torch at the top: import it inside the function that needs it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tulou.core.errors import ModelError
from tulou.model.libraries import load_transformers, quiet

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HEAD = "head.safetensors"


class Encoder(nn.Module):
    """`input_ids`, `attention_mask` (B, T) -> logits (B, C) with a head, L2-normalised vectors (B, H) without."""

    def __init__(self, body: Any, head: nn.Linear | None) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, H)
        pooled = mean_pool(hidden, attention_mask)  # (B, H)
        if self.head is None:
            return nn.functional.normalize(pooled, dim=-1)  # (B, H)
        logits: Tensor = self.head(pooled)  # (B, C)
        return logits


def mean_pool(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean of the hidden states of real tokens (Reimers & Gurevych 2019): (B, T, H), (B, T) -> (B, H)."""
    keep = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
    return (hidden * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1)


def load_body(folder: Path) -> Any:
    """The Hugging Face encoder in `folder`, FP32; raises `ModelError` where transformers cannot make one of it."""
    try:
        with quiet():
            return load_transformers().AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError) as err:
        raise ModelError(f"the encoder in {folder} cannot be loaded: {err}") from err


def load_encoder(folder: Path) -> Encoder:
    """The encoder saved in `folder`, FP32, in evaluation mode; with a head if it is a classifier."""
    body = load_body(folder)
    head = None
    if (folder / HEAD).is_file():
        weights = load_file(folder / HEAD)
        head = nn.Linear(weights["weight"].shape[1], weights["weight"].shape[0])  # (H -> C)
        head.load_state_dict(weights)
    return Encoder(body, head).eval()


def save_classifier(model: Encoder, tokenizer: Tokenizer, base: Path, labels: Sequence[str], folder: Path) -> None:
    """Write body, head and tokenizer, its configuration taken from `base`; transformers loads body and tokenizer."""
    assert model.head is not None
    model.body.config.id2label = dict(enumerate(labels))
    model.body.config.label2id = {label: i for i, label in enumerate(labels)}
    with quiet():
        model.body.save_pretrained(folder)
    save_file({name: weight.contiguous() for name, weight in model.head.state_dict().items()}, folder / HEAD)
    tokenizer.save(str(folder / "tokenizer.json"))
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        if (base / file).is_file():
            shutil.copyfile(base / file, folder / file)
