"""Train a pruned, trimmed or shortened classifier again, with the model that it was cut from as its teacher.

The student learns the teacher's soft answers (Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural
Network"), the direction of its pooled vectors (the cosine loss of Sanh et al. 2019, "DistilBERT") and the labels
themselves. What the teacher says is computed once, so an epoch costs only the student. The epoch that does best on the
validation rows is kept; after a kill, training goes on at the last whole epoch. It imports torch at the top: import it
inside the function that needs it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tulou.core.progress import Bar, SilentBar
from tulou.model.encoder import Encoder, mean_pool
from tulou.model.training import (
    Checkpoint,
    Optimizers,
    autocast,
    length_buckets,
    pad,
    pick_device,
    warm_up_then_linear,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEMPERATURE = 2.0  # DistilBERT's; the teacher was trained with smoothed labels, which are soft already
SOFT, LABELS, DIRECTION = 1.0, 0.2, 1.0  # weights of the three losses
HEAD_SPEED = 2  # the head knows its work already; of a fine-tune it is five times
WEIGHT_DECAY = 0.01
TEACHING_BATCH = 128


@dataclass(frozen=True)
class Schooling:
    """How long and how fast a student learns."""

    epochs: int
    batch_size: int = 32
    learning_rate: float = 0.0  # 0: by width
    seed: int = 0


@dataclass(frozen=True)
class Rows:
    """Labelled texts as one model's tokenizer sees them."""

    ids: list[list[int]]
    labels: list[int]  # -1 for a label that the classifier does not have


def read_lessons(tokenizer: Tokenizer, rows: Sequence[dict[str, str]], labels: Sequence[str]) -> Rows:
    number = {label: i for i, label in enumerate(labels)}
    encodings = tokenizer.encode_batch([row["text"] for row in rows])
    return Rows([each.ids or [0] for each in encodings], [number.get(row["label"], -1) for row in rows])


