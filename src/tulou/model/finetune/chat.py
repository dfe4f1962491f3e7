"""Fine-tune a causal language model to answer: the loss falls on the assistant's words only, in every turn.

Each conversation is rendered with the chat template that serving uses, so training and service agree to the token. A
base without a template gets ChatML, with its marks added to the vocabulary; the template is stored with the model. The
weights of the epoch with the lowest loss on the validation rows are kept.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.errors import DataError
from tulou.core.progress import Progress
from tulou.core.settings import ModelSettings
from tulou.core.tables import CONVERSATION
from tulou.model.causal import IGNORED, Turn, context_length, encode_conversation, load_causal, load_tokenizer
from tulou.model.libraries import load_torch, quiet
from tulou.model.rows import read_rows
from tulou.model.tokenizer import CHAT_TEMPLATE, TURN_END, TURN_START

if TYPE_CHECKING:
    from tulou.model.learners import Speaker
    from tulou.model.loop import Report, Validation
    from tulou.model.team import Team

BATCH_SIZE = 8
SMALL_PARAMETERS = 30_000_000  # below, a model from scratch; above, one that knows languages already


@dataclass(frozen=True)
class Pace:
    """How fast and how long a model learns."""

    learning_rate: float
    tokens_seen: int  # about so many, in whole epochs
    max_epochs: int

    def epochs(self, tokens_an_epoch: int) -> int:
        return max(1, min(self.max_epochs, round(self.tokens_seen / max(1, tokens_an_epoch))))


# From nothing, a model wants many passes in large steps (Muon's); a pre-trained one few and small ones, LoRA's ten
# times those of full training (Schulman et al. 2025).
SMALL = Pace(learning_rate=2e-3, tokens_seen=1_400_000, max_epochs=8)
LARGE = Pace(learning_rate=2e-5, tokens_seen=1_200_000, max_epochs=2)
LORA = Pace(learning_rate=2e-4, tokens_seen=1_200_000, max_epochs=3)


def finetune_chat(
    examples: Path,
    base: Path,
    out: Path,
    scratch: Path,
    settings: ModelSettings,
    progress: Progress,
    report: Report | None = None,
) -> dict[str, Any]:
    """Train the model in `base` on the CONVERSATION rows in `examples` and write it, with its tokenizer, to `out`.

    Conversations longer than the context or without an answer are left out and counted. Raises `DataError` where none
    is left, `ModelError` where the base is no causal language model or the loss stops being a number.
    """
    torch = load_torch()
    from tulou.model.batches import Epochs, cut_steps
    from tulou.model.learners import Speaker
    from tulou.model.loop import Plan, train
    from tulou.model.lora import adapt, merge
    from tulou.model.packing import keeps_apart, packed_batch, padded_batch
    from tulou.model.team import current_team
    from tulou.model.training import adamw, muon_and_adamw

    # The base, able to chat.
    def build() -> Speaker:
        torch.manual_seed(settings.seed)
        model, tokenizer = load_causal(base), load_tokenizer(base)
        added = teach_chat_template(model, tokenizer)
        if settings.method == "lora":
            adapt(model, settings.lora, new_tokens=added)
        return Speaker(model)

    first = build()
    tokenizer = load_tokenizer(base)
    teach_chat_template(first.model, tokenizer)
    is_small = first.model.num_parameters() < SMALL_PARAMETERS
    pace = LORA if settings.method == "lora" else SMALL if is_small else LARGE

    # The conversations.
    context = min(settings.max_tokens or 1024, context_length(first.model))
    rows = list(read_rows(examples, CONVERSATION))
    encoded = [(row["split"], encode_conversation(tokenizer, row["messages"], row["id"])) for row in rows]
    answered = [(split, turn) for split, turn in encoded if any(target != IGNORED for target in turn.targets[1:])]
    fitting = [(split, turn) for split, turn in answered if len(turn.ids) <= context]
    train_set = [turn for split, turn in fitting if split == "train"]
    validation = [turn for split, turn in fitting if split == "validation"]
    if not train_set:
        raise DataError(f"none of {len(rows)} conversations fits into {context} tokens; there is nothing to learn from")
    is_packed = settings.packing and keeps_apart(first, train_set[:8])
    batch = packed_batch if is_packed else padded_batch
    del first

    # The loop.
    speed = settings.learning_rate or pace.learning_rate
    lengths = tuple(len(turn.ids) for turn in train_set)
    epochs = Epochs(
        lengths, settings.batch_size or BATCH_SIZE, settings.seed, settings.epochs or pace.epochs(sum(lengths))
    )
    team = current_team(settings.sharding)
    plan = Plan(
        epochs.steps,
        epochs.tokens,
        settings.seed,
        validate_every=epochs.steps_each,
        patience=settings.patience,
        checkpoint_every=settings.checkpoint_steps,
        recomputes=settings.gradient_checkpointing,
    )
    uses_muon = is_small and settings.method == "full"
    outcome = train(
        build,
        lambda learner: muon_and_adamw(learner, speed) if uses_muon else adamw(learner, speed),
        cut_steps(epochs.rows, lambda chosen: batch([train_set[i] for i in chosen]), settings.accumulate, team),
        plan,
        scratch,
        title="Fine-tune",
        validate=(lambda learner: answer_loss(learner, validation, epochs.batch_size, team)) if validation else None,
        progress=progress,
        report=report,
        team=team,
    )

    model = outcome.learner.model
    merge(model)
    if team.is_first:
        with quiet():
            model.save_pretrained(out)
            tokenizer.save_pretrained(out)
    return {
        "base": settings.base,
        "method": settings.method,
        "parameters": model.num_parameters(),
        "conversations": {"train": len(train_set), "validation": len(validation)},
        "too_long": len(answered) - len(fitting),
        "without_answer": len(encoded) - len(answered),
        "packing": _said_of_packing(settings.packing, is_packed),
        "epochs": epochs.count,
        "validation_metric": "loss",
        "validation_loss": outcome.best and outcome.best["validation"],
        **outcome.summary(),
    }


def teach_chat_template(model: Any, tokenizer: Any) -> list[int]:
    """Give a base without chat template the one of ChatML, with tokens for its marks; returns those it did not have."""
    added: list[int] = []
    if not tokenizer.chat_template:
        before = len(tokenizer)
        tokenizer.add_special_tokens({"additional_special_tokens": [TURN_START, TURN_END]})
        tokenizer.eos_token = TURN_END
        tokenizer.chat_template = CHAT_TEMPLATE
        added = list(range(before, len(tokenizer)))
        if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
            model.resize_token_embeddings(len(tokenizer))
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return added


def answer_loss(learner: Speaker, turns: Sequence[Turn], batch_size: int, team: Team) -> Validation:
    """Mean loss at the answers' tokens; the best is the lowest."""
    import torch

    from tulou.model.loop import Validation
    from tulou.model.packing import padded_batch
    from tulou.model.training import autocast, length_buckets, pick_device

    total = count = 0.0
    buckets = length_buckets([len(turn.ids) for turn in turns], batch_size, random.Random(0))
    with torch.no_grad(), autocast(pick_device()):
        for bucket in team.share(buckets):
            batch = padded_batch([turns[i] for i in bucket])
            total += float(learner(**batch.tensors)) * batch.weight
            count += batch.weight
    total, count = team.sum(total, count)
    loss = total / count
    return Validation(-loss, loss, {"validation_loss": round(loss, 5)})


def _said_of_packing(is_wanted: bool, is_packed: bool) -> str:
    if is_wanted and not is_packed:
        return "length buckets: this architecture does not keep packed conversations apart"
    return "packed rows" if is_packed else "length buckets"
