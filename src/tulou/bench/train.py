"""How fast training is beside the loop that one would write first, and how accurate a whole fine-tune gets.

Our side is the recipe itself, timed by the points of its own curve; the other side is written out here. They take
turns in one process, and the plain loop goes on from the weights that the recipe has just written, so both train one
model. Only steps count: no first ones, and no loading, validating or saving, which weigh little in a long run and
everything in one this short. Kernels are chosen anew for every length of text, so fine-tuning is timed in its second
epoch. Accuracy takes minutes for each seed; with a folder to keep, a run that was killed goes on.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tulou.bench.intents import write_labelled
from tulou.bench.passages import Passages
from tulou.core.errors import DataError
from tulou.core.progress import Bar, Progress, Silent
from tulou.core.settings import ModelSettings, PretrainSettings
from tulou.core.stage import read_json, write_json
from tulou.core.tables import LABELLED
from tulou.model.libraries import load_torch

if TYPE_CHECKING:
    from tulou.model.corpus import Corpus
    from tulou.model.training import Optimizers

STEPS = 24  # timed, of each loop in each turn
TURNS = 3
WARM_UP = 3  # steps of a turn that do not count: memory is found and kernels are chosen in them
SINGLE_ROWS = 4  # as many steps where a step is one row: lengths differ more from row to row than from batch to batch
# The recipe that reached 93.8 % on BANKING77 with MiniLM.
EPOCHS, BATCH_SIZE = 8, 64

LABELS = 77  # as many as BANKING77 has
WORDS = (6, 30)  # fewest and most of a made-up text: 20 tokens on average, [CLS] and [SEP] included
PASSAGES = 4000  # enough words for a vocabulary of the default size
PRECISIONS = ("fp32", "int8")

OURS = "tulou"
COMMON_WORDS = (
    "my card was not there when i did pay for it and now the money is gone can you please tell me how to get a new one "
    "why does this take so long where do we see what happened last week with our order from your shop on the web"
)

Row = dict[str, Any]
Point = Mapping[str, float]


def bench_train(
    workdir: Path,
    progress: Progress | None = None,
    *,
    data: Path | None = None,
    seeds: int = 0,
    base: str = "minilm",
    batch_size: int = BATCH_SIZE,
    epochs: int = EPOCHS,
    steps: int = STEPS,
    size: PretrainSettings | None = None,
) -> dict[str, Any]:
    """Measure both speeds always, and accuracy for each of `seeds` where `data` has train.csv and test.csv.

    `size` is that of the pretrained model, by default the recipe's own.
    """
    progress = progress or Silent()
    started = time.perf_counter()
    accuracy = None
    classify = ModelSettings(task="classify", source="data", base=base, epochs=epochs, batch_size=batch_size)
    # Pretraining first: a heap that fine-tuning has grown would speed up the plain loops.
    pretrain = _pretrain(size or PretrainSettings(), workdir / "pretrain", steps, progress)
    finetune = _finetune(data, workdir / "finetune", classify, steps, progress)
    if data and seeds:
        accuracy = accuracy_by_seed(data, workdir / "accuracy", classify, seeds, progress)
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "finetune": finetune,
        "pretrain": pretrain,
        "accuracy": accuracy,
        "seconds": round(time.perf_counter() - started, 1),
    }


# Fine-tuning.


def _finetune(data: Path | None, workdir: Path, settings: ModelSettings, steps: int, progress: Progress) -> Row:
    from tulou.model.finetune.classify import train_classifier

    rows = _some(steps * settings.batch_size, data, workdir)
    settings = settings.model_copy(update={"epochs": 2})
    trained = workdir / "trained"
    facts: dict[str, Any] = {}

    def ours(_turn: int) -> float:
        points: list[Point] = []
        with tempfile.TemporaryDirectory(dir=workdir) as scratch:
            folders = workdir / "rows", trained, Path(scratch)
            facts.update(train_classifier(*folders, settings, Path.cwd(), Silent(), points.append))
        return _pace(points, "rows_s", settings.batch_size, steps)

    def plain(is_fused: bool) -> Callable[[int], float]:
        return lambda turn: _plain_classifier(trained, random.Random(turn).sample(rows, SINGLE_ROWS * steps), is_fused)

    loops = {
        f"{OURS}, batch {settings.batch_size}, {_precision()}": ours,
        "plain loop, batch 1, fp32": plain(is_fused=False),
        "plain loop, batch 1, fp32, fused optimizer": plain(is_fused=True),
    }
    with progress.bar("Fine-tune", total=TURNS * len(loops), unit="runs") as bar:
        table = _in_turns(loops, "samples_s", bar)
    return {
        "base": settings.base,
        "parameters": facts["parameters"],
        "data": "generated" if data is None else data.name,
        "labels": len(facts["labels"]),
        "tokens_a_row": round(facts["tokens_seen"] / (settings.epochs * len(rows)), 1),
        "steps": steps,
        "table": table,
    }


def _plain_classifier(folder: Path, rows: Sequence[Row], is_fused: bool) -> float:
    """Rows a second of the loop that one writes first: a row a step, FP32, with torch's default or its fused AdamW."""
    torch = load_torch()
    from tulou.model.compress.encoder import read_labels
    from tulou.model.compress.shape import read_tokenizer
    from tulou.model.encoder import load_encoder
    from tulou.model.training import pick_device

    device = pick_device()
    model, tokenizer, labels = load_encoder(folder).to(device).train(), read_tokenizer(folder), read_labels(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=is_fused or None)
    started = loss_sum = 0.0
    for step, row in enumerate([*rows, *rows]):
        if step == len(rows):
            started = time.perf_counter()
        ids = torch.tensor([tokenizer.encode(row["text"]).ids], device=device)  # (1, T)
        label = torch.tensor([labels.index(row["label"])], device=device)  # (1,)
        loss = torch.nn.functional.cross_entropy(model(ids, torch.ones_like(ids)), label)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss_sum += loss.item()
    return len(rows) / (time.perf_counter() - started)


