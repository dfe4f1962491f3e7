"""ONNX Runtime encoders, for NVIDIA's graphics processors and for graphs that come from elsewhere.

Providers are tried in the order TensorRT, CUDA, CPU. On a processor OpenVINO is faster; chat models are not for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tulou.core.errors import ModelError
from tulou.core.onnx import GRAPH, open_session
from tulou.core.types import ModelManifest
from tulou.service.engine.encoder import GraphEncoder, read_tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def open_onnx(folder: Path, manifest: ModelManifest, threads: int) -> GraphEncoder:
    import numpy as np

    if manifest.task == "chat":
        raise ModelError(f"{folder}: engine 'onnx' serves encoders, not chat models; export it to OpenVINO")
    tokenizer = read_tokenizer(folder)
    session = open_session(folder / GRAPH, threads)

    wanted = {port.name for port in session.get_inputs()}

    def compute(given: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        asked = {name: values for name, values in given.items() if name in wanted}
        return np.asarray(session.run(None, asked)[0], dtype=np.float32)

    return GraphEncoder(manifest, tokenizer, compute)
