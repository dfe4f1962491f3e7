"""Train a pruned, trimmed or shortened classifier again, with the model that it was cut from as its teacher.

The student learns the teacher's soft answers (Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural
Network"), the direction of its pooled vectors (the cosine loss of Sanh et al. 2019, "DistilBERT") and the labels
themselves. What the teacher says is computed once, so an epoch costs only the student. The epoch that does best on the
validation rows is kept. It imports torch at the top: import it inside the function that needs it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tulou.core.progress import Bar
from tulou.model.batches import Batch, Epochs, cut_steps
from tulou.model.encoder import Encoder
from tulou.model.learners import freeze_unused
from tulou.model.loop import Plan, Validation, train
from tulou.model.training import Optimizers, autocast, length_buckets, pad, pick_device

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEMPERATURE = 2.0  # DistilBERT's; the teacher was trained with smoothed labels, which are soft already
SOFT, LABELS, DIRECTION = 1.0, 0.2, 1.0  # weights of the three losses; the first that were tried
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


class Pupil(nn.Module):
    """A student: the loss under its teacher's answers, or logits (B, C) where no `labels` are given."""

    def __init__(self, model: Encoder) -> None:
        super().__init__()
        self.model = model
        freeze_unused(model.body)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor | None = None,
        teacher_logits: Tensor | None = None,
        teacher_pooled: Tensor | None = None,
    ) -> Tensor:
        logits, pooled = answer(self.model, input_ids, attention_mask)  # (B, C), (B, H)
        if labels is None or teacher_logits is None or teacher_pooled is None:
            return logits
        return schooling_loss(logits.float(), pooled.float(), teacher_logits, teacher_pooled, labels)


def recover(
    student: Encoder,
    taught: tuple[Tensor, Tensor],
    lessons: Rows,
    validation: Rows,
    schooling: Schooling,
    scratch: Path,
    bar: Bar | None = None,
) -> list[dict[str, float]]:
    """Train `student` in place on what `teach` says about the same rows; return the points of its curve."""
    teacher_logits, teacher_pooled = taught  # (N, C), (N, H)
    speed = schooling.learning_rate or default_learning_rate(student.body.config.hidden_size)

    def make_optimizers(pupil: Pupil) -> Optimizers:
        body = [parameter for parameter in pupil.model.body.parameters() if parameter.requires_grad]
        assert pupil.model.head is not None
        return Optimizers(
            torch.optim.AdamW(body, lr=speed, weight_decay=WEIGHT_DECAY, fused=True),
            torch.optim.AdamW(
                pupil.model.head.parameters(), lr=speed * HEAD_SPEED, weight_decay=WEIGHT_DECAY, fused=True
            ),
        )

    def collate(chosen: Sequence[int]) -> Batch:
        device = pick_device()
        input_ids, attention_mask = _padded([lessons.ids[i] for i in chosen], device)  # (B, T) each
        tensors = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "labels": torch.tensor([lessons.labels[i] for i in chosen], device=device),  # (B,)
            "teacher_logits": teacher_logits[list(chosen)].to(device),  # (B, C)
            "teacher_pooled": teacher_pooled[list(chosen)].to(device),  # (B, H)
        }
        names = tuple(f"training row {i}" for i in chosen)
        return Batch(tensors, names, weight=len(chosen), tokens=sum(len(lessons.ids[i]) for i in chosen))

    def validate(pupil: Pupil) -> Validation:
        accuracy = accuracy_on(pupil.model, validation)
        return Validation.of_share(accuracy, len(validation.labels), {})

    def report(point: Mapping[str, float]) -> None:
        if bar and "validation" in point:
            bar.note(f"recovered for {point['step']}/{epochs.steps} steps, validation {point['validation']:.1%}")

    lengths = tuple(len(ids) for ids in lessons.ids)
    epochs = Epochs(lengths, schooling.batch_size, schooling.seed, schooling.epochs)
    plan = Plan(epochs.steps, epochs.tokens, schooling.seed, validate_every=epochs.steps_each)
    outcome = train(
        lambda: Pupil(student),
        make_optimizers,
        cut_steps(epochs.rows, collate),
        plan,
        scratch,
        validate=validate,
        report=report,
    )
    return outcome.course.points


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


def teach(teacher: Encoder, lessons: Rows) -> tuple[Tensor, Tensor]:
    """What the teacher says to each row: logits (N, C) and pooled vectors (N, H)."""
    device = pick_device()
    teacher.to(device).eval()
    assert teacher.head is not None
    logits = torch.zeros(len(lessons.ids), teacher.head.out_features)  # (N, C)
    pooled = torch.zeros(len(lessons.ids), teacher.head.in_features)  # (N, H)
    with torch.inference_mode(), autocast(device):
        for batch in length_buckets([len(ids) for ids in lessons.ids], TEACHING_BATCH, random.Random(0)):
            said, vectors = answer(teacher, *_padded([lessons.ids[i] for i in batch], device))
            logits[batch], pooled[batch] = said.float().cpu(), vectors.float().cpu()
    return logits.clone(), pooled.clone()  # tensors of inference mode cannot take part in training


def answer(model: Encoder, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, C) and the pooled vectors (B, H) that they are made of."""
    assert model.head is not None
    pooled = model.pool(input_ids, attention_mask)  # (B, H)
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
