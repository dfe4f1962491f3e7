"""Tokenizers of encoders, and how to teach one the characters that it does not know.

MiniLM's vocabulary is English: most Chinese characters become [UNK], and a classifier would see every Chinese ticket
as the same row of unknowns. Characters of the training set get tokens and embedding rows of their own; the rows start
near the mean of the others and are learnt with everything else. Tokenizers made of bytes know everything already.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MIN_COUNT = 2  # a character seen once teaches nothing


def open_tokenizer(folder: Path) -> Tokenizer:
    """`tokenizer.json` of `folder` without the padding and truncation that its training left in it."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"{folder} has no tokenizer.json; save its fast tokenizer with save_pretrained()")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def unknown_characters(tokenizer: Tokenizer, texts: Iterable[str], min_count: int = MIN_COUNT) -> list[str]:
    """Characters of `texts` that become the unknown token, the most frequent first, in the same order in every process.

    Their tokens are numbered in this order, and a training that goes on after a kill must number them as before.
    """
    if (unknown := unknown_id(tokenizer)) is None:
        return []
    counts = Counter(character for text in texts for character in set(_normalised(tokenizer, text)))
    return [
        character
        for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if count >= min_count and unknown in tokenizer.encode(character, add_special_tokens=False).ids
    ]


def unknown_id(tokenizer: Tokenizer) -> int | None:
    model = json.loads(tokenizer.to_str())["model"]
    return tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else None


def extend(tokenizer: Tokenizer, characters: Sequence[str]) -> Tokenizer:
    """A tokenizer that knows `characters` too, numbered from the last token on; only WordPiece is changed."""
    from tokenizers import Tokenizer

    state: dict[str, Any] = json.loads(tokenizer.to_str())
    if state["model"]["type"] != "WordPiece":
        return tokenizer
    vocabulary = state["model"]["vocab"]
    first = tokenizer.get_vocab_size(with_added_tokens=True)
    vocabulary |= {character: first + i for i, character in enumerate(characters)}
    return Tokenizer.from_str(json.dumps(state))


def grow_embeddings(body: Any, size: int) -> None:
    """Resize the input embeddings of a transformers model to `size` rows, new ones near the mean of the old."""
    import torch

    old = body.get_input_embeddings().weight.detach()  # (V, H)
    mean, spread = old.mean(dim=0), old.std()
    before = old.shape[0]
    if size <= before:
        return
    body.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        new = body.get_input_embeddings().weight[before:]  # (size - V, H)
        new.copy_(mean + 0.5 * spread * torch.randn(new.shape))


def _normalised(tokenizer: Tokenizer, text: str) -> str:
    return tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
