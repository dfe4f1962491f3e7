from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.model.rerankers import write_reranker

from tulou.core.errors import ModelError
from tulou.core.manifest import read_manifest
from tulou.model.compress import export_reranker
from tulou.model.parity import compare_reranker
from tulou.model.reranker import load_reranker
from tulou.service.engine import open_encoder

PAIRS = [("may i return it", "thirty days after delivery"), ("delivery", "two days"), ("a", "b" * 90)]


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_an_exported_reranker_is_the_one_given(bert_folder: Path, tmp_path: Path, kind: str) -> None:
    source = write_reranker(bert_folder, tmp_path / "source", kind)
    manifest = export_reranker(source, tmp_path / "fp32", name="judge", base="tiny", fingerprint="f00")
    assert read_manifest(tmp_path / "fp32") == manifest
    assert (manifest.task, manifest.name, manifest.labels, manifest.dimensions) == ("rerank", "judge", (), 0)
    assert manifest.max_tokens == (64 if kind == "bert" else 62), "no longer than the positions the model has"
    engine = open_encoder(tmp_path / "fp32")
    verdict = compare_reranker(source, tmp_path / "fp32", PAIRS, engine.encode)
    assert verdict.difference is None
    assert verdict.figures["logit_difference"] < 1e-4
    assert verdict.figures["same_engine"] == 1
    turned = compare_reranker(source, tmp_path / "fp32", PAIRS, lambda pairs: np.zeros((len(pairs), 1), np.float32))
    assert "the engine's score of" in str(turned.difference)
    engine.close()


def test_other_weights_are_found_and_named(bert_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    source = write_reranker(bert_folder, tmp_path / "source")
    export_reranker(source, tmp_path / "fp32")
    other = shutil.copytree(source, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({**weights, "classifier.bias": weights["classifier.bias"] + 0.5}, other / "model.safetensors")
    engine = open_encoder(tmp_path / "fp32")
    assert "differ by" in str(compare_reranker(other, tmp_path / "fp32", PAIRS, engine.encode).difference)
    engine.close()


def test_what_is_no_reranker_is_refused(bert_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no reranker: its weights lack classifier\.bias"):
        load_reranker(bert_folder)
    with pytest.raises(ModelError, match="tells 3 labels apart; a reranker gives a query and a text one score"):
        load_reranker(write_reranker(bert_folder, tmp_path / "three", num_labels=3))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_reranker(tmp_path)
