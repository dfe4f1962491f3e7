"""What compression gains: size and latency of a BERT-base-sized encoder, and accuracy of a real classifier.

Size and latency do not depend on what weights say, so the large encoder has random ones and nothing is downloaded:
PyTorch eager in FP32 against OpenVINO in FP32, BF16 and INT8, whole, pruned and with half of the layers, all in turns
in one process on one thread, one text of 128 tokens. What compression loses is measured on real data with MiniLM: the
project's own training and its own search. With a folder to keep, a benchmark that was killed goes on where it was.
"""

from __future__ import annotations

import os
import platform
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.bench.intents import write_labelled
from tulou.core.compression import Plan, Step, plans
from tulou.core.progress import Progress, Silent
from tulou.core.settings import CompressSettings, ModelSettings
from tulou.core.stage import read_json, write_json
from tulou.model.compress.compare import latencies, size_bytes
from tulou.model.libraries import load_torch, load_transformers

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from tulou.model.encoder import Encoder

TOKENS = 128  # of each timed text, [CLS] and [SEP] included
LABELS = 77  # as many as BANKING77 has
PROBES, ROUNDS = 4, 20
CALIBRATION = 16  # ranges of random weights need no more
EAGER = "torch fp32 eager"

LATENCY_METHODS = ("bf16", "int8", "prune@0.33+int8", "distill@0.5+int8", "distill@0.5+prune@0.5+int8")
ACCURACY_METHODS = (
    *("int8", "trim@0.25+int8", "trim@0.25+prune@0.5+int8", "trim@0.25+distill@0.5+int8"),
    "trim@0.25+distill@0.5+prune@0.5+int8",
)
MAX_ACCURACY_LOSS = 0.007
# The recipe that reached 93.8 % on BANKING77 with MiniLM.
EPOCHS, BATCH_SIZE, LEARNING_RATE = 8, 64, 3e-4


