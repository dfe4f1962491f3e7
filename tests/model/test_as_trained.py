"""Architectures that OpenVINO's converter refuses, from random weights to an answer of the service's engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.model.test_chat_training import write_conversations

from tulou.bootstrap.judge_stages import _speaker
from tulou.core.errors import ExportError, ModelError
from tulou.core.manifest import read_manifest
from tulou.core.progress import Silent
from tulou.core.settings import CompressSettings, ModelSettings
from tulou.model.causal import load_causal
from tulou.model.compress import compress_chat, export_chat
from tulou.model.compress.as_trained import keep_chat
from tulou.model.evaluate import report_chat
from tulou.model.finetune.chat import finetune_chat
from tulou.model.parity import compare_chat
from tulou.model.served import open_scorer, open_writer
from tulou.service.engine import open_chat

TALKS = [
    [{"role": "user", "content": "How long may I take to return an order?"}],
    [{"role": "system", "content": "你是客服。"}, {"role": "user", "content": "多久可以退货？"}],
]


def configs(vocabulary: int) -> dict[str, Any]:
    import transformers

    common: dict[str, Any] = {"vocab_size": vocabulary, "hidden_size": 64, "initializer_range": 0.2}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    return {
        "lfm2": transformers.Lfm2Config(  # short convolutions between attention
            **common, **heads, intermediate_size=128, max_position_embeddings=512,
            layer_types=["conv", "full_attention"],
        ),
        "qwen3_moe": transformers.Qwen3MoeConfig(
            **common, **heads, head_dim=16, intermediate_size=128, moe_intermediate_size=32, num_experts=4,
            num_experts_per_tok=2, max_position_embeddings=512,
        ),
        "bloom": transformers.BloomConfig(**common, n_layer=2, n_head=4),  # ALiBi: attention that has no SDPA form
        "mamba": transformers.MambaConfig(**common, num_hidden_layers=2, state_size=8),  # no attention at all
        "rwkv": transformers.RwkvConfig(**common, num_hidden_layers=2, context_length=512),
    }  # fmt: skip


@pytest.fixture(scope="session", params=["lfm2", "qwen3_moe", "bloom", "mamba", "rwkv"])
def refused_folder(
    request: pytest.FixtureRequest, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder)
    config = configs(len(tokenizer))[request.param]
    config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    config.bos_token_id = None
    torch.manual_seed(1)
    folder: Path = tmp_path_factory.mktemp(str(request.param))
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def compressed(trained: Path, folder: Path, methods: tuple[str, ...] = ("bf16", "int8")) -> dict[str, Any]:
    out = folder / "out"
    out.mkdir(parents=True)
    return compress_chat(
        trained, write_conversations(folder / "rows"), out, folder / "scratch", CompressSettings(methods=methods),
        name="assistant", base="tiny", fingerprint="f00", progress=Silent(),
    )  # fmt: skip


def test_what_cannot_be_exported_is_kept_for_the_torch_engine(refused_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="to OpenVINO: ") as refused:
        export_chat(refused_folder, tmp_path / "graph")
    assert "\n" not in str(refused.value)

    summary = compressed(refused_folder, tmp_path)
    assert summary["reason"] == f"fp32 serves with the torch engine, uncompressed: {refused.value}"
    assert summary["not_made"] == [{"precision": name, "reason": str(refused.value)} for name in ("bf16", "int8")]
    (row,) = summary["table"]
    weights = tmp_path / "out" / "fp32" / "model.safetensors"
    assert row["size_bytes"] == weights.stat().st_size > 4 * load_causal(refused_folder).num_parameters()
    assert row["latency_ms_p50"] > 0
    assert 0 <= row["token_accuracy"] <= 1
    manifest = read_manifest(weights.parent)
    assert (manifest.engine, manifest.task, manifest.precision, manifest.base) == ("torch", "chat", "fp32", "tiny")
    assert (tmp_path / "out" / "weights" / "model.safetensors").is_file()


def test_it_passes_the_parity_gate_with_the_service_s_engine(refused_folder: Path, tmp_path: Path) -> None:
    keep_chat(refused_folder, tmp_path / "fp32", "no graph")
    engine = open_chat(tmp_path / "fp32", threads=1)
    try:
        verdict = compare_chat(refused_folder, tmp_path / "fp32", TALKS, _speaker(engine))
    finally:
        engine.close()
    assert verdict.difference is None
    assert verdict.figures["same_engine"] == len(TALKS)
    assert verdict.figures["same_greedy"] + verdict.figures["ties"] == len(TALKS)
    assert verdict.figures["greedy_tokens"] > 0
    assert verdict.figures["logit_difference"] < 1e-6


def test_other_weights_do_not_pass(refused_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    keep_chat(refused_folder, tmp_path / "fp32", "no graph")
    path = tmp_path / "fp32" / "model.safetensors"
    weights = load_file(path)
    save_file({name: tensor * 1.1 for name, tensor in weights.items()}, path, {"format": "pt"})
    engine = open_chat(tmp_path / "fp32", threads=1)
    try:
        verdict = compare_chat(refused_folder, tmp_path / "fp32", TALKS, _speaker(engine))
    finally:
        engine.close()
    assert "differ by" in str(verdict.difference)


def test_it_learns_to_chat_like_any_base_and_is_judged(refused_folder: Path, tmp_path: Path) -> None:
    rows = write_conversations(tmp_path / "conversations")
    settings = ModelSettings(task="chat", base="x", epochs=1, batch_size=8)
    facts = finetune_chat(rows, refused_folder, tmp_path / "trained", tmp_path, settings, Silent())
    assert np.isfinite(facts["validation_loss"])
    summary = compressed(tmp_path / "trained", tmp_path / "compressed", ())
    assert summary["reason"].startswith("fp32 serves with the torch engine, uncompressed: "), "no method was asked for"
    report = report_chat(tmp_path / "compressed" / "out" / "fp32", rows)
    assert report["token_accuracy"] == pytest.approx(summary["table"][0]["token_accuracy"])
    assert np.log(report["perplexity"]) == pytest.approx(facts["validation_loss"], rel=0.05), "bf16 in training"


def test_a_killed_search_still_knows_why_there_is_no_graph(refused_folder: Path, tmp_path: Path) -> None:
    first = compressed(refused_folder, tmp_path)
    out = tmp_path / "again"
    out.mkdir()
    again = compress_chat(
        refused_folder, tmp_path / "rows", out, tmp_path / "scratch", CompressSettings(methods=("bf16", "int8")),
        name="assistant", base="tiny", fingerprint="f00", progress=Silent(),
    )  # fmt: skip
    assert [again[key] for key in ("reason", "not_made")] == [first[key] for key in ("reason", "not_made")]


def test_a_broken_base_is_no_reason_to_do_without_openvino(causal_folder: Path, tmp_path: Path) -> None:
    import shutil

    mute = shutil.copytree(causal_folder, tmp_path / "mute", ignore=shutil.ignore_patterns("chat_template.jinja"))
    with pytest.raises(ModelError, match="has no chat template"):
        compressed(mute, tmp_path)


def test_an_engine_that_is_not_judged_is_named(tmp_path: Path) -> None:
    for open_it in (open_scorer, open_writer):
        facts = {"name": "m", "task": "chat", "engine": "echo", "precision": "", "fingerprint": "", "base": ""}
        (tmp_path / "model.json").write_text(json.dumps(facts))
        with pytest.raises(ModelError, match="is for engine 'echo'; judged are those for openvino, torch"):
            open_it(tmp_path)
