"""What encoders and chat models on OpenVINO share: how a graph is compiled, and how threads may touch its tensors."""

from __future__ import annotations

from typing import Any

from tulou.core.types import ModelManifest

# How the graph computes where its manifest does not say. Left alone, OpenVINO uses bf16 on processors that have it.
_PRECISION_HINTS = {"fp32": {"INFERENCE_PRECISION_HINT": "f32"}, "bf16": {"INFERENCE_PRECISION_HINT": "bf16"}}


def serving_properties(manifest: ModelManifest, threads: int) -> dict[str, Any]:
    """Properties to compile the graph with: those of the manifest, else those its precision asks for."""
    chosen = manifest.details.get("openvino", _PRECISION_HINTS.get(manifest.precision, {}))
    return {**chosen, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}


def prepare_threads(openvino: Any) -> None:
    """Make OpenVINO's bridge to NumPy ready before threads use it.

    It readies itself at the first use of a tensor's data, and hangs for good when two threads make that use at once:
    one holds Python's lock and waits for the bridge, the other holds the bridge and waits for Python's lock.
    """
    import numpy as np

    _ = openvino.Tensor(np.zeros((1, 1), dtype=np.int64)).data
