"""A chat folder's graph read step by step, so that all the logits of each step are in our hands.

Compiled at its first use: from then on the model is in memory a second time. A prompt is read in pieces, because the
graph tells the logits of every position it is shown: 128 of them are 78 MB with a vocabulary of 150,000.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.errors import ModelError
from tulou.core.extras import load_openvino
from tulou.core.types import ModelManifest
from tulou.service.engine.openvino_runtime import serving_properties

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tulou.service.engine.writing import Read

READ_TOKENS = 128


class Steps:
    """One text at a time: to begin another forgets the one before."""

    def __init__(self, folder: Path, manifest: ModelManifest, threads: int) -> None:
        self._folder = folder
        self._properties = serving_properties(manifest, threads)
        self._request: Any = None
        self._inputs: set[str] = set()

    def begin(self) -> Read:
        if self._request is None:
            self._compile()
        self._request.reset_state()
        seen = 0

        def read(ids: list[int]) -> NDArray[np.float32]:
            nonlocal seen
            for start in range(0, len(ids), READ_TOKENS):
                piece = ids[start : start + READ_TOKENS]
                self._infer(piece, seen)
                seen += len(piece)
            logits: NDArray[np.float32] = self._request.get_tensor("logits").data[0, -1].astype("float32")  # (V,)
            return logits

        return read

    def _infer(self, ids: list[int], seen: int) -> None:
        import numpy as np

        given = {
            "input_ids": np.array([ids], np.int64),  # (1, T)
            "attention_mask": np.ones((1, seen + len(ids)), np.int64),
            "position_ids": np.arange(seen, seen + len(ids), dtype=np.int64)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        self._request.infer({name: value for name, value in given.items() if name in self._inputs})

    def _compile(self) -> None:
        path = self._folder / "openvino_model.xml"
        try:
            compiled = load_openvino().compile_model(path, "CPU", self._properties)
        except Exception as err:  # RuntimeError or bare Exception, for whatever is wrong
            raise ModelError(f"the model in {self._folder} cannot be loaded by OpenVINO: {err}") from err
        self._inputs = {port.any_name for port in compiled.inputs}
        self._request = compiled.create_infer_request()
