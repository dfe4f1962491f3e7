"""The trained model's loss on single rows, in FP32 and without noise: what canaries and membership are judged by.

It imports torch inside: the rest of the passport works without.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tulou.model.causal import IGNORED, context_length, encode_conversation, load_causal, load_chat_tokenizer
from tulou.model.libraries import load_torch
from tulou.model.vocabulary import open_tokenizer

BATCH = 32


@dataclass(frozen=True)
class RowLosses:
    """Of each row its loss (nats; of a conversation, the mean over the answer's tokens) and whether it is right."""

    losses: list[float]
    right: list[float]  # 1 or 0 for a label, the share of tokens for an answer


class ClassifierLosses:
    """The classifier in a trained folder; rows are (text, label)."""

    def __init__(self, folder: Path) -> None:
        self._torch: Any = load_torch()
        from tulou.model.encoder import load_encoder

        self._model = load_encoder(folder)
        self._tokenizer = open_tokenizer(folder)
        self._tokenizer.enable_truncation(_longest(folder))
        names = self._model.body.config.id2label
        self.labels = [names[number] for number in sorted(names)]

    def __call__(self, rows: Sequence[tuple[str, str]]) -> RowLosses:
        """Rows whose label the model does not have count as wrong, with the loss of a label of probability 1e-9."""
        from tulou.model.training import pad

        torch, number = self._torch, {label: i for i, label in enumerate(self.labels)}
        encodings = self._tokenizer.encode_batch([text for text, _ in rows])
        losses, right = [0.0] * len(rows), [0.0] * len(rows)
        order = sorted(range(len(rows)), key=lambda i: len(encodings[i].ids))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            ids = pad([encodings[i].ids for i in chosen], 0)  # (B, T)
            mask = pad([encodings[i].attention_mask for i in chosen], 0)  # (B, T)
            with torch.inference_mode():
                scores = torch.log_softmax(self._model(ids, mask).float(), dim=-1)  # (B, C)
            for row, i in enumerate(chosen):
                place = number.get(rows[i][1])
                losses[i] = -float(scores[row, place]) if place is not None else 20.7
                right[i] = float(place == int(scores[row].argmax()))
        return RowLosses(losses, right)


class ChatLosses:
    """The chat model in a trained folder; rows are conversations, judged by their answers' tokens."""

    def __init__(self, folder: Path) -> None:
        self._torch: Any = load_torch()
        self._tokenizer = load_chat_tokenizer(folder)
        self._model = load_causal(folder)
        self._longest = context_length(self._model)

    def __call__(self, rows: Sequence[Sequence[dict[str, str]]]) -> RowLosses:
        from tulou.model.training import pad

        torch = self._torch
        turns = [encode_conversation(self._tokenizer, row) for row in rows]
        losses, right = [0.0] * len(rows), [0.0] * len(rows)
        order = sorted(range(len(rows)), key=lambda i: len(turns[i].ids))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            ids = pad([turns[i].ids[: self._longest] for i in chosen], 0)  # (B, T)
            targets = pad([turns[i].targets[: self._longest] for i in chosen], IGNORED)[:, 1:]  # (B, T - 1)
            is_answer = targets != IGNORED
            with torch.inference_mode():
                hidden = self._model.get_decoder()(input_ids=ids).last_hidden_state[:, :-1]  # (B, T - 1, H)
                logits = self._model.get_output_embeddings()(hidden[is_answer]).float()  # (N, V)
            wanted = targets[is_answer]  # (N,)
            each = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")  # (N,)
            hit = (logits.argmax(dim=-1) == wanted).float()  # (N,)
            rows_of = is_answer.nonzero()[:, 0]  # (N,)
            for row, i in enumerate(chosen):
                inside = rows_of == row
                losses[i] = float(each[inside].mean()) if inside.any() else 0.0
                right[i] = float(hit[inside].mean()) if inside.any() else 0.0
        return RowLosses(losses, right)


def sample(rows: Sequence[Any], count: int, seed: int) -> list[Any]:
    return list(rows) if len(rows) <= count else random.Random(seed).sample(list(rows), count)


def _longest(folder: Path) -> int:
    from tokenizers import Tokenizer

    truncation = Tokenizer.from_file(str(folder / "tokenizer.json")).truncation
    return int(truncation["max_length"]) if truncation else 256
