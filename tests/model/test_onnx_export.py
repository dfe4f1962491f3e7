"""ONNX graphs answer as torch does, pruned ones too, and run where the installed runtime can."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tulou.core.errors import ModelError
from tulou.core.manifest import read_manifest
from tulou.core.onnx import PROVIDERS
from tulou.model.compress.encoder import export_encoder
from tulou.model.served import ServedEncoder

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
runtime = pytest.importorskip("onnxruntime")

from tulou.model.compress.onnx import export_onnx  # noqa: E402
from tulou.model.served_onnx import ServedOnnxEncoder  # noqa: E402

BUILD = Path(__file__).parents[2] / "deploy" / "tensorrt" / "build.sh"


@pytest.fixture(scope="module")
def onnx_folder(classifier_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "intents"
    export_onnx(classifier_folder, out, name="intents", base="tiny", fingerprint="f00")
    return out


def test_a_classifier_answers_as_it_does_in_openvino(
    classifier_folder: Path, onnx_folder: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(onnx_folder)
    assert (manifest.task, manifest.engine, manifest.precision) == ("classify", "onnx", "fp32")
    export_encoder(classifier_folder, tmp_path)
    openvino, onnx = ServedEncoder(tmp_path, threads=1), ServedOnnxEncoder(onnx_folder, threads=1)
    for text in ("where is my parcel?", "refund", "hello, i need a tax receipt for my order. " * 4):
        np.testing.assert_allclose(onnx(text), openvino(text), atol=1e-4)
        assert onnx.label(text) == openvino.label(text)
    assert (onnx_folder / "model.onnx").stat().st_size > 10_000
    assert not (onnx_folder / "model.onnx.data").exists(), "one file, easy to carry"


def test_an_embedder_and_a_pruned_model_survive_it_too(bert_folder: Path, tmp_path: Path) -> None:
    import torch

    from tulou.model.encoder import load_body
    from tulou.model.narrowed import blocks_of, note_widths

    body = load_body(bert_folder)
    blocks_of(body)[0].keep_heads([1])
    blocks_of(body)[1].keep_neurons(range(32))
    note_widths(body)
    body.save_pretrained(tmp_path / "pruned")
    shutil.copyfile(bert_folder / "tokenizer.json", tmp_path / "pruned" / "tokenizer.json")
    assert export_onnx(tmp_path / "pruned", tmp_path / "onnx").dimensions == 32
    vector = ServedOnnxEncoder(tmp_path / "onnx", threads=1)("track my parcel")
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert torch.isfinite(torch.tensor(vector)).all()


def test_a_graph_that_answers_otherwise_is_refused(
    classifier_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tulou.model.compress.onnx.MAX_DIFFERENCE", 0.0)
    with pytest.raises(ModelError, match="does not survive the export to ONNX"):
        export_onnx(classifier_folder, tmp_path)
    assert not (tmp_path / "model.json").exists(), "without its manifest nothing serves it"


def test_the_best_provider_that_is_there_is_used(onnx_folder: Path) -> None:
    served = ServedOnnxEncoder(onnx_folder)
    present = [name for name in PROVIDERS if name in runtime.get_available_providers()]
    assert served.providers[0] == present[0]
    assert PROVIDERS == ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


def test_folders_of_other_engines_and_torn_files_are_refused(
    classifier_folder: Path, onnx_folder: Path, tmp_path: Path
) -> None:
    export_encoder(classifier_folder, tmp_path / "openvino")
    with pytest.raises(ModelError, match="engine 'openvino', not for ONNX Runtime"):
        ServedOnnxEncoder(tmp_path / "openvino")
    shutil.copytree(onnx_folder, tmp_path / "torn")
    (tmp_path / "torn" / "model.onnx").write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot be loaded by ONNX Runtime"):
        ServedOnnxEncoder(tmp_path / "torn")


def build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BUILD), str(folder)], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_the_tensorrt_script_takes_its_shapes_from_the_manifest(onnx_folder: Path) -> None:
    said = build(onnx_folder, DRY_RUN="1", MAX_BATCH="16").stdout.split("\n")
    assert f"--onnx={onnx_folder}/model.onnx" in said
    assert "--fp16" in said
    assert "--minShapes=input_ids:1x1,attention_mask:1x1" in said
    assert "--optShapes=input_ids:8x64,attention_mask:8x64" in said
    longest = read_manifest(onnx_folder).max_tokens
    assert f"--maxShapes=input_ids:16x{longest},attention_mask:16x{longest}" in said


def test_the_tensorrt_script_says_what_is_missing(onnx_folder: Path, tmp_path: Path) -> None:
    for done, sentence in (
        (build(tmp_path), "has no model.onnx; write it with: tulou models export"),
        (build(onnx_folder, PRECISION="int3"), "PRECISION is 'int3'; choose fp16, bf16 or fp32"),
        (build(onnx_folder, TRTEXEC="no-such-builder"), "no-such-builder is not installed"),
    ):
        assert done.returncode == 1
        assert sentence in done.stderr


@pytest.mark.gpu
def test_an_engine_is_built_and_the_gpu_answers_as_the_processor_does(onnx_folder: Path) -> None:
    if shutil.which(os.environ.get("TRTEXEC", "trtexec")):
        done = build(onnx_folder, PRECISION="fp32")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert (onnx_folder / "model.plan").stat().st_size > 10_000
    on_gpu = ServedOnnxEncoder(onnx_folder)
    assert on_gpu.providers[0] in ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    on_cpu = ServedOnnxEncoder(onnx_folder, providers=("CPUExecutionProvider",))
    np.testing.assert_allclose(on_gpu("where is my parcel?"), on_cpu("where is my parcel?"), atol=1e-2)