def _some(count: int, data: Path | None, workdir: Path) -> list[Row]:
    """Write `count` training rows and none to validate on, drawn from `data` or made up, to `workdir/rows`."""
    rng = random.Random(0)
    if data is None:
        found = [_made_up(number, rng) for number in range(count)]
    else:
        write_labelled(data, workdir / "all")
        every = [row for row in pq.read_table(workdir / "all").to_pylist() if row["split"] == "train"]
        if not every:
            raise DataError(f"{data / 'train.csv'} has no rows to learn from")
        found = rng.sample(every * -(-count // len(every)), count)
    (workdir / "rows").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(found, schema=LABELLED), workdir / "rows" / "labelled-00000.parquet")
    return found


def _made_up(number: int, rng: random.Random) -> Row:
    text = " ".join(rng.choices(COMMON_WORDS.split(), k=rng.randint(*WORDS)))
    name, label = f"text-{number:06d}", f"label {number % LABELS}"
    return {"id": name, "document_id": name, "text": text, "label": label, "language": "en", "split": "train"}


# Pretraining.


def _pretrain(size: PretrainSettings, workdir: Path, steps: int, progress: Progress) -> Row:
    load_torch()
    from tulou.model.corpus import MIN_ROWS_TO_HOLD_OUT
    from tulou.model.pretrain import SCRATCH_BATCH, SCRATCH_SPEED, learn, prepare
    from tulou.model.training import adamw

    length = size.row_tokens
    size = size.model_copy(update={"tokens": (WARM_UP + steps) * SCRATCH_BATCH * length})
    settings = ModelSettings(task="chat", base="scratch", pretrain=size)
    texts = [text for made, _ in Passages(PASSAGES).batches() for text in made.column("text").to_pylist()]
    material = prepare(lambda: iter(texts), workdir, settings, progress)
    # Cut too short to hold rows out, so that no validation comes between the steps.
    corpus = replace(material.corpus, tokens=min(material.corpus.tokens, (MIN_ROWS_TO_HOLD_OUT - 1) * length))
    material, trained = replace(material, corpus=corpus), workdir / "trained"
    facts: dict[str, Any] = {}

    def ours(**changed: str) -> Callable[[int], float]:
        chosen = settings.model_copy(update={"pretrain": size.model_copy(update={"compile": "never", **changed})})

        def run(_turn: int) -> float:
            points: list[Point] = []
            with tempfile.TemporaryDirectory(dir=workdir) as scratch:
                facts.update(learn(material, trained, Path(scratch), chosen, Silent(), report=points.append))
            return _pace(points, "tokens_s", SCRATCH_BATCH * length, WARM_UP)

        return run

    def plain(optimizers: Callable[[Any, float], Optimizers]) -> Callable[[int], float]:
        return lambda turn: _plain_pretraining(
            trained, corpus, (SCRATCH_BATCH, length), lambda model: optimizers(model, SCRATCH_SPEED), steps, turn
        )

    loops = {
        f"{OURS}, {_precision()}": ours(),
        f"{OURS}, {_precision()}, compiled, as in long runs": ours(compile="always"),
        f"{OURS}, {_precision()}, AdamW alone": ours(optimizer="adamw"),
        f"plain loop, {_precision()}, Muon and AdamW": plain(_torch_muon),
        f"plain loop, {_precision()}, AdamW alone": plain(adamw),
    }
    with progress.bar("Pretrain", total=TURNS * len(loops), unit="runs") as bar:
        table = _in_turns(loops, "tokens_s", bar)
    return {
        "parameters": facts["parameters"],
        "vocabulary": facts["vocabulary"],
        "batch": SCRATCH_BATCH,
        "row_tokens": length,
        "steps": steps,
        "table": table,
    }


def _plain_pretraining(
    folder: Path,
    corpus: Corpus,
    shape: tuple[int, int],
    make_optimizers: Callable[[Any], Optimizers],
    steps: int,
    seed: int,
) -> float:
    """Tokens a second of rows taken anywhere from the corpus, in batches of `shape` (B, T), in bf16 as ours."""
    torch = load_torch()
    from tulou.model.causal import load_causal
    from tulou.model.training import autocast, pick_device

    device, rng = pick_device(), random.Random(seed)
    batch, length = shape
    model = load_causal(folder).to(device).train()
    optimizers = make_optimizers(model)
    started = loss_sum = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            started = time.perf_counter()
        starts = [rng.randrange(corpus.tokens - length + 1) for _ in range(batch)]
        ids = torch.tensor([corpus.stretch(start, length) for start in starts], device=device)  # (B, T)
        with autocast(device):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizers.step(1.0)
        loss_sum += loss.item()
    return steps * batch * length / (time.perf_counter() - started)


def _torch_muon(model: Any, learning_rate: float) -> Optimizers:
    """The optimizers of the recipe, as torch has them."""
    torch = load_torch()
    from tulou.model.training import Optimizers, inner_matrices

    matrices, rest = inner_matrices(model)
    return Optimizers(
        torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    )


# Accuracy.


def accuracy_by_seed(data: Path, workdir: Path, settings: ModelSettings, seeds: int, progress: Progress) -> Row:
    """Test accuracy of a whole fine-tune by seed, which also draws the validation rows; one folder for each recipe."""
    recipe = [str(data.resolve()), settings.base, settings.epochs, settings.batch_size]
    folder = workdir / hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:8]
    runs = [
        _one_seed(data, folder / f"seed-{seed}", settings.model_copy(update={"seed": seed}), progress)
        for seed in range(seeds)
    ]
    each = {precision: [run[precision] for run in runs] for precision in PRECISIONS}
    return {
        "base": settings.base,
        "epochs": settings.epochs,
        "batch": settings.batch_size,
        "rows": runs[0]["rows"],
        "seeds": [{key: run[key] for key in ("seed", *PRECISIONS, "train_seconds")} for run in runs],
        "mean": {precision: statistics.mean(found) for precision, found in each.items()},
        "spread": {precision: max(found) - min(found) for precision, found in each.items()},
    }


