"""Export an encoder to OpenVINO: pooling and head inside the graph, weights FP32, BF16 or INT8.

INT8 is post-training quantisation by NNCF with its transformer preset, calibrated on real texts: weights, embeddings
and activations become 8 bits, a quarter of the size and, where the processor has VNNI, about four times the speed.
BF16 is half of the size and needs no calibration; without bf16 arithmetic in the processor it is not faster.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tulou.core.errors import ExportError, ModelError
from tulou.core.extras import load_openvino
from tulou.core.manifest import write_manifest
from tulou.core.types import ModelManifest, Task
from tulou.model.libraries import cause_of, load_nncf, load_torch, quiet
from tulou.model.vocabulary import open_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Properties that the graph is served with. Left alone, OpenVINO computes in bf16 where the processor can: INT8 does so
# between its integer layers, while FP32 shall mean what it says.
SERVING: dict[str, dict[str, str]] = {
    "fp32": {"INFERENCE_PRECISION_HINT": "f32"},
    "bf16": {"INFERENCE_PRECISION_HINT": "bf16"},
    "int8": {},
}

CALIBRATION_TEXTS = 300  # NNCF's own default; 300 were enough for 77 intents within 0.1 points
RERANKER_TOKENS = 512  # of query and text together, as BGE's and MS MARCO's rerankers were trained
MAX_TOKENS = 256  # what the sentence encoders we start from were trained with


def export_encoder(
    folder: Path,
    out: Path,
    precision: str = "fp32",
    calibration: Sequence[str] = (),
    *,
    name: str = "encoder",
    fingerprint: str = "",
    base: str = "",
) -> ModelManifest:
    """Write `openvino_model.xml/.bin`, `tokenizer.json` and `model.json` of the encoder in `folder` to `out`.

    The graph maps `input_ids` and `attention_mask`, (B, T) int64, to logits (B, labels) if the folder has a classifier
    head, else to L2-normalised vectors (B, dimensions). INT8 needs `calibration` texts like those in service. Raises
    `ModelError` if the folder holds no encoder, `ExportError` if its architecture has no graph: here there is no other
    engine to turn to, because transformers knows neither our heads nor our pooling.
    """
    torch = load_torch()
    from tulou.model.encoder import load_encoder

    manifest = encoder_manifest(folder, "openvino", precision, name=name, fingerprint=fingerprint, base=base)
    tokenizer = open_tokenizer(folder)
    graph = _trace(load_encoder(folder), torch)
    if precision == "int8":
        graph = _quantise(graph, tokenizer, calibration, manifest.max_tokens)
    out.mkdir(parents=True, exist_ok=True)
    load_openvino().save_model(graph, out / "openvino_model.xml", compress_to_fp16=precision == "bf16")
    tokenizer.save(str(out / "tokenizer.json"))
    write_manifest(out, manifest)
    return manifest


def export_reranker(
    folder: Path, out: Path, *, name: str = "reranker", fingerprint: str = "", base: str = ""
) -> ModelManifest:
    """Write the cross-encoder in `folder` to `out` in FP32; the graph gives one logit, (B, 1), see `Reranker`.

    Raises `ModelError` if the folder holds none.
    """
    torch = load_torch()
    from tulou.model.encoder import longest_input
    from tulou.model.reranker import load_reranker

    reranker, tokenizer = load_reranker(folder), open_tokenizer(folder)
    graph = _trace(reranker, torch, reranker.inputs)
    out.mkdir(parents=True, exist_ok=True)
    load_openvino().save_model(graph, out / "openvino_model.xml", compress_to_fp16=False)
    tokenizer.save(str(out / "tokenizer.json"))
    manifest = ModelManifest(
        name=name,
        task="rerank",
        engine="openvino",
        precision="fp32",
        fingerprint=fingerprint,
        base=base,
        max_tokens=min(RERANKER_TOKENS, longest_input(reranker.model.config)),
        details={"openvino": SERVING["fp32"]},
    )
    write_manifest(out, manifest)
    return manifest


def encoder_manifest(
    folder: Path, engine: str, precision: str, *, name: str, fingerprint: str, base: str
) -> ModelManifest:
    """The page of facts of an encoder exported for `engine`, read from the folder that it is exported from."""
    from tulou.model.encoder import HEAD

    config = _config(folder)
    is_classifier = (folder / HEAD).is_file()
    task: Task = "classify" if is_classifier else "embed"
    longest = _longest_input(folder, is_classifier)
    return ModelManifest(
        name=name,
        task=task,
        engine=engine,
        precision=precision,
        fingerprint=fingerprint,
        base=base,
        labels=tuple(read_labels(folder)) if is_classifier else (),
        dimensions=0 if is_classifier else int(config["hidden_size"]),
        max_tokens=min(longest, int(config.get("max_position_embeddings", MAX_TOKENS))),
        details={"openvino": SERVING[precision]} if engine == "openvino" else {},
    )


def read_labels(folder: Path) -> list[str]:
    """Labels of the classifier in `folder`, in the order of its logits."""
    labels: dict[str, str] = _config(folder)["id2label"]
    return [labels[key] for key in sorted(labels, key=int)]


def _longest_input(folder: Path, is_classifier: bool) -> int:
    """A classifier reads what it was trained to read, which its tokenizer remembers as truncation."""
    if not is_classifier:
        return MAX_TOKENS
    truncation = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")).get("truncation")
    return int(truncation["max_length"]) if truncation else MAX_TOKENS


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ModelError(f"{folder} is no Hugging Face model: config.json: {err}") from err
    return config


def _trace(encoder: Any, torch: ModuleType, inputs: Sequence[str] = ("input_ids", "attention_mask")) -> Any:
    """The OpenVINO graph of the encoder, with batch and length dynamic."""
    openvino = load_openvino()
    example = {name: torch.ones((2, 5), dtype=torch.int64) for name in inputs}  # (B, T)
    try:
        with quiet(), torch.no_grad():
            graph = openvino.convert_model(encoder, example_input=example)
    except Exception as err:  # the tracer and the converter raise whatever the model's code raises
        architecture = type(next(encoder.children())).__name__
        raise ExportError(
            f"{architecture} cannot be exported to OpenVINO: {cause_of(err)}; choose a base of another architecture"
        ) from err
    for tensor in graph.inputs:
        tensor.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
    graph.validate_nodes_and_infer_types()
    graph.outputs[0].get_tensor().set_names({"output"})
    return graph


def _quantise(graph: Any, tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> Any:
    if not texts:
        raise ModelError("INT8 needs calibration texts, and there are none; give some that look like those in service")
    import numpy as np

    nncf = load_nncf()
    tokenizer.enable_truncation(max_tokens)
    encodings = tokenizer.encode_batch(list(texts[:CALIBRATION_TEXTS]))
    tokenizer.no_truncation()
    batches = [
        {"input_ids": np.array([e.ids], np.int64), "attention_mask": np.array([e.attention_mask], np.int64)}  # (1, T)
        for e in encodings
    ]
    with quiet():
        return nncf.quantize(
            graph, nncf.Dataset(batches), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(batches)
        )
