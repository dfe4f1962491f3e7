"""Fine-tune a causal language model to answer: the loss falls on the assistant's words only.

Each conversation is rendered with the chat template that serving uses, so training and service agree to the token. A
base without a template gets ChatML, with its marks added to the vocabulary. The weights of the epoch with the lowest
loss on the validation rows are kept.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tulou.core.errors import DataError
from tulou.core.progress import Progress
from tulou.core.settings import ModelSettings
from tulou.core.types import CONVERSATION
from tulou.model.causal import IGNORED, Turn, answer_loss, encode_conversation, load_causal, load_tokenizer
from tulou.model.libraries import load_torch, quiet
from tulou.model.rows import read_rows
from tulou.model.tokenizer import CHAT_TEMPLATE, TURN_END, TURN_START

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


# From nothing, a model wants many passes in large steps (Muon's); a pre-trained one few and small ones.
SMALL = Pace(learning_rate=2e-3, tokens_seen=1_400_000, max_epochs=8)
LARGE = Pace(learning_rate=2e-5, tokens_seen=1_200_000, max_epochs=2)


def finetune_chat(
    examples: Path, base: Path, out: Path, scratch: Path, settings: ModelSettings, progress: Progress
) -> dict[str, Any]:
    """Train the model in `base` on the CONVERSATION rows in `examples` and write it, with its tokenizer, to `out`.

    Conversations longer than the context are left out and counted. Raises `DataError` where none is left, `ModelError`
    where the base is no causal language model.
    """
    torch = load_torch()
    from tulou.model.training import (
        Checkpoint,
        Optimizers,
        autocast,
        length_buckets,
        muon_and_adamw,
        pad,
        pick_device,
        warm_up_then_linear,
    )

    # The base, able to chat.
    device = pick_device()
    torch.manual_seed(settings.seed)
    model, tokenizer = load_causal(base), load_tokenizer(base)
    teach_chat_template(model, tokenizer)
    model.to(device)
    is_small = model.num_parameters() < SMALL_PARAMETERS
    pace = SMALL if is_small else LARGE

    # The conversations.
    context = min(settings.max_tokens or 1024, model.config.get_text_config().max_position_embeddings)
    rows = list(read_rows(examples, CONVERSATION))
    encoded = [(row["split"], encode_conversation(tokenizer, row["messages"])) for row in rows]
    fitting = [(split, turn) for split, turn in encoded if len(turn.ids) <= context]
    train = [turn for split, turn in fitting if split == "train"]
    validation = [turn for split, turn in fitting if split == "validation"] or train
    if not train:
        raise DataError(f"none of {len(rows)} conversations fits into {context} tokens; there is nothing to learn from")

    # The loop, one checkpoint an epoch.
    tokens_an_epoch = sum(len(turn.ids) for turn in train)
    speed = settings.learning_rate or pace.learning_rate
    epochs, batch_size = settings.epochs or pace.epochs(tokens_an_epoch), settings.batch_size or BATCH_SIZE
    if is_small:
        optimizers = muon_and_adamw(model, speed)
    else:
        optimizers = Optimizers(torch.optim.AdamW(model.parameters(), lr=speed, weight_decay=0.01, fused=True))
    steps = epochs * -(-len(train) // batch_size)
    checkpoint, best = Checkpoint(scratch), scratch / "best"
    done = checkpoint.load(model, optimizers) or {"step": 0, "history": []}
    step, history = done["step"], done["history"]
    with progress.bar("Fine-tune", total=epochs * tokens_an_epoch, unit="tokens") as bar:
        bar.advance(len(history) * tokens_an_epoch)
        for epoch in range(len(history), epochs):
            torch.manual_seed(settings.seed + epoch)
            model.train()
            order = length_buckets([len(turn.ids) for turn in train], batch_size, random.Random(settings.seed + epoch))
            for batch in order:
                chosen = [train[i] for i in batch]
                ids = pad([turn.ids for turn in chosen], 0).to(device)  # (B, T); pads come last: causal, never seen
                targets = pad([turn.targets for turn in chosen], IGNORED).to(device)  # (B, T)
                with autocast(device):
                    loss = answer_loss(model, ids, targets)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizers.step(warm_up_then_linear(step, steps))
                step += 1
                bar.advance(sum(len(turn.ids) for turn in chosen))
                bar.note(f"epoch {epoch + 1}/{epochs}, loss {loss.item():.2f}")
            held_out = _mean_loss(model, validation, batch_size)
            is_best = held_out < min((past["validation_loss"] for past in history), default=float("inf"))
            history.append({"epoch": epoch + 1, "loss": round(loss.item(), 4), "validation_loss": round(held_out, 4)})
            if is_best:
                _save(model, tokenizer, best)
            checkpoint.save(model, optimizers, {"step": step, "history": history})

    shutil.copytree(best, out, dirs_exist_ok=True)
    return {
        "base": settings.base,
        "parameters": model.num_parameters(),
        "conversations": {"train": len(train), "validation": sum(split == "validation" for split, _ in fitting)},
        "too_long": len(encoded) - len(fitting),
        "tokens_seen": epochs * tokens_an_epoch,
        "epochs": epochs,
        "history": history,
        "validation_loss": min(past["validation_loss"] for past in history),
    }


def teach_chat_template(model: Any, tokenizer: Any) -> None:
    """Give a base without chat template the one of ChatML, with tokens for its marks."""
    if not tokenizer.chat_template:
        tokenizer.add_special_tokens({"additional_special_tokens": [TURN_START, TURN_END]})
        tokenizer.eos_token = TURN_END
        tokenizer.chat_template = CHAT_TEMPLATE
        if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
            model.resize_token_embeddings(len(tokenizer))
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id


def _mean_loss(model: Any, turns: Sequence[Turn], batch_size: int) -> float:
    import torch

    from tulou.model.training import autocast, length_buckets, pad, pick_device

    device = pick_device()
    model.eval()
    total, count = 0.0, 0
    with torch.inference_mode(), autocast(device):
        for batch in length_buckets([len(turn.ids) for turn in turns], batch_size, random.Random(0)):
            chosen = [turns[i] for i in batch]
            ids = pad([turn.ids for turn in chosen], 0).to(device)  # (B, T)
            targets = pad([turn.targets for turn in chosen], IGNORED).to(device)  # (B, T)
            answers = int((targets[:, 1:] != IGNORED).sum())
            total += float(answer_loss(model, ids, targets)) * answers
            count += answers
    return total / max(1, count)


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with quiet():
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
