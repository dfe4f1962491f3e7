"""Cross-encoders with random weights and wide heads, so that their scores are not all a half."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any


def write_reranker(bert_folder: Path, folder: Path, kind: str = "bert", num_labels: int = 1) -> Path:
    """A tiny one over the tokenizer of `bert_folder`: `bert` tells query and text apart, `xlm-roberta` does not."""
    import torch
    import transformers

    shutil.copytree(bert_folder, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    made: dict[str, tuple[Any, Any]] = {
        "bert": (transformers.BertConfig, transformers.BertForSequenceClassification),
        "xlm-roberta": (transformers.XLMRobertaConfig, transformers.XLMRobertaForSequenceClassification),
    }
    config_class, model_class = made[kind]
    config = config_class(
        vocab_size=70, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, type_vocab_size=2 if kind == "bert" else 1, num_labels=num_labels,
        initializer_range=0.5, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    torch.manual_seed(3)
    model_class(config).save_pretrained(folder)
    return folder


def torch_scores(folder: Path, query: str, texts: list[str], max_tokens: int) -> list[float]:
    """What transformers says, one pair at a time."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    scores = []
    for text in texts:
        kinds = {"return_token_type_ids": model.config.type_vocab_size > 1}
        row = tokenizer([query], [text], truncation=True, max_length=max_tokens, return_tensors="pt", **kinds)
        with torch.no_grad():
            scores.append(float(torch.sigmoid(model(**row).logits)[0, 0]))
    return scores
