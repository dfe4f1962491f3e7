"""A chat model that has no OpenVINO graph, as the folder that the service's torch engine loads.

It holds what transformers saves, in FP32 so that it is what was trained, and says in `model.json` why it is no graph.
Nothing is gained in size or speed, and requests queue for the one thread that writes.
"""

from __future__ import annotations

from pathlib import Path

from tulou.core.manifest import read_manifest, write_manifest
from tulou.core.types import ModelManifest
from tulou.model.causal import context_length, load_causal, load_chat_tokenizer
from tulou.model.compress.chat import write_generation_config
from tulou.model.libraries import quiet


def keep_chat(
    folder: Path, out: Path, why: str, *, name: str = "assistant", fingerprint: str = "", base: str = ""
) -> ModelManifest:
    """Write the causal language model in `folder` to `out` with `model.json`; `why`: what kept it from being a graph.

    Raises `ModelError` if the folder holds no such model or has no chat template.
    """
    tokenizer, model = load_chat_tokenizer(folder), load_causal(folder)
    out.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    write_generation_config(model, tokenizer, out)
    manifest = ModelManifest(
        name=name,
        task="chat",
        engine="torch",
        precision="fp32",
        fingerprint=fingerprint,
        base=base,
        max_tokens=context_length(model),
        details={"why_torch": why, "parameters": model.num_parameters()},
    )
    write_manifest(out, manifest)
    return manifest


def why_torch(folder: Path) -> str:
    """What kept the model in `folder` from being a graph; empty where it is one."""
    return str(read_manifest(folder).details.get("why_torch", ""))
