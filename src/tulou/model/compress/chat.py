"""Export a chat model to the folder that OpenVINO GenAI serves: graph, tokenizer graph, chat template.

FP32 gives the tokens that transformers gives. INT8 stores every weight matrix in 8 bits per channel and computes in the
processor's own precision: a quarter of the size, faster for one stream, and other words now and then. INT4 stores
them in 4 bits by groups that share a scale (embeddings and the last layer in 8), an eighth of the size, and loses more.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tulou.core.errors import ModelError
from tulou.core.extras import load_extra, load_openvino
from tulou.core.manifest import write_manifest
from tulou.core.types import ModelManifest
from tulou.model.causal import context_length, load_causal, load_chat_tokenizer
from tulou.model.libraries import load_nncf, load_torch, quiet

# Properties that the graph is served with. Left alone, OpenVINO computes in bf16 where the processor can and keeps the
# cache in 8 bits: fine for INT8, but then FP32 would not be the baseline that it claims to be.
SERVING: dict[str, dict[str, str]] = {
    "fp32": {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"},
    "bf16": {"INFERENCE_PRECISION_HINT": "bf16"},
    "int8": {},
    "int4": {},
    "int4_sym": {},
}
WEIGHTS = {"int8": "INT8_ASYM", "int4": "INT4_ASYM", "int4_sym": "INT4_SYM"}  # NNCF's names of what weights become
GROUP_SIZE = 64  # weights that share a scale in INT4; NNCF's own 128 does not divide the widths of small models

_COPIED = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "config.json")


def export_chat(
    folder: Path,
    out: Path,
    precision: str = "fp32",
    *,
    group_size: int = GROUP_SIZE,
    name: str = "assistant",
    fingerprint: str = "",
    base: str = "",
) -> ModelManifest:
    """Write the causal language model in `folder` to `out` as an OpenVINO GenAI folder with `model.json`.

    Raises `ModelError` if the folder holds no such model or has no chat template, `ExportError` if its architecture
    does not survive the export unchanged.
    """
    load_torch()
    from tulou.model.compress.stateful import save_graph, trace_stateful

    tokenizer = load_chat_tokenizer(folder)
    model = load_causal(folder)
    graph = trace_stateful(model)
    if precision in WEIGHTS:
        graph = _compress_weights(graph, precision, group_size)
    out.mkdir(parents=True, exist_ok=True)
    save_graph(graph, out / "openvino_model.xml", is_half=precision == "bf16")
    _export_tokenizer(tokenizer, out)
    for file in _COPIED:
        if (folder / file).is_file():
            shutil.copyfile(folder / file, out / file)
    write_generation_config(model, tokenizer, out)
    manifest = ModelManifest(
        name=name,
        task="chat",
        engine="openvino",
        precision=precision,
        fingerprint=fingerprint,
        base=base,
        max_tokens=_reach(model),
        details={"openvino": SERVING[precision], "parameters": model.num_parameters()},
    )
    write_manifest(out, manifest)
    return manifest


def _compress_weights(graph: Any, precision: str, group_size: int) -> Any:
    nncf = load_nncf()
    mode = getattr(nncf.CompressWeightsMode, WEIGHTS[precision])
    options = {"group_size": group_size} if precision.startswith("int4") else {}
    try:
        with quiet():
            return nncf.compress_weights(graph, mode=mode, **options)
    except (nncf.ValidationError, nncf.InvalidGroupSizeError) as err:
        raise ModelError(f"{precision} with groups of {group_size} weights does not fit this model: {err}") from err


def _reach(model: Any) -> int:
    """Tokens of prompt and answer together; up to its window, a sliding attention is the causal one we export."""
    config, longest = model.config.get_text_config(), context_length(model)
    window = getattr(config, "sliding_window", None)
    if window is None or not getattr(config, "use_sliding_window", True):
        return longest
    return min(longest, int(window))


def _export_tokenizer(tokenizer: Any, out: Path) -> None:
    openvino = load_openvino()
    converter = load_extra("openvino_tokenizers", "train", "exporting a tokenizer")
    with quiet():
        encode, decode = converter.convert_tokenizer(tokenizer, with_detokenizer=True)
    openvino.save_model(encode, out / "openvino_tokenizer.xml")
    openvino.save_model(decode, out / "openvino_detokenizer.xml")


def write_generation_config(model: Any, tokenizer: Any, out: Path) -> None:
    """Where an answer ends. Sampling is asked for by each request, so nothing else of the base's taste is kept."""
    ends = model.generation_config.eos_token_id
    ends = {*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id} - {None}
    config = {
        "eos_token_id": sorted(ends),
        "pad_token_id": tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends, default=0),
        "bos_token_id": tokenizer.bos_token_id,
    }
    (out / "generation_config.json").write_text(
        json.dumps({key: value for key, value in config.items() if value is not None}, indent=1), encoding="utf-8"
    )
