"""One shaped classifier: the trained one, cut as a plan says, then trained again under its eyes.

However many cuts a plan has, there is one recovery at the end. The result is a folder of weights like the one that
training makes, which any precision can be exported from.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.compression import Step
from tulou.core.errors import ModelError
from tulou.core.progress import Bar
from tulou.model.compress.encoder import read_labels
from tulou.model.libraries import load_torch

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from tulou.model.encoder import Encoder

IMPORTANCE_ROWS = 512  # seconds of work; how few would do was not looked into
IMPORTANCE_BATCH = 32


@dataclass(frozen=True)
class Lessons:
    """The rows that a shaped classifier learns from, and those that say when it is at its best."""

    train: Sequence[dict[str, Any]]
    validation: Sequence[dict[str, Any]]


def shape_classifier(
    trained: Path, steps: Sequence[Step], lessons: Lessons, out: Path, scratch: Path, epochs: int, bar: Bar
) -> dict[str, Any]:
    """Write the classifier in `trained`, cut by `steps` and recovered, to `out`; return what became of it.

    Raises `ModelError` where the encoder or its tokenizer cannot be cut so.
    """
    load_torch()
    from tulou.model.compress.recover import Schooling, read_lessons, recover, teach
    from tulou.model.encoder import load_encoder, save_classifier

    labels = read_labels(trained)
    teacher, tokenizer = load_encoder(trained), read_tokenizer(trained)
    taught = teach(teacher, read_lessons(tokenizer, lessons.train, labels))
    student = load_encoder(trained)
    for step in steps:
        assert step.amount is not None
        tokenizer = SHAPERS[step.name](student, tokenizer, step.amount, lessons.train, labels)
    bar.note(f"{'+'.join(map(str, steps))}: {_parameters(student):,} of {_parameters(teacher):,} parameters")
    train, validation = (read_lessons(tokenizer, rows, labels) for rows in (lessons.train, lessons.validation))
    # Without validation rows the training rows have to say which epoch is best, as in the fine-tune.
    history = recover(student, taught, train, validation if validation.ids else train, Schooling(epochs), scratch, bar)
    save_classifier(student, tokenizer, trained, labels, out)
    return {"parameters": _parameters(student), "history": history}


def read_tokenizer(folder: Path) -> Tokenizer:
    """With the truncation that training left in it."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"{folder} has no tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    return tokenizer


def _trim(
    model: Encoder, tokenizer: Tokenizer, share: float, rows: Sequence[dict[str, Any]], _: Sequence[str]
) -> Tokenizer:
    from tulou.model.compress.trim import trim

    return trim(model, tokenizer, share, [row["text"] for row in rows])


def _distill(model: Encoder, tokenizer: Tokenizer, share: float, *_: Any) -> Tokenizer:
    from tulou.model.compress.distill import keep_layers

    keep_layers(model, share)
    return tokenizer


def _prune(
    model: Encoder, tokenizer: Tokenizer, share: float, rows: Sequence[dict[str, Any]], labels: Sequence[str]
) -> Tokenizer:
    from tulou.model.compress.prune import prune

    chosen = random.Random(0).sample(list(rows), min(IMPORTANCE_ROWS, len(rows)))
    prune(model, share, labelled_batches(tokenizer, chosen, labels))
    return tokenizer


SHAPERS = {"trim": _trim, "distill": _distill, "prune": _prune}


def labelled_batches(tokenizer: Tokenizer, rows: Sequence[dict[str, Any]], labels: Sequence[str]) -> list[Any]:
    """Batches of like length for the importance of heads and neurons."""
    import torch

    from tulou.model.compress.recover import read_lessons
    from tulou.model.training import length_buckets, pad

    lessons = read_lessons(tokenizer, rows, labels)
    batches = []
    for batch in length_buckets([len(ids) for ids in lessons.ids], IMPORTANCE_BATCH, random.Random(0)):
        ids = [lessons.ids[i] for i in batch]
        mask = pad([[1] * len(each) for each in ids], 0)  # (B, T)
        batches.append((pad(ids, 0), mask, torch.tensor([lessons.labels[i] for i in batch])))
    return batches


def _parameters(model: Encoder) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
