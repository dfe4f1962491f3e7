"""One shape for every encoder: a Hugging Face body, pooling, then a head.

Pooling is the mean over real tokens, or the first token where the folder says so as sentence-transformers writes it.

The head is a linear layer for a classifier (`head.safetensors` beside the body) and L2 normalisation for an embedder.
Training, evaluation and export all use this module, so there is one definition of what a label's score is. It imports
torch at the top: import it inside the function that needs it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tulou.core.errors import ModelError
from tulou.model.libraries import load_transformers, quiet
from tulou.model.narrowed import NARROWED, load_narrowed

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HEAD = "head.safetensors"
POOLING = "1_Pooling/config.json"  # where sentence-transformers keeps it

Pooling = Literal["mean", "cls"]


class Encoder(nn.Module):
    """`input_ids`, `attention_mask` (B, T) -> logits (B, C) with a head, L2-normalised vectors (B, H) without."""

    def __init__(self, body: Any, head: nn.Linear | None, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.pooling = pooling

    def pool(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The vectors (B, H) that the head sees."""
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, H)
        return hidden[:, 0] if self.pooling == "cls" else mean_pool(hidden, attention_mask)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        pooled = self.pool(input_ids, attention_mask)  # (B, H)
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
    transformers = load_transformers()
    try:
        with quiet():
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            if hasattr(config, NARROWED):
                return load_narrowed(folder, config)
            return transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
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
    return Encoder(body, head, read_pooling(folder)).eval()


def read_pooling(folder: Path) -> Pooling:
    """How the encoder in `folder` was trained to be pooled; the mean where nothing is said.

    Raises `ModelError` for a way that we do not have.
    """
    path = folder / POOLING
    if not path.is_file():
        return "mean"
    config = json.loads(path.read_text(encoding="utf-8"))
    chosen = [key for key, value in config.items() if key.startswith("pooling_mode") and value]
    chosen = [
        "pooling_mode_" + value if key == "pooling_mode" else key for key, value in config.items() if key in chosen
    ]
    known: dict[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_mean": "mean"}
    known |= {"pooling_mode_cls_token": "cls", "pooling_mode_cls": "cls"}
    if len(chosen) != 1 or chosen[0] not in known:
        raise ModelError(
            f"{path} asks for pooling {', '.join(chosen) or 'by nothing'}; encoders here pool by mean or cls"
        )
    return known[chosen[0]]


def longest_input(config: Any) -> int:
    """Tokens that the position embeddings of an encoder reach; RoBERTa's start behind the padding token."""
    positions = int(config.max_position_embeddings)
    is_offset = config.model_type in ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl")
    return positions - config.pad_token_id - 1 if is_offset else positions


def save_classifier(model: Encoder, tokenizer: Tokenizer, base: Path, labels: Sequence[str], folder: Path) -> None:
    """Write body, head and tokenizer, its configuration taken from `base`; transformers loads body and tokenizer."""
    assert model.head is not None
    model.body.config.id2label = dict(enumerate(labels))
    model.body.config.label2id = {label: i for i, label in enumerate(labels)}
    save_encoder(model, tokenizer, base, folder)
    save_file({name: weight.contiguous() for name, weight in model.head.state_dict().items()}, folder / HEAD)


def save_encoder(model: Encoder, tokenizer: Tokenizer, base: Path, folder: Path) -> None:
    """Write body, tokenizer and pooling, the rest of their configuration taken from `base`."""
    with quiet():
        model.body.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    for file in ("tokenizer_config.json", "special_tokens_map.json", "modules.json"):
        if (base / file).is_file():
            shutil.copyfile(base / file, folder / file)
    (folder / POOLING).parent.mkdir(parents=True, exist_ok=True)
    ways = {"pooling_mode_cls_token": model.pooling == "cls", "pooling_mode_mean_tokens": model.pooling == "mean"}
    facts = {"word_embedding_dimension": model.body.config.hidden_size, **ways}
    (folder / POOLING).write_text(json.dumps(facts, indent=1), encoding="utf-8")