def _one_seed(data: Path, folder: Path, settings: ModelSettings, progress: Progress) -> Row:
    """Train, export and test, each only where `folder` does not have it yet."""
    from tulou.model.compress.encoder import CALIBRATION_TEXTS, export_encoder
    from tulou.model.evaluate import evaluate_classifier
    from tulou.model.finetune.classify import train_classifier

    if (known := read_json(folder / "figures.json")) is not None:
        return dict(known)
    rows, trained, scratch, facts = (folder / name for name in ("rows", "trained", "scratch", "trained.json"))
    splits = write_labelled(data, rows, settings.seed)
    if not facts.is_file():
        scratch.mkdir(exist_ok=True)
        write_json(facts, train_classifier(rows, trained, scratch, settings, Path.cwd(), progress))
        shutil.rmtree(scratch)
    texts = [row["text"] for row in pq.read_table(rows).to_pylist() if row["split"] == "train"]
    calibration = random.Random(0).sample(texts, min(CALIBRATION_TEXTS, len(texts)))
    figures: Row = {"seed": settings.seed, "rows": splits, "train_seconds": read_json(facts)["train_seconds"]}
    with progress.bar(f"Seed {settings.seed}: export and test", total=len(PRECISIONS), unit="precisions") as bar:
        for precision in PRECISIONS:
            export_encoder(trained, folder / precision, precision, calibration)
            figures[precision] = evaluate_classifier(folder / precision, rows)["accuracy"]
            bar.advance()
    write_json(folder / "figures.json", figures)
    return figures


# Timing.


def _in_turns(loops: Mapping[str, Callable[[int], float]], unit: str, bar: Bar) -> list[Row]:
    """The median pace of each loop; `ratio` says how many times that pace the first loop has."""
    paces: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(TURNS):
        for name, run in loops.items():
            paces[name].append(run(turn))
            bar.note(f"{name}: {paces[name][-1]:,.0f}/s")
            bar.advance()
    medians = {name: statistics.median(found) for name, found in paces.items()}
    first = next(iter(medians.values()))
    return [
        {
            "name": name,
            unit: round(medians[name], 1),
            "turns": [round(pace, 1) for pace in found],
            "ratio": round(first / medians[name], 2),
        }
        for name, found in paces.items()
    ]


def _pace(points: Sequence[Point], key: str, each_step: int, first: int) -> float:
    """What a curve says of the steps from `first` on, each of which took `each_step` rows or tokens."""
    counts, seconds = 0.0, 0.0
    for before, point in itertools.pairwise(points):
        if before["step"] >= first:
            count = (point["step"] - before["step"]) * each_step
            counts, seconds = counts + count, seconds + count / point[key]
    return counts / seconds


def _precision() -> str:
    load_torch()
    from tulou.model.training import has_bf16, pick_device

    return "bf16" if has_bf16(pick_device()) else "fp32"
