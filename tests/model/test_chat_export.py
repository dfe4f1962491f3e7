from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tulou.core.errors import ModelError
from tulou.core.extras import load_openvino
from tulou.core.manifest import read_manifest
from tulou.model.causal import load_causal, load_chat_tokenizer
from tulou.model.compress.chat import export_chat

QUESTIONS = ["多久可以退货？", "How long may I take to return an order?", "Order no. 12-34, 3.50 € 🎉", "退货" * 60]


def greedy_torch(folder: Path, prompts: list[str], max_tokens: int) -> list[list[int]]:
    import torch

    model, tokenizer = load_causal(folder), load_chat_tokenizer(folder)
    answers = []
    for prompt in prompts:
        ids = torch.tensor([tokenizer(prompt, add_special_tokens=False)["input_ids"]])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False)
        answers.append(out[0, ids.shape[1] :].tolist())
    return answers


def greedy_served(folder: Path, prompts: list[str], max_tokens: int) -> list[list[int]]:
    """As the service runs it: all prompts at once, continuous batching, the manifest's properties."""
    genai = load_openvino("openvino_genai")
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 1
    properties = {**read_manifest(folder).details["openvino"], "INFERENCE_NUM_THREADS": 1}
    pipeline = genai.ContinuousBatchingPipeline(folder, scheduler, "CPU", properties)
    config = pipeline.get_config()
    config.max_new_tokens, config.do_sample = max_tokens, False
    openvino = load_openvino()
    ids = [pipeline.get_tokenizer().encode(prompt, add_special_tokens=False).input_ids.data for prompt in prompts]
    results = pipeline.generate([openvino.Tensor(row) for row in ids], [config] * len(ids))
    return [list(result.m_generation_ids[0]) for result in results]


def prompts_of(folder: Path) -> list[str]:
    tokenizer = load_chat_tokenizer(folder)
    return [
        tokenizer.apply_chat_template([{"role": "user", "content": q}], tokenize=False, add_generation_prompt=True)
        for q in QUESTIONS
    ]


def test_served_answers_have_the_same_greedy_tokens_as_transformers(causal_folder: Path, tmp_path: Path) -> None:
    manifest = export_chat(causal_folder, tmp_path, base="tiny")
    assert (manifest.task, manifest.engine, manifest.max_tokens) == ("chat", "openvino", 512)
    prompts = prompts_of(causal_folder)
    assert greedy_served(tmp_path, prompts, 32) == greedy_torch(causal_folder, prompts, 32)


def test_exported_tokenizer_and_template_agree_with_transformers(causal_folder: Path, tmp_path: Path) -> None:
    export_chat(causal_folder, tmp_path)
    theirs, ours = load_chat_tokenizer(causal_folder), load_openvino("openvino_genai").Tokenizer(tmp_path)
    messages = [{"role": "system", "content": "你是客服。"}, {"role": "user", "content": QUESTIONS[2]}]
    prompt = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert ours.apply_chat_template(messages, True) == prompt
    for text in [prompt, *QUESTIONS, "a  b\n\n\tc", "It's DON'T 1234 １２", "cafe\u0301", "<|im_end|"]:
        ids = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text, add_special_tokens=False).input_ids.data[0].tolist() == ids
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert ours.get_eos_token_id() == theirs.eos_token_id


def test_int8_is_a_quarter_of_the_size_and_answers(causal_folder: Path, tmp_path: Path) -> None:
    export_chat(causal_folder, tmp_path / "fp32")
    manifest = export_chat(causal_folder, tmp_path / "int8", "int8")
    assert manifest.precision == "int8"
    sizes = [(tmp_path / name / "openvino_model.bin").stat().st_size for name in ("int8", "fp32")]
    assert sizes[0] < 0.35 * sizes[1]
    answers = greedy_served(tmp_path / "int8", prompts_of(causal_folder)[:2], 8)
    assert all(0 < len(answer) <= 8 for answer in answers)


def test_a_model_that_cannot_chat_is_refused(causal_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mute"
    shutil.copytree(causal_folder, folder, ignore=shutil.ignore_patterns("chat_template.jinja"))
    with pytest.raises(ModelError, match="has no chat template"):
        export_chat(folder, tmp_path / "out")


def test_an_architecture_that_changes_in_the_export_is_refused(tokenizer_folder: Path, tmp_path: Path) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    config: Any = transformers.MistralConfig(
        vocab_size=400, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=128, sliding_window=4, initializer_range=0.2, max_position_embeddings=64,
    )  # fmt: skip
    transformers.MistralForCausalLM(config).save_pretrained(tmp_path)
    shutil.copytree(tokenizer_folder, tmp_path, dirs_exist_ok=True)
    with pytest.raises(ModelError, match="does not survive the export"):
        export_chat(tmp_path, tmp_path / "out")
