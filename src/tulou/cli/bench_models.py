"""Verbs that measure models: bench compress, train, generate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tulou.cli.app import JsonOption
from tulou.cli.bench import KeepOption, bench, measured, percent
from tulou.cli.output import emit, human_bytes, human_seconds, stdout, table


@bench.command()
def compress(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder with train.csv and test.csv: measure accuracy, too.", show_default="none"),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="With --data: of the fine-tune.")] = 8,
    rows: Annotated[int | None, typer.Option(min=100, help="With --data: training rows.", show_default="all")] = None,
    layers: Annotated[int, typer.Option(min=2, help="Of the random encoder.")] = 12,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal models.")] = 0,
    keep: KeepOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compress a BERT-base-sized encoder and, with --data, a real classifier: size, latency, accuracy."""
    from tulou.bench.compress import bench_compress

    figures = measured(
        keep,
        as_json,
        lambda folder, progress: bench_compress(
            folder, progress, data=data, epochs=epochs, rows=rows, layers=layers, seed=seed
        ),
    )
    if as_json:
        emit(figures)
    else:
        _show_compress(figures)


@bench.command()
def train(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Folder with train.csv and test.csv to fine-tune on.", show_default="made-up texts"
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=0, help="With --data: whole fine-tunes whose accuracy is tested; minutes each.")
    ] = 0,
    base: Annotated[str, typer.Option(help="Encoder to fine-tune.")] = "minilm",
    batch: Annotated[int, typer.Option(min=1, help="Rows that a step of our fine-tune learns from.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="With --seeds: of each fine-tune.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Timed steps of each loop in each of three turns.")] = 24,
    keep: KeepOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune and pretrain beside plain torch loops: speed and, with --data and --seeds, accuracy."""
    if seeds and data is None:
        raise typer.BadParameter("--seeds needs --data, a folder with train.csv and test.csv")
    from tulou.bench.train import bench_train

    figures = measured(
        keep,
        as_json,
        lambda folder, progress: bench_train(
            folder, progress, data=data, seeds=seeds, base=base, batch_size=batch, epochs=epochs, steps=steps
        ),
    )
    if as_json:
        emit(figures)
    else:
        _show_train(figures)


@bench.command()
def generate(
    models: Annotated[
        list[str] | None, typer.Option("--model", help="10M, 100M or qwen3-0.6b; may be repeated.", show_default="all")
    ] = None,
    concurrent: Annotated[
        list[int] | None, typer.Option(min=1, help="Clients at once; may be repeated.", show_default="1, 8, 32")
    ] = None,
    alike: Annotated[
        bool, typer.Option("--alike", help="Answers of one length, so that no batch waits for its longest.")
    ] = False,
    turns: Annotated[int, typer.Option(min=1, help="Of each engine; the median counts.")] = 3,
    keep: KeepOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write answers with the served engine beside transformers: tokens/s of models of random weights.

    All sizes take more than a quarter of an hour on two cores, --model 10M two minutes.
    """
    from tulou.bench.generate import ANSWER_TOKENS, CONCURRENT, SHAPES, bench_generate

    if unknown := set(models or ()) - set(SHAPES):
        raise typer.BadParameter(f"no model {', '.join(sorted(unknown))}; choose from {', '.join(SHAPES)}")
    shapes = {name: SHAPES[name] for name in models or SHAPES}
    middle = sum(ANSWER_TOKENS) // 2
    figures = measured(
        keep,
        as_json,
        lambda folder, progress: bench_generate(
            folder,
            progress,
            shapes=shapes,
            concurrent=tuple(concurrent or CONCURRENT),
            answer_tokens=(middle, middle) if alike else ANSWER_TOKENS,
            turns=turns,
        ),
    )
    if as_json:
        emit(figures)
    else:
        _show_generate(figures)


def _show_compress(figures: Mapping[str, Any]) -> None:
    latency = figures["latency"]
    title = f"BERT-base shape, {latency['layers']} layers, one thread, batch 1, {latency['tokens']} tokens"
    rows = table("", ">size", ">smaller", ">latency", ">faster", ">cosine", title=title)
    for row in latency["rows"]:
        cosine = "" if row["cosine"] is None else f"{row['cosine']:.4f}"
        rows.add_row(row["name"], *_size_and_speed(row), cosine)
    stdout.print(rows)
    if accuracy := figures["accuracy"]:
        title = f"\n{accuracy['base']}, {accuracy['rows']['train']:,} rows, {accuracy['epochs']} epochs"
        rows = table("", ">size", ">smaller", ">latency", ">faster", ">accuracy", ">loss", title=title)
        for row in accuracy["table"]:
            rows.add_row(row["name"], *_size_and_speed(row), percent(row["accuracy"]), percent(row["loss"]))
        stdout.print(rows)
        stdout.print(accuracy["reason"], soft_wrap=True)


def _size_and_speed(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return (
        human_bytes(row["size_bytes"]),
        f"{row['size_ratio']:.1f}x",
        f"{row['latency_ms_p50']:.2f} ms",
        f"{row['speed_ratio']:.1f}x",
    )


def _show_train(figures: Mapping[str, Any]) -> None:
    tuned = figures["finetune"]
    rows = f"{tuned['labels']} labels, {tuned['tokens_a_row']:.0f} tokens a row ({tuned['data']})"
    _show_paces(f"Fine-tune {tuned['base']}: {rows}", "samples", tuned["table"])
    run = figures["pretrain"]
    shape = f"batches of {run['batch']} x {run['row_tokens']} tokens"
    _show_paces(f"\nPretrain {run['parameters'] / 1e6:.1f}M parameters: {shape}", "tokens", run["table"])
    stdout.print(
        f"median of three turns of {tuned['steps']} steps; ratio: the pace of tulou's first row to that one",
        style="dim",
    )
    if accuracy := figures["accuracy"]:
        stdout.print(f"\nTest accuracy: {accuracy['rows']['train']:,} rows, {accuracy['epochs']} epochs")
        seeds = table("seed", ">fp32", ">int8", ">training")
        for run in accuracy["seeds"]:
            taken = human_seconds(run["train_seconds"])
            seeds.add_row(str(run["seed"]), percent(run["fp32"]), percent(run["int8"]), taken)
        for name in ("mean", "spread"):
            seeds.add_row(name, percent(accuracy[name]["fp32"]), percent(accuracy[name]["int8"]), "")
        stdout.print(seeds)


def _show_paces(title: str, unit: str, paces: Sequence[Mapping[str, Any]]) -> None:
    stdout.print(title, soft_wrap=True)
    rows = table("", f">{unit}/s", ">slowest", ">fastest", ">ratio")
    for row in paces:
        shown = (f"{pace:,.0f}" for pace in (row[f"{unit}_s"], min(row["turns"]), max(row["turns"])))
        rows.add_row(row["name"], *shown, f"{row['ratio']:.2f}x")
    stdout.print(rows)


def _show_generate(figures: Mapping[str, Any]) -> None:
    shortest, longest = figures["answer_tokens"]
    for model in figures["models"]:
        rows = table("", ">clients", ">tokens/s", ">slowest", ">fastest", ">ratio", title=_shape_of(model))
        for row in model["table"]:
            shown = (f"{pace:,.0f}" for pace in (row["tokens_s"], min(row["turns"]), max(row["turns"])))
            rows.add_row(row["name"], str(row["concurrent"]), *shown, f"{row['ratio']:.2f}x")
        stdout.print(rows)
    stdout.print(
        f"prompts of {figures['prompt_tokens']} tokens, answers of {shortest} to {longest}, "
        f"{figures['answers_each']} for each client; ratio: how many times the pace of transformers",
        style="dim",
    )


def _shape_of(model: Mapping[str, Any]) -> str:
    return f"\n{model['name']}: {model['parameters'] / 1e6:,.0f}M parameters"
