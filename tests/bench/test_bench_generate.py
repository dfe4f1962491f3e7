"""The benchmark of generation on a tiny model: both engines write as many tokens as were asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from typer.testing import CliRunner

from tulou.bench.generate import ANSWERS_EACH, PEER, Shape, _asked, _prompts, _random_model, _served, bench_generate
from tulou.cli import app
from tulou.core.types import ChatDelta
from tulou.service.engine import open_chat

TINY = Shape(64, 1, 2, 1, 32, 128, 7000)


def test_every_engine_is_timed_at_every_number_of_clients(tmp_path: Path) -> None:
    figures = bench_generate(tmp_path, shapes={"tiny": TINY}, precisions=("bf16",), concurrent=(1, 2), turns=1)
    (model,) = figures["models"]
    assert [(row["name"], row["concurrent"]) for row in model["table"]] == [
        ("tulou, bf16", 1), (PEER, 1), ("tulou, bf16", 2), (PEER, 2),
    ]  # fmt: skip
    assert all(row["tokens_s"] > 0 for row in model["table"])
    assert next(row["ratio"] for row in model["table"] if row["name"] == PEER) == 1


def test_a_random_model_never_ends_an_answer_early(tmp_path: Path) -> None:
    from tulou.model.compress.chat import export_chat

    _random_model(tmp_path / "weights", TINY)
    export_chat(tmp_path / "weights", tmp_path / "served", "fp32")
    asked = _asked(_prompts(tmp_path / "weights", 2), (5, 30), seed=0)
    assert len(asked) == ANSWERS_EACH
    engine = open_chat(tmp_path / "served")
    counted: list[ChatDelta] = []
    generate = engine.generate

    async def counting(request):  # type: ignore[no-untyped-def]
        async for delta in generate(request):
            if delta.finish_reason:
                counted.append(delta)
            yield delta

    engine.generate = counting  # type: ignore[method-assign]
    try:
        asyncio.run(_served(engine, asked))
    finally:
        engine.close()
    assert {delta.finish_reason for delta in counted} == {"length"}
    assert sum(delta.completion_tokens for delta in counted) == sum(tokens for each in asked for _, tokens in each)


def test_an_unknown_model_is_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "generate", "--model", "900T"])
    assert result.exit_code == 2
    assert "choose from 10M, 100M, qwen3-0.6b" in " ".join(result.output.replace("│", " ").split())
