"""The compress stage: which candidates there are for a model, and how each is made, judged and timed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tulou.core.compression import BASELINE, Plan, left_out, plans
from tulou.core.errors import ExportError
from tulou.core.progress import Progress
from tulou.core.settings import CompressSettings
from tulou.core.tables import CONVERSATION, LABELLED
from tulou.model.compress.as_trained import keep_chat, why_torch
from tulou.model.compress.chat import export_chat
from tulou.model.compress.compare import TIMED_ROUNDS
from tulou.model.compress.encoder import CALIBRATION_TEXTS, export_encoder
from tulou.model.compress.search import Bench, search
from tulou.model.compress.shape import Lessons, shape_classifier
from tulou.model.evaluate import evaluate_chat, evaluate_classifier
from tulou.model.rows import read_rows
from tulou.model.served import ServedEncoder, open_writer

TIMED_TOKENS = 32  # of an answer, for the latency of a chat model
TIMED_ANSWERS = 6


def compress_classifier(
    trained: Path,
    examples: Path,
    out: Path,
    scratch: Path,
    settings: CompressSettings,
    *,
    name: str,
    base: str,
    fingerprint: str,
    progress: Progress,
) -> dict[str, Any]:
    """Write a served folder for the baseline, the choice and every candidate of the front; return what was found."""
    rows = list(read_rows(examples, LABELLED))
    lessons = Lessons(*([row for row in rows if row["split"] == split] for split in ("train", "validation")))
    texts = [row["text"] for row in lessons.train]
    calibration = random.Random(0).sample(texts, min(CALIBRATION_TEXTS, len(texts)))
    candidates = plans(settings.methods, "classify")
    with progress.bar(f"Compress {name}", total=len(candidates) + 1, unit="candidates") as bar:

        def shape(plan: Plan, folder: Path) -> Mapping[str, Any]:
            lesson_scratch = scratch / "recovery" / plan.shape_name
            return shape_classifier(
                trained, plan.shaping, lessons, folder, lesson_scratch, settings.recovery_epochs, bar
            )

        def export(plan: Plan, weights: Path, folder: Path) -> None:
            precision = plan.precision.name
            export_encoder(weights, folder, precision, calibration, name=name, base=base, fingerprint=fingerprint)

        def measure(folder: Path) -> Mapping[str, Any]:
            scores = evaluate_classifier(folder, examples)
            if lessons.validation:
                scores["validation_accuracy"] = evaluate_classifier(folder, examples, "validation")["accuracy"]
            return scores

        def open_timed(folder: Path) -> ServedEncoder:
            return ServedEncoder(folder, threads=1)

        bench = Bench(shape, export, measure, open_timed, calibration, TIMED_ROUNDS)
        summary = search(candidates, trained, bench, out, scratch, settings, bar)
    return {**summary, "left_out": left_out(settings.methods, "classify")}


def compress_chat(
    trained: Path,
    examples: Path,
    out: Path,
    scratch: Path,
    settings: CompressSettings,
    *,
    name: str,
    base: str,
    fingerprint: str,
    progress: Progress,
) -> dict[str, Any]:
    """As `compress_classifier`, for a chat model: the latency is that of 32 tokens to a held-out question.

    A model that has no graph is kept as it was trained, for the torch engine, and is the only candidate.
    """
    asked = [row["messages"][:-1] for row in read_rows(examples, CONVERSATION) if row["split"] == "validation"]
    candidates = plans(settings.methods, "chat")

    def export(plan: Plan, weights: Path, folder: Path) -> None:
        precision, group = plan.precision.name, int(plan.precision.amount or 0)
        try:
            export_chat(weights, folder, precision, group_size=group, name=name, base=base, fingerprint=fingerprint)
        except ExportError as err:
            if plan.name != BASELINE:
                raise
            keep_chat(weights, folder, str(err), name=name, base=base, fingerprint=fingerprint)

    bench = Bench(
        shape=_never,
        export=export,
        measure=lambda folder: evaluate_chat(folder, examples),
        open_timed=_timed_writer,
        probes=asked[:20],
        rounds=TIMED_ANSWERS,
        why_torch=why_torch,
    )
    with progress.bar(f"Compress {name}", total=len(candidates) + 1, unit="candidates") as bar:
        summary = search(candidates, trained, bench, out, scratch, settings, bar)
    return {**summary, "left_out": left_out(settings.methods, "chat")}


def _timed_writer(folder: Path) -> Any:
    write = open_writer(folder, threads=1)
    return lambda messages: write(messages, TIMED_TOKENS, is_exact=True)


def _never(plan: Plan, folder: Path) -> Mapping[str, Any]:
    raise AssertionError(f"no chat model is shaped, but {plan.name} asks for it in {folder}")
