"""How much of a text an encoder can read: the share of its tokens that the vocabulary knows.

An English vocabulary answers `[UNK]` to most Chinese characters, and a vector made of those means nothing; whoever
searches with it wants to know. Byte-level vocabularies know everything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tulou.core.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Coverage:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._unknown = _unknown_token(tokenizer)

    @classmethod
    def of(cls, folder: Path) -> Coverage:
        """Of the encoder in `folder`. Raises `ModelError` where it has no readable tokenizer.json."""
        from tokenizers import Tokenizer

        try:
            return cls(Tokenizer.from_file(str(folder / "tokenizer.json")))
        except Exception as err:  # the library raises bare Exception for whatever is wrong
            raise ModelError(f"the tokenizer in {folder} cannot be read: {err}") from err

    def __call__(self, text: str) -> float:
        """0..1; 0 for a text without tokens."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        known = sum(token != self._unknown for token in ids)
        return known / len(ids) if ids else 0.0


def _unknown_token(tokenizer: Tokenizer) -> int | None:
    """Id of the token that stands for what the vocabulary lacks; None for byte-level ones, which lack nothing."""
    model = json.loads(tokenizer.to_str())["model"]
    if "unk_id" in model:  # unigram
        unknown: int | None = model["unk_id"]
        return unknown
    name = model.get("unk_token")
    return tokenizer.token_to_id(name) if name else None
