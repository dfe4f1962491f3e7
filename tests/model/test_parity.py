from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.model.test_classify import WORDS, settings, write_rows

from tulou.core.errors import ModelError
from tulou.core.progress import Silent
from tulou.model.compress.chat import export_chat
from tulou.model.compress.encoder import export_encoder
from tulou.model.evaluate.calibration import softmax
from tulou.model.finetune.classify import train_classifier
from tulou.model.parity import compare_chat, compare_encoder, require_parity
from tulou.model.served import ServedEncoder, ServedWriter

PROBES = ["where is it 3", "退款 please", "invoice please 12"]
TALKS = [
    [{"role": "user", "content": "How long may I take to return an order?"}],
    [{"role": "system", "content": "你是客服。"}, {"role": "user", "content": "多久可以退货？"}],
]


@pytest.fixture(scope="module")
def classifier(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("classifier")
    rows = write_rows(home / "rows", WORDS)
    train_classifier(rows, home / "out", home, settings(bert_folder, 2), home, Silent())
    return home / "out"


def engine_of(folder: Path) -> Any:
    served = ServedEncoder(folder)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.stack([served(text) for text in texts]).astype(np.float64)
        return (softmax(rows) if served.manifest.labels else rows).astype(np.float32)

    return encode


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_exported_classifier_is_the_one_that_was_trained(classifier: Path, tmp_path: Path, precision: str) -> None:
    export_encoder(classifier, tmp_path / precision, precision, PROBES)
    verdict = compare_encoder(classifier, tmp_path / precision, PROBES, engine_of(tmp_path / precision))
    assert verdict.difference is None
    assert require_parity("m", [verdict])[0]["precision"] == precision
    assert verdict.figures["mean_cosine"] > 0.9
    if precision == "fp32":
        assert verdict.figures["same_labels"] == verdict.figures["same_engine"] == 1
        assert verdict.figures["logit_difference"] < 1e-4


def test_an_embedder_is_compared_by_its_vectors(bert_folder: Path, tmp_path: Path) -> None:
    export_encoder(bert_folder, tmp_path / "fp32")
    assert compare_encoder(bert_folder, tmp_path / "fp32", PROBES[:1], engine_of(tmp_path / "fp32")).difference is None


def test_other_weights_are_found_and_named(classifier: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = shutil.copytree(classifier, tmp_path / "other")
    head = load_file(other / "head.safetensors")
    save_file({**head, "bias": head["bias"] + 0.5}, other / "head.safetensors")
    export_encoder(other, tmp_path / "fp32")
    verdict = compare_encoder(classifier, tmp_path / "fp32", PROBES, engine_of(tmp_path / "fp32"))
    assert verdict.difference is not None
    assert "differ by" in verdict.difference
    with pytest.raises(ModelError, match="'intents' is not registered: the served fp32 model differs"):
        require_parity("intents", [verdict])


def test_an_engine_that_says_another_label_is_found(classifier: Path, tmp_path: Path) -> None:
    export_encoder(classifier, tmp_path / "fp32")
    turned = engine_of(tmp_path / "fp32")
    verdict = compare_encoder(classifier, tmp_path / "fp32", PROBES, lambda texts: turned(texts)[:, ::-1])
    assert verdict.difference is not None
    assert "when served" in verdict.difference


def test_another_tokenizer_is_found_before_anything_is_computed(classifier: Path, tmp_path: Path) -> None:
    export_encoder(classifier, tmp_path / "fp32")
    path = tmp_path / "fp32" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["w"], vocabulary["z"] = vocabulary["z"], vocabulary["w"]
    path.write_text(json.dumps(tokenizer))
    verdict = compare_encoder(classifier, tmp_path / "fp32", PROBES, engine_of(tmp_path / "fp32"))
    assert str(verdict.difference).startswith("token ids of 'where is it 3': at 1 ")


def answer_of(folder: Path) -> Any:
    write = ServedWriter(folder)
    return lambda messages, max_tokens: write(messages, max_tokens)


def test_an_exported_chat_model_writes_what_torch_writes(causal_folder: Path, tmp_path: Path) -> None:
    export_chat(causal_folder, tmp_path / "fp32")
    verdict = compare_chat(causal_folder, tmp_path / "fp32", TALKS, answer_of(tmp_path / "fp32"))
    assert verdict.difference is None
    assert verdict.figures["same_greedy"] + verdict.figures["ties"] == len(TALKS)
    assert verdict.figures["same_engine"] == len(TALKS)
    assert verdict.figures["greedy_tokens"] > 0
    assert verdict.figures["logit_difference"] < 1e-3


def test_int8_is_reported_and_not_judged(causal_folder: Path, tmp_path: Path) -> None:
    export_chat(causal_folder, tmp_path / "int8", "int8")
    verdict = compare_chat(causal_folder, tmp_path / "int8", TALKS, answer_of(tmp_path / "int8"))
    assert verdict.difference is None
    assert 0 < verdict.figures["same_next_token"] <= verdict.figures["positions"]


def test_another_chat_template_is_found(causal_folder: Path, tmp_path: Path) -> None:
    export_chat(causal_folder, tmp_path / "fp32")
    trained = shutil.copytree(causal_folder, tmp_path / "trained")
    template = trained / "chat_template.jinja"
    template.write_text(template.read_text().replace("'<|im_start|>assistant\\n'", "'<|im_start|>assistant: '"))
    verdict = compare_chat(trained, tmp_path / "fp32", TALKS, answer_of(tmp_path / "fp32"))
    assert str(verdict.difference).startswith("the chat template renders at ")


def test_other_words_of_the_engine_are_found(causal_folder: Path, tmp_path: Path) -> None:
    export_chat(causal_folder, tmp_path / "fp32")
    verdict = compare_chat(causal_folder, tmp_path / "fp32", TALKS, lambda *_: "something else")
    assert str(verdict.difference).startswith("the engine's answer: at 0 ")
