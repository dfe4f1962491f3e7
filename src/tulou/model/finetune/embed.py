"""Fine-tune a search encoder: a question shall be nearer to the passage that answers it than to others of its batch.

The other passages of the batch are the wrong answers, so no pair need be labelled as wrong, and larger batches teach
more. Judged by how high the right passage ranks among all passages of the pairs; where training makes that no better,
the base is kept as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.errors import DataError
from tulou.core.progress import Progress
from tulou.core.settings import ModelSettings
from tulou.core.tables import PAIR
from tulou.model.base import resolve_base
from tulou.model.libraries import load_torch
from tulou.model.rows import read_rows
from tulou.model.vocabulary import extend, grow_embeddings, open_tokenizer, unknown_characters

if TYPE_CHECKING:
    from torch import Tensor

    from tulou.model.batches import Batch
    from tulou.model.learners import Finder
    from tulou.model.loop import Report, Validation

EPOCHS = 3
BATCH_SIZE = 32
MAX_TOKENS = 256
TEMPERATURE = 0.05  # Gao et al. 2021 (SimCSE); sentence-transformers' scale of 20
LEARNING_RATE = 5e-5  # a body that is pre-trained for this very task; 3e-4 forgets
VALIDATED_QUESTIONS = 500
RANK_LIMIT = 10  # of hit rate and reciprocal rank
ENCODED_AT_ONCE = 64


def train_encoder(
    pairs: Path,
    out: Path,
    scratch: Path,
    settings: ModelSettings,
    project: Path,
    progress: Progress,
    report: Report | None = None,
) -> dict[str, Any]:
    """Train on the PAIR rows in `pairs` and write the encoder to `out`. Raises `DataError` below two training pairs."""
    torch = load_torch()
    from tulou.model.batches import Epochs, cut_steps
    from tulou.model.encoder import Encoder, load_body, longest_input, read_pooling, save_encoder
    from tulou.model.learners import Finder
    from tulou.model.loop import Plan, train
    from tulou.model.lora import adapt, merge
    from tulou.model.team import current_team
    from tulou.model.training import adamw

    # The pairs, and the tokenizer taught the characters that it does not know.
    rows = list(read_rows(pairs, PAIR))
    train_rows = [row for row in rows if row["split"] == "train"]
    held_out = [row for row in rows if row["split"] == "validation"][:VALIDATED_QUESTIONS]
    if len(train_rows) < 2:
        raise DataError(f"a search encoder needs at least two pairs to learn from, but there are {len(train_rows)}")
    base = resolve_base(settings.base, project)
    tokenizer = open_tokenizer(base)
    before = tokenizer.get_vocab_size(with_added_tokens=True)
    texts = (text for row in train_rows for text in (row["question"], row["passage"]))
    tokenizer = extend(tokenizer, unknown_characters(tokenizer, texts))
    known = tokenizer.get_vocab_size(with_added_tokens=True)

    def build() -> Finder:
        torch.manual_seed(settings.seed)
        body = load_body(base)
        grow_embeddings(body, known)
        if settings.method == "lora":
            adapt(body, settings.lora, new_tokens=range(before, known))
        return Finder(Encoder(body, None, read_pooling(base)), TEMPERATURE)

    limit = longest_input(load_body(base).config)
    tokenizer.enable_truncation(min(settings.max_tokens or MAX_TOKENS, limit))
    questions = [encoding.ids for encoding in tokenizer.encode_batch([row["question"] for row in train_rows])]
    answers = [encoding.ids for encoding in tokenizer.encode_batch([row["passage"] for row in train_rows])]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(row["passage"] for row in rows))}

    def collate(chosen: Sequence[int]) -> Batch:
        return _batch(
            [questions[i] for i in chosen],
            [answers[i] for i in chosen],
            [numbers[train_rows[i]["passage"]] for i in chosen],
            [train_rows[i]["id"] for i in chosen],
        )

    # The loop.
    team = current_team(settings.sharding)
    lengths = tuple(len(q) + len(a) for q, a in zip(questions, answers, strict=True))
    epochs = Epochs(lengths, settings.batch_size or BATCH_SIZE, settings.seed, settings.epochs or EPOCHS)
    plan = Plan(
        epochs.steps,
        epochs.tokens,
        settings.seed,
        validate_every=epochs.steps_each,
        validates_first=True,
        patience=settings.patience,
        checkpoint_every=settings.checkpoint_steps,
        recomputes=settings.gradient_checkpointing,
    )
    speed = settings.learning_rate or LEARNING_RATE * (10 if settings.method == "lora" else 1)
    passage_texts = [encoding.ids for encoding in tokenizer.encode_batch(list(numbers))]
    asked = [encoding.ids for encoding in tokenizer.encode_batch([row["question"] for row in held_out])]
    wanted = [numbers[row["passage"]] for row in held_out]
    outcome = train(
        build,
        lambda learner: adamw(learner, speed),
        cut_steps(epochs.rows, collate, 1, team),  # parts would see fewer wrong answers
        plan,
        scratch,
        title="Train the encoder",
        validate=(lambda learner: _ranks(learner, asked, passage_texts, wanted)) if held_out else None,
        progress=progress,
        report=report,
        team=team,
    )

    model = outcome.learner.model
    merge(model.body)
    if team.is_first:
        save_encoder(model, tokenizer, base, out)
    judged = [point for point in outcome.course.points if "validation" in point]
    return {
        "base": settings.base,
        "method": settings.method,
        "pairs": {"train": len(train_rows), "validation": len(held_out)},
        "passages": len(numbers),
        "characters_added": known - before,
        "validation_metric": "mrr",
        "base_mrr": judged[0]["validation"] if judged else None,
        "mrr": outcome.best and outcome.best["validation"],
        "hit_rate": outcome.best and outcome.best["hit_rate"],
        **outcome.summary(),
    }


def _batch(
    questions: Sequence[list[int]], answers: Sequence[list[int]], numbers: Sequence[int], names: Sequence[str]
) -> Batch:
    import torch

    from tulou.model.batches import Batch
    from tulou.model.training import pad, pick_device

    device = pick_device()
    tensors = {
        "input_ids": pad(questions, 0).to(device),  # (B, Q)
        "attention_mask": pad([[1] * len(ids) for ids in questions], 0).to(device),  # (B, Q)
        "passage_ids": pad(answers, 0).to(device),  # (B, P)
        "passage_mask": pad([[1] * len(ids) for ids in answers], 0).to(device),  # (B, P)
        "passage_numbers": torch.tensor(numbers, device=device),  # (B,)
    }
    tokens = sum(map(len, questions)) + sum(map(len, answers))
    return Batch(tensors, tuple(names), weight=len(questions), tokens=tokens)


def _ranks(
    learner: Finder, questions: Sequence[list[int]], passages: Sequence[list[int]], wanted: Sequence[int]
) -> Validation:
    """Where the right passage ranks among all: mean reciprocal rank and hit rate at 10; the best by the first."""
    import torch

    from tulou.model.loop import Validation

    scores = _vectors(learner, questions) @ _vectors(learner, passages).T  # (Q, P)
    right = scores[torch.arange(len(wanted)), torch.tensor(wanted)][:, None]  # (Q, 1)
    ranks = (scores > right).sum(dim=1) + 1  # (Q,)
    found = ranks <= RANK_LIMIT
    mrr = float((found / ranks).mean())
    return Validation(mrr, mrr, {"hit_rate": float(found.float().mean())})


def _vectors(learner: Finder, texts: Sequence[list[int]]) -> Tensor:
    """Vectors of tokenised texts (N, H)."""
    import torch

    from tulou.model.training import autocast, pad, pick_device

    device = pick_device()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts: list[Tensor] = []
    with torch.no_grad(), autocast(device):
        for start in range(0, len(order), ENCODED_AT_ONCE):
            chosen = [texts[i] for i in order[start : start + ENCODED_AT_ONCE]]
            mask = pad([[1] * len(ids) for ids in chosen], 0).to(device)  # (B, T)
            parts.append(learner(pad(chosen, 0).to(device), mask).float().cpu())  # (B, H)
    sorted_vectors = torch.cat(parts)  # (N, H)
    vectors = torch.empty_like(sorted_vectors)
    vectors[torch.tensor(order)] = sorted_vectors
    return vectors
