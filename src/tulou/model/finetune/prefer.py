"""Teach a chat model which of two answers people liked better: DPO (Rafailov et al. 2023).

No reward model and no sampling: the chosen answer shall gain probability over the rejected one, measured from where the
model stood before, and `BETA` says how far it may go from there. Where the model stood is computed once and kept. With
few pairs it learns wordings by heart, so the weights are kept that do best on pairs held out, or those it began with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.errors import DataError
from tulou.core.progress import Progress
from tulou.core.settings import ModelSettings
from tulou.core.tables import PREFERENCE
from tulou.model.causal import Turn, context_length, encode_conversation, load_causal, load_chat_tokenizer
from tulou.model.finetune.chat import SMALL_PARAMETERS
from tulou.model.libraries import load_torch, quiet
from tulou.model.rows import read_rows

if TYPE_CHECKING:
    from tulou.model.batches import Batch
    from tulou.model.learners import Chooser
    from tulou.model.loop import Report, Validation
    from tulou.model.team import Team

BETA = 0.1
EPOCHS = 3
BATCH_SIZE = 8
SMALL_SPEED, LARGE_SPEED = 5e-5, 1e-6  # the paper's 1e-6 for billions of parameters; a few million move in larger steps


@dataclass(frozen=True)
class Choice:
    chosen: Turn
    rejected: Turn


def train_preferences(
    preferences: Path,
    base: Path,
    out: Path,
    scratch: Path,
    settings: ModelSettings,
    progress: Progress,
    report: Report | None = None,
) -> dict[str, Any]:
    """Train the chat model in `base` on the PREFERENCE rows at `preferences` and write it to `out`.

    Raises `DataError` where no pair fits the context.
    """
    torch = load_torch()
    from tulou.model.batches import Epochs, cut_steps
    from tulou.model.learners import Chooser
    from tulou.model.loop import Plan, train
    from tulou.model.lora import adapt, merge
    from tulou.model.team import current_team
    from tulou.model.training import adamw

    def build() -> Chooser:
        torch.manual_seed(settings.seed)
        model = load_causal(base)
        if settings.method == "lora":
            adapt(model, settings.lora)
        return Chooser(model, BETA)

    # The pairs, and how likely the model finds both answers before it learns.
    tokenizer = load_chat_tokenizer(base)
    first = build()
    context = min(settings.max_tokens or 1024, context_length(first.model))
    rows = list(read_rows(preferences, PREFERENCE))
    choices = [(row["split"], _choice(tokenizer, row)) for row in rows]
    fitting = [(s, c) for s, c in choices if max(len(c.chosen.ids), len(c.rejected.ids)) <= context]
    train_set = [choice for split, choice in fitting if split == "train"]
    validation = [choice for split, choice in fitting if split == "validation"]
    if not train_set:
        raise DataError(f"none of {len(rows)} preferences fits into {context} tokens; there is nothing to learn from")
    team = current_team(settings.sharding)
    reference = _reference(first, [*train_set, *validation], scratch / f"reference-{team.rank}.safetensors")
    is_small = first.model.num_parameters() < SMALL_PARAMETERS
    del first

    def collate(chosen: Sequence[int]) -> Batch:
        return _batch([train_set[i] for i in chosen], reference)

    # The loop.
    lengths = tuple(len(choice.chosen.ids) + len(choice.rejected.ids) for choice in train_set)
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
    speed = settings.learning_rate or (SMALL_SPEED if is_small else LARGE_SPEED)
    outcome = train(
        build,
        lambda learner: adamw(learner, speed),
        cut_steps(
            epochs.rows, lambda chosen: _batch([train_set[i] for i in chosen], reference), settings.accumulate, team
        ),
        plan,
        scratch,
        title="Learn preferences",
        validate=(lambda learner: _judged(learner, validation, reference, team)) if validation else None,
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
    best = outcome.best or {}
    return {
        "base": settings.base,
        "method": settings.method,
        "parameters": model.num_parameters(),
        "pairs": {"train": len(train_set), "validation": len(validation)},
        "too_long": len(choices) - len(fitting),
        "beta": BETA,
        "validation_metric": "loss",
        "validation_loss": best.get("validation"),
        "preferred": best.get("preferred"),
        **outcome.summary(),
    }


def _choice(tokenizer: Any, row: dict[str, Any]) -> Choice:
    """Both answers behind the one prompt; earlier answers in the prompt carry no loss."""

    def turn(side: str) -> Turn:
        said = [*row["messages"], {"role": "assistant", "content": row[side]}]
        return encode_conversation(tokenizer, said, f"{row['id']}/{side}").last_answer()

    return Choice(turn("chosen"), turn("rejected"))


def _reference(learner: Chooser, choices: Sequence[Choice], cache: Path) -> dict[str, float]:
    """Log-probability of each answer under the model as it is now, by the turn's name; kept in `cache`."""
    import torch
    from safetensors.torch import load_file

    from tulou.model.checkpoint import read_facts, write_tensors
    from tulou.model.training import autocast, pick_device

    turns = [turn for choice in choices for turn in (choice.chosen, choice.rejected)]
    names = [turn.name for turn in turns]
    if cache.is_file() and read_facts(cache)["names"] == names:
        return dict(zip(names, load_file(cache)["log_probabilities"].tolist(), strict=True))
    learner.to(pick_device()).eval()
    found: list[float] = []
    with torch.no_grad(), autocast(pick_device()):
        for start in range(0, len(turns), BATCH_SIZE):
            ids, targets = _padded(turns[start : start + BATCH_SIZE])
            found += learner.answer(ids, targets).tolist()
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(cache, {"log_probabilities": torch.tensor(found)}, {"names": names})
    return dict(zip(names, found, strict=True))


def _batch(choices: Sequence[Choice], reference: dict[str, float]) -> Batch:
    import torch

    from tulou.model.batches import Batch
    from tulou.model.training import pick_device

    device = pick_device()
    tensors = {}
    for side in ("chosen", "rejected"):
        turns: list[Turn] = [getattr(choice, side) for choice in choices]
        tensors[f"{side}_ids"], tensors[f"{side}_targets"] = _padded(turns)  # (B, T)
        tensors[f"{side}_reference"] = torch.tensor([reference[turn.name] for turn in turns], device=device)  # (B,)
    tokens = sum(len(choice.chosen.ids) + len(choice.rejected.ids) for choice in choices)
    return Batch(tensors, tuple(choice.chosen.name.rpartition("/")[0] for choice in choices), len(choices), tokens)


def _padded(turns: Sequence[Turn]) -> tuple[Any, Any]:
    from tulou.model.packing import padded_batch

    tensors = padded_batch(turns).tensors
    return tensors["input_ids"], tensors["targets"]


def _judged(learner: Chooser, choices: Sequence[Choice], reference: dict[str, float], team: Team) -> Validation:
    """Mean loss on pairs held out, and in what share the chosen answer has gained on the rejected one."""
    import torch

    from tulou.model.loop import Validation
    from tulou.model.training import autocast, pick_device

    loss = gained = count = 0.0
    with torch.no_grad(), autocast(pick_device()):
        for start in team.share(range(0, len(choices), BATCH_SIZE)):
            batch = _batch(choices[start : start + BATCH_SIZE], reference)
            margin = learner(**batch.tensors, is_margin=True)  # (B,)
            loss -= float(torch.nn.functional.logsigmoid(margin).sum())
            gained += float((margin > 0).sum())
            count += len(margin)
    loss, gained, count = team.sum(loss, gained, count)
    return Validation(-loss / count, loss / count, {"preferred": gained / count})
