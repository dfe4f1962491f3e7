"""A base of the user's own, a Hugging Face folder, takes the same path as a model from scratch."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.whole.conftest import PROJECT, write_shop

Tulou = Callable[..., subprocess.CompletedProcess[str]]


def make_qwen3(folder: Path) -> None:
    """A Qwen3 of two layers with random weights, and a tokenizer trained on a few sentences."""
    import torch
    import transformers

    from tulou.model.tokenizer import train_tokenizer

    train_tokenizer(["Parcels take three days.", "三十天内可以退货。"] * 3, 400, folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, intermediate_size=128, max_position_embeddings=1024, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None, tie_word_embeddings=True,
    )  # fmt: skip
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)


def test_a_folder_with_a_qwen3_is_fine_tuned_compressed_and_registered(tulou: Tulou, tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    make_qwen3(shop / "bases" / "tiny-qwen3")
    (shop / "tulou.toml").write_text(PROJECT.replace('base = "scratch"', 'base = "bases/tiny-qwen3"'), encoding="utf-8")
    ran = tulou("run", "--until", "register.assistant", "--json", "--project", str(shop))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    names = [stage["name"] for stage in json.loads(ran.stdout)["stages"]]
    assert "pretrain.assistant" not in names
    assert names[-1] == "register.assistant"
    shown = json.loads(tulou("models", "show", "assistant", "--json", "--project", str(shop)).stdout)
    manifest = json.loads((Path(shown["folder"]) / "model.json").read_text())
    assert manifest["base"] == "bases/tiny-qwen3"


def make_lfm2(folder: Path) -> None:
    """An LFM2 of two layers, one of which is a short convolution: OpenVINO's converter does not take it."""
    import torch
    import transformers

    make_qwen3(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.Lfm2Config(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=128, max_position_embeddings=1024, layer_types=["conv", "full_attention"],
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    transformers.Lfm2ForCausalLM(config).save_pretrained(folder)


def test_a_base_that_openvino_cannot_take_is_registered_for_the_torch_engine(tulou: Tulou, tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    make_lfm2(shop / "bases" / "tiny-lfm2")
    (shop / "tulou.toml").write_text(PROJECT.replace('base = "scratch"', 'base = "bases/tiny-lfm2"'), encoding="utf-8")
    why = "fp32 serves with the torch engine, uncompressed: Lfm2ForCausalLM cannot be exported to OpenVINO: "
    ran = tulou("run", "--until", "register.assistant", "--project", str(shop))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert why in " ".join(ran.stdout.split())
    assert why in " ".join(tulou("models", "list", "--project", str(shop)).stdout.split())
    shown = json.loads(tulou("models", "show", "assistant", "--json", "--project", str(shop)).stdout)
    assert json.loads((Path(shown["folder"]) / "model.json").read_text())["engine"] == "torch"
    assert why in (Path(shown["folder"]).parent / "card.html").read_text(encoding="utf-8")
    refused = tulou("models", "export", "assistant", "--to", str(tmp_path / "graph"), "--project", str(shop))
    assert refused.returncode == 1
    assert "is for the torch engine and no OpenVINO graph" in refused.stderr
    as_trained = ("--format", "safetensors", "--to", str(tmp_path / "weights"), "--project", str(shop))
    assert tulou("models", "export", "assistant", *as_trained).returncode == 0
    assert (tmp_path / "weights" / "model.safetensors").is_file()


@pytest.mark.parametrize("base", ["bases/nowhere", "some-owner/some-model"])
def test_a_base_that_is_not_there_is_one_sentence(tulou: Tulou, tmp_path: Path, base: str) -> None:
    shop = write_shop(tmp_path / "shop")
    (shop / "tulou.toml").write_text(PROJECT.replace('base = "scratch"', f'base = "{base}"'), encoding="utf-8")
    ran = tulou("run", "--until", "finetune.assistant", "--project", str(shop))
    assert ran.returncode == 1
    assert base in ran.stderr
    assert "Traceback" not in ran.stderr