def bench_compress(
    workdir: Path,
    progress: Progress | None = None,
    *,
    data: Path | None = None,
    epochs: int = EPOCHS,
    rows: int | None = None,
    layers: int = 12,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure latency always, and accuracy where `data` names a folder with train.csv and test.csv.

    `rows` keeps so many training rows and `layers` makes the random encoder shallower, for a quick look.
    """
    progress = progress or Silent()
    started = time.perf_counter()
    accuracy = None
    if data is not None:
        accuracy = _accuracy(data, workdir / "intents", epochs, rows, seed, progress)
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "latency": _latency(workdir / "encoder", layers, seed, progress),
        "accuracy": accuracy,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _latency(workdir: Path, layers: int, seed: int, progress: Progress) -> dict[str, Any]:
    torch = load_torch()
    from tulou.model.encoder import load_encoder
    from tulou.model.served import ServedEncoder

    candidates = plans(LATENCY_METHODS, "classify")
    with progress.bar("Size and latency", total=len(candidates) + 2, unit="candidates") as bar:
        whole = workdir / "whole"
        if not (whole / "head.safetensors").is_file():
            _random_classifier(whole, layers, seed)
        bar.advance()
        folders = {}
        for plan in candidates:
            folders[plan.name] = _exported(plan, whole, workdir, seed)
            bar.advance()
        eager, tokenizer = load_encoder(whole), _tokenizer(whole)
        texts = _texts(PROBES, seed + 1)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            timed: dict[str, Callable[[Any], Any]] = {EAGER: lambda text: _answer(eager, tokenizer, text)}
            timed |= {name: ServedEncoder(folder, threads=1) for name, folder in folders.items()}
            taken = latencies(timed, texts, ROUNDS)
            cosines = {name: _cosine(timed[EAGER](texts[0]), run(texts[0])) for name, run in timed.items()}
        finally:
            torch.set_num_threads(threads)
        bar.advance()
    sizes = {EAGER: 4 * _parameters(eager), **{name: size_bytes(folder) for name, folder in folders.items()}}
    same_shape = {EAGER, *(plan.name for plan in candidates if not plan.shaping)}
    return {
        "tokens": TOKENS,
        "batch": 1,
        "threads": 1,
        "layers": layers,
        "rows": [
            {
                "name": name,
                "size_bytes": sizes[name],
                "latency_ms_p50": round(taken[name], 2),
                "size_ratio": round(sizes[EAGER] / sizes[name], 2),
                "speed_ratio": round(taken[EAGER] / taken[name], 2),
                "cosine": round(cosines[name], 5) if name in same_shape else None,
            }
            for name in timed
        ],
    }


def _random_classifier(folder: Path, layers: int, seed: int) -> None:
    """BERT-base (Devlin et al. 2019) with random weights, a head, and a tokenizer of as many made-up words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    from tulou.model.encoder import Encoder, save_classifier

    torch.manual_seed(seed)
    config = load_transformers().BertConfig(num_hidden_layers=layers)
    body = load_transformers().BertModel(config, add_pooling_layer=False)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(config.vocab_size - 4))]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token=words[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(TOKENS)
    folder.mkdir(parents=True, exist_ok=True)
    head = torch.nn.Linear(config.hidden_size, LABELS)
    save_classifier(Encoder(body, head), tokenizer, folder, [f"label {i}" for i in range(LABELS)], folder)


def _exported(plan: Plan, whole: Path, workdir: Path, seed: int) -> Path:
    """The graph of a plan; weights are cut as the plan says and not recovered, for they say nothing."""
    from tulou.model.compress.encoder import export_encoder

    folder = workdir / plan.name
    if not (folder / "model.json").is_file():
        weights = _cut(whole, plan.shaping, workdir / f"{plan.shape_name} weights", seed) if plan.shaping else whole
        export_encoder(weights, folder, plan.precision.name, _texts(CALIBRATION, seed))
    return folder


def _cut(whole: Path, steps: Sequence[Step], folder: Path, seed: int) -> Path:
    from tulou.model.compress.encoder import read_labels
    from tulou.model.compress.shape import SHAPERS
    from tulou.model.encoder import load_encoder, save_classifier

    if (folder / "head.safetensors").is_file():
        return folder
    model, tokenizer, labels = load_encoder(whole), _tokenizer(whole), read_labels(whole)
    rng = random.Random(seed)
    rows = [{"text": text[: TOKENS * 2], "label": rng.choice(labels)} for text in _texts(CALIBRATION, seed)]
    for step in steps:
        assert step.amount is not None
        tokenizer = SHAPERS[step.name](model, tokenizer, step.amount, rows, labels)
    folder.mkdir(parents=True, exist_ok=True)
    save_classifier(model, tokenizer, whole, labels, folder)
    return folder


def _accuracy(
    data: Path, workdir: Path, epochs: int, rows: int | None, seed: int, progress: Progress
) -> dict[str, Any]:
    """Train on `data` and search: accuracy on the test rows of every candidate, and what the search would serve."""
    from tulou.model.compress.recipe import compress_classifier
    from tulou.model.finetune.classify import train_classifier

    splits = write_labelled(data, workdir / "rows", seed, rows)
    settings = ModelSettings(
        task="classify", source="data", epochs=epochs, batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE, seed=seed
    )
    facts, scratch, trained = workdir / "trained.json", workdir / "scratch", workdir / "trained"
    if not facts.is_file():
        scratch.mkdir(parents=True, exist_ok=True)
        write_json(facts, train_classifier(workdir / "rows", trained, scratch, settings, workdir, progress))
    compress = CompressSettings(methods=ACCURACY_METHODS, max_accuracy_loss=MAX_ACCURACY_LOSS)
    found = compress_classifier(
        trained, workdir / "rows", _emptied(workdir / "compressed"), workdir / "search", compress,
        name="intents", base=settings.base, fingerprint="", progress=progress,
    )  # fmt: skip
    baseline = found["table"][0]
    kept = ("size_bytes", "latency_ms_p50", "size_ratio", "speed_ratio", "accuracy", "validation_accuracy", "macro_f1")
    return {
        "base": settings.base,
        "rows": splits,
        "epochs": epochs,
        "parameters": read_json(facts)["parameters"],
        "table": [
            {
                "name": row["precision"],
                **{key: row[key] for key in kept},
                "loss": baseline["accuracy"] - row["accuracy"],
            }
            for row in found["table"]
        ],
        "not_made": found["not_made"],
        "chosen": found["chosen"],
        "reason": found["reason"],
    }


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _texts(count: int, seed: int) -> list[str]:
    """Made-up words, one token each."""
    rng = random.Random(seed)
    return [" ".join(f"w{rng.randrange(30_000)}" for _ in range(TOKENS - 2)) for _ in range(count)]


def _tokenizer(folder: Path) -> Tokenizer:
    from tulou.model.compress.shape import read_tokenizer

    return read_tokenizer(folder)


def _answer(model: Encoder, tokenizer: Tokenizer, text: str) -> Any:
    """Logits (labels,) of PyTorch eager."""
    import torch

    ids = torch.tensor([tokenizer.encode(text).ids])  # (1, T)
    with torch.inference_mode():
        return model(ids, torch.ones_like(ids))[0].numpy()


def _cosine(one: Any, other: Any) -> float:
    import numpy as np

    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def _parameters(model: Encoder) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
