"""Export an encoder to ONNX, for ONNX Runtime and TensorRT: FP32, batch and length free, checked against torch.

The graph takes and gives what the OpenVINO one does. Weights are the float ones, pruned or trimmed if the model is:
INT8 is left to the runtime that serves (TensorRT quantises for its own GPU), because ONNX Runtime's dynamic INT8 loses
much more than NNCF's (cosine 0.95 against 0.997 on BERT-base).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tulou.core.errors import ModelError
from tulou.core.extras import load_extra
from tulou.core.manifest import write_manifest
from tulou.core.onnx import GRAPH, open_session
from tulou.core.types import ModelManifest
from tulou.model.compress.encoder import encoder_manifest
from tulou.model.libraries import load_torch, quiet
from tulou.model.vocabulary import open_tokenizer

if TYPE_CHECKING:
    from tulou.model.encoder import Encoder

OPSET = 20  # the newest that ONNX Runtime 1.17 and TensorRT 10 both read whole
MAX_DIFFERENCE = 1e-3  # of the outputs' spread; FP32 on both sides differs by rounding only


def export_onnx(
    folder: Path, out: Path, *, name: str = "encoder", fingerprint: str = "", base: str = ""
) -> ModelManifest:
    """Write `model.onnx`, `tokenizer.json` and `model.json` of the encoder in `folder` to `out`.

    Raises `ModelError` if the folder holds no encoder, or the graph answers otherwise than torch.
    """
    load_torch()
    for module in ("onnx", "onnxscript"):
        load_extra(module, "onnx", "exporting to ONNX")
    from tulou.model.encoder import load_encoder

    manifest = encoder_manifest(folder, "onnx", "fp32", name=name, fingerprint=fingerprint, base=base)
    encoder = load_encoder(folder)
    out.mkdir(parents=True, exist_ok=True)
    _write_graph(encoder, out / GRAPH)
    open_tokenizer(folder).save(str(out / "tokenizer.json"))
    _check_same_answers(encoder, out / GRAPH)
    write_manifest(out, manifest)
    return manifest


def _write_graph(encoder: Encoder, path: Path) -> None:
    import torch

    example = torch.ones((2, 5), dtype=torch.int64)  # (B, T)
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    try:
        with quiet(), torch.no_grad():
            torch.onnx.export(
                encoder,
                (example, example.clone()),
                path,
                input_names=["input_ids", "attention_mask"],
                output_names=["output"],
                dynamic_shapes=(free, free),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as err:
        raise ModelError(f"{type(encoder.body).__name__} cannot be exported to ONNX: {err}") from err


def _check_same_answers(encoder: Encoder, path: Path) -> None:
    """Two padded batches of other sizes than the example, through both."""
    import numpy as np
    import torch

    session = open_session(path, threads=1, providers=("CPUExecutionProvider",))
    vocabulary = encoder.body.config.vocab_size
    for rows, length in ((1, 9), (3, 17)):
        ids = torch.randint(0, vocabulary, (rows, length), generator=torch.Generator().manual_seed(length))  # (B, T)
        mask = torch.ones_like(ids)
        mask[-1, length // 2 :] = 0
        with torch.no_grad():
            expected = encoder(ids, mask).numpy()
        got = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
        difference = float(np.abs(got - expected).max() / (expected.std() + 1e-9))
        if not difference < MAX_DIFFERENCE:
            raise ModelError(
                f"{type(encoder.body).__name__} does not survive the export to ONNX: its outputs change by "
                f"{difference:.2g} of their spread; export it to OpenVINO instead"
            )