def recover(
    student: Encoder,
    taught: tuple[Tensor, Tensor],
    train: Rows,
    validation: Rows,
    schooling: Schooling,
    scratch: Path,
    bar: Bar | None = None,
) -> list[dict[str, float]]:
    """Train `student` in place on what `teach` says about the same rows; return loss and accuracy of each epoch."""
    bar = bar or SilentBar()
    device = pick_device()
    student.to(device)
    teacher_logits, teacher_pooled = taught  # (N, C), (N, H)
    speed = schooling.learning_rate or default_learning_rate(student.body.config.hidden_size)
    assert student.head is not None
    optimizers = Optimizers(
        torch.optim.AdamW(student.body.parameters(), lr=speed, weight_decay=WEIGHT_DECAY, fused=True),
        torch.optim.AdamW(student.head.parameters(), lr=speed * HEAD_SPEED, weight_decay=WEIGHT_DECAY, fused=True),
    )
    steps = schooling.epochs * -(-len(train.ids) // schooling.batch_size)
    scratch.mkdir(parents=True, exist_ok=True)
    checkpoint, best = Checkpoint(scratch), scratch / "best.safetensors"
    done = checkpoint.load(student, optimizers) or {"step": 0, "history": []}
    step: int = done["step"]
    history: list[dict[str, float]] = done["history"]
    for epoch in range(len(history), schooling.epochs):
        torch.manual_seed(schooling.seed + epoch)  # an epoch is the same, whether or not the run was cut before it
        student.train()
        total_loss = 0.0
        lengths = [len(ids) for ids in train.ids]
        for batch in length_buckets(lengths, schooling.batch_size, random.Random(schooling.seed + epoch)):
            input_ids, attention_mask = _padded([train.ids[i] for i in batch], device)  # (B, T) each
            labels = torch.tensor([train.labels[i] for i in batch], device=device)  # (B,)
            with autocast(device):
                logits, pooled = answer(student, input_ids, attention_mask)  # (B, C), (B, H)
            loss = schooling_loss(
                logits.float(),
                pooled.float(),
                teacher_logits[batch].to(device),
                teacher_pooled[batch].to(device),
                labels,
            )
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizers.step(warm_up_then_linear(step, steps))
            step += 1
            total_loss += loss.item() * len(batch)
        accuracy = accuracy_on(student, validation)
        is_best = accuracy >= max((past["validation_accuracy"] for past in history), default=-1.0)
        history.append(
            {"epoch": epoch + 1, "loss": round(total_loss / len(train.ids), 4), "validation_accuracy": accuracy}
        )
        if is_best:
            save_file({name: each.contiguous() for name, each in student.state_dict().items()}, best)
        checkpoint.save(student, optimizers, {"step": step, "history": history})
        bar.note(f"epoch {epoch + 1}/{schooling.epochs}, validation {accuracy:.1%}")
    if best.is_file():
        student.load_state_dict(load_file(best))
    student.eval()
    return history


def schooling_loss(
    logits: Tensor, pooled: Tensor, teacher_logits: Tensor, teacher_pooled: Tensor, labels: Tensor
) -> Tensor:
    """Of student's (B, C), (B, H) against teacher's (B, C), (B, H) and labels (B,)."""
    soft = nn.functional.kl_div(
        torch.log_softmax(logits / TEMPERATURE, dim=-1),
        torch.log_softmax(teacher_logits / TEMPERATURE, dim=-1),
        reduction="batchmean",
        log_target=True,
    ) * (TEMPERATURE**2)  # keeps the gradients' size whatever the temperature (Hinton et al. 2015, section 2)
    hard = nn.functional.cross_entropy(logits, labels)
    direction = 1 - nn.functional.cosine_similarity(pooled, teacher_pooled, dim=-1).mean()
    return SOFT * soft + LABELS * hard + DIRECTION * direction


def teach(teacher: Encoder, train: Rows) -> tuple[Tensor, Tensor]:
    """What the teacher says to each row: logits (N, C) and pooled vectors (N, H)."""
    device = pick_device()
    teacher.to(device).eval()
    assert teacher.head is not None
    logits = torch.zeros(len(train.ids), teacher.head.out_features)  # (N, C)
    pooled = torch.zeros(len(train.ids), teacher.head.in_features)  # (N, H)
    with torch.inference_mode(), autocast(device):
        for batch in length_buckets([len(ids) for ids in train.ids], TEACHING_BATCH, random.Random(0)):
            said, vectors = answer(teacher, *_padded([train.ids[i] for i in batch], device))
            logits[batch], pooled[batch] = said.float().cpu(), vectors.float().cpu()
    return logits.clone(), pooled.clone()  # tensors of inference mode cannot take part in training


def answer(model: Encoder, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, C) and the pooled vectors (B, H) that they are made of."""
    assert model.head is not None
    hidden = model.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, H)
    pooled = mean_pool(hidden, attention_mask)  # (B, H)
    return model.head(pooled), pooled


def accuracy_on(model: Encoder, rows: Rows) -> float:
    """Share of `rows` whose likeliest label is the right one."""
    device = pick_device()
    model.eval()
    right = 0
    with torch.inference_mode(), autocast(device):
        for batch in length_buckets([len(ids) for ids in rows.ids], TEACHING_BATCH, random.Random(0)):
            guesses = model(*_padded([rows.ids[i] for i in batch], device)).argmax(dim=-1).cpu()  # (B,)
            right += int((guesses == torch.tensor([rows.labels[i] for i in batch])).sum())
    return right / max(1, len(rows.ids))


def default_learning_rate(hidden_size: int) -> float:
    """As for the fine-tune before it: 3e-4 suits MiniLM (384), wider models want BERT's 5e-5."""
    return 3e-4 if hidden_size <= 384 else 5e-5


def _padded(ids: Sequence[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    return pad(ids, 0).to(device), pad([[1] * len(each) for each in ids], 0).to(device)
