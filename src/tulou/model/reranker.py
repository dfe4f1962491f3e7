"""Rerankers: cross-encoders that read a query and a text as one row and give it one logit (Nogueira & Cho 2019).

They see what vectors cannot, because each text is read anew with the query; that is also their price: as many forward
passes as texts. Taken as they are, in the shape of BERT, MiniLM or BGE's rerankers. It imports torch at the top:
import it inside the function that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tulou.core.errors import ModelError
from tulou.model.libraries import load_transformers, quiet


class Reranker(nn.Module):
    """`input_ids`, `attention_mask` and, with a base that tells query and text apart, `token_type_ids` -> (B, 1)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    @property
    def inputs(self) -> tuple[str, ...]:
        tells_apart = getattr(self.model.config, "type_vocab_size", 0) > 1
        return ("input_ids", "attention_mask", *(("token_type_ids",) if tells_apart else ()))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:  # each (B, T)
        kinds = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **kinds).logits  # (B, 1)
        return logits


def load_reranker(folder: Path) -> Reranker:
    """The cross-encoder in `folder`, FP32, in evaluation mode.

    Raises `ModelError` where its weights hold no head, which transformers would draw at random, or one of several
    labels.
    """
    import torch

    transformers = load_transformers()
    try:
        with quiet():
            model, loaded = transformers.AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError) as err:
        raise ModelError(f"the reranker in {folder} cannot be loaded: {err}") from err
    if missing := sorted(loaded["missing_keys"]):
        raise ModelError(
            f"{folder} holds no reranker: its weights lack {missing[0]}; choose a cross-encoder such as "
            "BAAI/bge-reranker-base"
        )
    if model.config.num_labels != 1:
        raise ModelError(
            f"{folder} tells {model.config.num_labels} labels apart; a reranker gives a query and a text one score"
        )
    return Reranker(model.eval())
