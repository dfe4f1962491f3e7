"""LoRA on every shape of model, merged into weights that any loader takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.model.test_chat_training import write_conversations
from tests.model.test_classify import WORDS, settings, write_rows

from tulou.core.errors import ModelError
from tulou.core.progress import Silent
from tulou.core.settings import LoraSettings, ModelSettings
from tulou.model.causal import load_causal
from tulou.model.encoder import load_body
from tulou.model.finetune.chat import finetune_chat
from tulou.model.finetune.classify import train_classifier
from tulou.model.lora import adapt, merge


def test_a_classifier_learns_by_lora_and_is_a_plain_model_afterwards(encoder_folder: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", WORDS)
    chosen = settings(encoder_folder, 8).model_copy(update={"method": "lora", "learning_rate": 5e-3})
    facts = train_classifier(rows, tmp_path / "out", tmp_path / "s", chosen, tmp_path, Silent())
    assert facts["validation_accuracy"] > 0.9
    before, after = load_body(encoder_folder).state_dict(), load_file(tmp_path / "out" / "model.safetensors")
    assert set(after) <= set(before)
    assert not after["encoder.layer.0.attention.self.query.weight"].equal(
        before["encoder.layer.0.attention.self.query.weight"]
    )
    old = before["embeddings.word_embeddings.weight"]
    assert after["embeddings.word_embeddings.weight"][: len(old)].equal(old), "only new characters' rows are learnt"


def test_a_chat_model_learns_by_lora_and_is_a_plain_model_afterwards(causal_folder: Path, tmp_path: Path) -> None:
    rows = write_conversations(tmp_path / "rows")
    chosen = ModelSettings(task="chat", base="x", method="lora", epochs=8, batch_size=8, learning_rate=1e-2)
    facts = finetune_chat(rows, causal_folder, tmp_path / "out", tmp_path / "s", chosen, Silent())
    assert facts["method"] == "lora"
    validated = [point["validation"] for point in facts["history"] if "validation" in point]
    assert validated[-1] < 0.5 * validated[0]
    before, after = load_causal(causal_folder).state_dict(), load_causal(tmp_path / "out").state_dict()
    assert before.keys() == after.keys()
    assert after["model.embed_tokens.weight"].equal(before["model.embed_tokens.weight"])
    checkpoint = (tmp_path / "s" / "best.safetensors").stat().st_size
    assert checkpoint < 0.5 * (causal_folder / "model.safetensors").stat().st_size


def test_merging_changes_no_answer(causal_folder: Path) -> None:
    model = load_causal(causal_folder)
    adapt(model, LoraSettings(rank=4))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    ids = torch.arange(10)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
        merge(model)
        after = model(input_ids=ids).logits
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-3)
    assert all("lora" not in name for name, _ in model.named_parameters())


def test_targets_that_the_model_does_not_have_are_one_sentence(causal_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"lora.targets \['query'\] do not fit a model of type '(qwen3|llama)'"):
        adapt(load_causal(causal_folder), LoraSettings(targets=("query",)))
