"""ONNX Runtime, as both who measures and who serves opens it: on the best device that the installed runtime knows.

TensorRT, else CUDA, else the processor: the runtime gives each operation to the first provider that takes it, and the
processor takes all, so it has to come last. TensorRT builds an engine at the first text of a new shape, which takes
long; `deploy/tensorrt/build.sh` builds one ahead of time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tulou.core.errors import ModelError
from tulou.core.extras import load_extra

GRAPH = "model.onnx"
PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")  # the best first


def open_session(path: Path, threads: int, providers: tuple[str, ...] = PROVIDERS) -> Any:
    """ONNX Runtime on those of `providers` that this installation has, in that order."""
    runtime = load_extra("onnxruntime", "onnx", "running ONNX models")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; a graph that falls back to another provider is no news to a user
    present = [name for name in providers if name in runtime.get_available_providers()]
    try:
        return runtime.InferenceSession(str(path), options, providers=present)
    except Exception as err:  # the runtime raises classes of its own that it does not export
        raise ModelError(f"{path} cannot be loaded by ONNX Runtime: {err}") from err
