from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tulou.core.errors import ExportError, ModelError
from tulou.core.extras import load_openvino
from tulou.core.manifest import read_manifest
from tulou.model.compress.encoder import export_encoder
from tulou.model.encoder import load_encoder
from tulou.model.vocabulary import open_tokenizer


def run_graph(folder: Path, ids: list[list[int]]) -> Any:
    """Outputs for rows of ids, padded with 0 to the longest."""
    openvino = load_openvino()
    compiled = openvino.Core().compile_model(
        folder / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    )
    longest = max(map(len, ids))
    padded = np.array([row + [0] * (longest - len(row)) for row in ids], np.int64)
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in ids], np.int64)
    return compiled({"input_ids": padded, "attention_mask": mask})[0]


def test_exported_vectors_equal_those_of_torch_alone_and_in_a_padded_batch(
    bert_folder: Path, texts: list[str], tmp_path: Path
) -> None:
    import torch

    manifest = export_encoder(bert_folder, tmp_path, base="tiny", fingerprint="f00")
    assert (manifest.task, manifest.precision, manifest.dimensions) == ("embed", "fp32", 32)
    assert read_manifest(tmp_path) == manifest
    assert manifest.max_tokens == 64, "no longer than the positions the model has"

    tokenizer = open_tokenizer(tmp_path)
    ids = [tokenizer.encode(text).ids for text in [*texts[:2], "a"]]
    encoder = load_encoder(bert_folder)
    with torch.no_grad():
        expected = [encoder(torch.tensor([row]), torch.ones(1, len(row), dtype=torch.int64))[0].numpy() for row in ids]
    np.testing.assert_allclose(run_graph(tmp_path, ids), expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(run_graph(tmp_path, ids), axis=1), 1, atol=1e-5)


def test_int8_vectors_stay_close_and_are_smaller(bert_folder: Path, texts: list[str], tmp_path: Path) -> None:
    export_encoder(bert_folder, tmp_path / "fp32")
    export_encoder(bert_folder, tmp_path / "int8", "int8", texts * 4)
    ids = [open_tokenizer(bert_folder).encode(text).ids for text in texts[:2]]
    cosine = (run_graph(tmp_path / "fp32", ids) * run_graph(tmp_path / "int8", ids)).sum(axis=1)
    assert cosine.min() > 0.98
    sizes = [(tmp_path / name / "openvino_model.bin").stat().st_size for name in ("int8", "fp32")]
    assert sizes[0] < 0.5 * sizes[1]


def test_int8_without_calibration_texts_is_refused(bert_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="INT8 needs calibration texts"):
        export_encoder(bert_folder, tmp_path, "int8")


def test_an_architecture_that_has_no_graph_is_one_sentence(bert_folder: Path, tmp_path: Path) -> None:
    import transformers

    config = transformers.NystromformerConfig(
        vocab_size=65, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        segment_means_seq_len=64, num_landmarks=4, max_position_embeddings=64,
    )  # fmt: skip
    shutil.copytree(bert_folder, tmp_path, dirs_exist_ok=True)
    transformers.NystromformerModel(config).save_pretrained(tmp_path)
    with pytest.raises(ExportError, match=r"^NystromformerModel cannot be exported to OpenVINO: [^\n]+; choose a base"):
        export_encoder(tmp_path, tmp_path / "out")


def test_no_telemetry_library_is_ever_loaded(bert_folder: Path, tmp_path: Path) -> None:
    export_encoder(bert_folder, tmp_path)
    assert sys.modules["openvino_telemetry"] is None
