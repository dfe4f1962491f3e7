"""The compress stage: export in every precision, measure side by side, say which one may serve."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tulou.core.progress import Progress
from tulou.core.settings import CompressSettings
from tulou.core.types import CONVERSATION, LABELLED
from tulou.model.compress.chat import export_chat
from tulou.model.compress.compare import Row, choose, compare
from tulou.model.compress.encoder import CALIBRATION_TEXTS, Precision, export_encoder
from tulou.model.evaluate import evaluate_chat, evaluate_classifier
from tulou.model.rows import read_rows
from tulou.model.served import ServedEncoder, ServedWriter

TIMED_TOKENS = 32  # of an answer, for the latency of a chat model
TIMED_ANSWERS = 6


def compress_classifier(
    trained: Path,
    examples: Path,
    out: Path,
    settings: CompressSettings,
    *,
    name: str,
    base: str,
    fingerprint: str,
    progress: Progress,
) -> dict[str, Any]:
    """Write one served folder for each precision, `out/fp32` and so on; return the table, the choice and its reason."""
    texts = [row["text"] for row in read_rows(examples, LABELLED) if row["split"] == "train"]
    calibration = random.Random(0).sample(texts, min(CALIBRATION_TEXTS, len(texts)))
    folders = _folders(out, settings)
    with progress.bar(f"Compress {name}", total=len(folders) + 1, unit="steps") as bar:
        for precision, folder in folders.items():
            export_encoder(trained, folder, precision, calibration, name=name, base=base, fingerprint=fingerprint)
            bar.advance()
        table = compare(
            folders,
            lambda folder: ServedEncoder(folder, threads=1),
            calibration,
            lambda folder: evaluate_classifier(folder, examples),
        )
        bar.advance()
    return _summary(table, settings)


def compress_chat(
    trained: Path,
    examples: Path,
    out: Path,
    settings: CompressSettings,
    *,
    name: str,
    base: str,
    fingerprint: str,
    progress: Progress,
) -> dict[str, Any]:
    """As `compress_classifier`, for a chat model: the latency is that of 32 tokens to a held-out question."""
    asked = [row["messages"][:-1] for row in read_rows(examples, CONVERSATION) if row["split"] == "validation"]
    folders = _folders(out, settings)
    with progress.bar(f"Compress {name}", total=len(folders) + 1, unit="steps") as bar:
        for precision, folder in folders.items():
            export_chat(trained, folder, precision, name=name, base=base, fingerprint=fingerprint)
            bar.advance()
        table = compare(
            folders, _timed_writer, asked[:20], lambda folder: evaluate_chat(folder, examples), TIMED_ANSWERS
        )
        bar.advance()
    return _summary(table, settings)


def _timed_writer(folder: Path) -> Any:
    write = ServedWriter(folder, threads=1)
    return lambda messages: write(messages, TIMED_TOKENS, is_exact=True)


def _folders(out: Path, settings: CompressSettings) -> dict[Precision, Path]:
    precisions: list[Precision] = ["fp32", *settings.methods]
    return {precision: out / precision for precision in precisions}


def _summary(table: list[Row], settings: CompressSettings) -> dict[str, Any]:
    chosen, reason = choose(table, settings.max_accuracy_loss)
    return {"table": table, "chosen": chosen, "reason": reason}
