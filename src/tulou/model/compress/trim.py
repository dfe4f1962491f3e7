"""Trim an encoder's vocabulary to what a business writes: half of a small model is embeddings of words it never sees.

Kept are special tokens, single characters (so that nothing becomes unknown), the tokens of the training texts, then the
first of the rest until the share is full; vocabularies of WordPiece begin with the frequent words. A word that loses
its token is read as several pieces, so the model is trained again after it (`recover.py`). After Abdaoui et al. 2020,
"Load What You Need: Smaller Versions of Multilingual BERT". It imports torch at the top: import it inside the function
that needs it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tulou.core.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from tulou.model.encoder import Encoder


def trim(model: Encoder, tokenizer: Tokenizer, share: float, texts: Sequence[str]) -> Tokenizer:
    """Cut the embeddings of `model` to `share` of their rows; return the tokenizer that numbers what is left.

    Raises `ModelError` for a tokenizer that is not WordPiece: the pieces of others depend on each other.
    """
    from tokenizers import Tokenizer

    state: dict[str, Any] = json.loads(tokenizer.to_str())
    if state["model"]["type"] != "WordPiece":
        raise ModelError(
            f"a vocabulary of type {state['model']['type']} cannot be trimmed, only WordPiece; "
            "leave 'trim' out of model.compress.methods"
        )
    kept = tokens_to_keep(state, share, Counter(i for each in tokenizer.encode_batch(list(texts)) for i in each.ids))
    number = {old: new for new, old in enumerate(kept)}
    _cut_embeddings(model.body, kept, number)
    state["model"]["vocab"] = {token: number[i] for token, i in state["model"]["vocab"].items() if i in number}
    state["added_tokens"] = [{**each, "id": number[each["id"]]} for each in state["added_tokens"]]
    state["post_processor"] = _renumbered(state["post_processor"], number)
    if state.get("padding"):
        state["padding"]["pad_id"] = number[state["padding"]["pad_id"]]
    return Tokenizer.from_str(json.dumps(state))


def tokens_to_keep(state: Mapping[str, Any], share: float, used: Mapping[int, int]) -> list[int]:
    """Ids of the tokens that stay, ascending; `state` is a tokenizer's JSON, `used` counts ids in the texts."""
    vocabulary: dict[str, int] = state["model"]["vocab"]
    special = {each["id"] for each in state["added_tokens"]} | {vocabulary[state["model"]["unk_token"]]}
    prefix = state["model"]["continuing_subword_prefix"]
    characters = {i for token, i in vocabulary.items() if len(token.removeprefix(prefix)) == 1}
    needed = special | characters
    rest = sorted(set(vocabulary.values()) - needed, key=lambda i: (-used.get(i, 0), i))
    room = max(0, round(share * len(vocabulary)) - len(needed))
    return sorted(needed | set(rest[:room]))


def _cut_embeddings(body: Any, kept: Sequence[int], number: Mapping[int, int]) -> None:
    old = body.get_input_embeddings().weight.detach()  # (V, H)
    pad = number.get(body.config.pad_token_id)
    new = nn.Embedding(len(kept), old.shape[1], padding_idx=pad)
    with torch.no_grad():
        new.weight.copy_(old[torch.tensor(kept)])  # (V', H)
    body.set_input_embeddings(new)
    body.config.vocab_size, body.config.pad_token_id = len(kept), pad


def _renumbered(processor: Any, number: Mapping[int, int]) -> Any:
    """The post-processor, which puts [CLS] and [SEP] around a text, with their new ids."""
    if processor is None:
        return None
    if processor["type"] == "Sequence":
        return {**processor, "processors": [_renumbered(each, number) for each in processor["processors"]]}
    if processor["type"] == "TemplateProcessing":
        special = {
            name: {**each, "ids": [number[i] for i in each["ids"]]}
            for name, each in processor["special_tokens"].items()
        }
        return {**processor, "special_tokens": special}
    ends = {key: [processor[key][0], number[processor[key][1]]] for key in ("sep", "cls") if key in processor}
    return {**processor, **ends}
