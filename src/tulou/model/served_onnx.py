"""An encoder in ONNX Runtime, one text at a time, in the shape of `served.py`.

It runs on the best device that the installed runtime knows, see `core/onnx.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tulou.core.errors import ModelError
from tulou.core.manifest import read_manifest
from tulou.core.onnx import GRAPH, PROVIDERS, open_session


class ServedOnnxEncoder:
    """An ONNX encoder folder; `threads` 0 leaves their number to the runtime."""

    def __init__(self, folder: Path, threads: int = 0, providers: tuple[str, ...] = PROVIDERS) -> None:
        from tokenizers import Tokenizer

        self.manifest = read_manifest(folder)
        if self.manifest.engine != "onnx":
            raise ModelError(f"{folder} holds a model for engine {self.manifest.engine!r}, not for ONNX Runtime")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(self.manifest.max_tokens)
        self._session = open_session(folder / GRAPH, threads, providers)

    @property
    def providers(self) -> list[str]:
        """Those that run the graph, the preferred one first."""
        return list(self._session.get_providers())

    def __call__(self, text: str) -> NDArray[np.float32]:
        """Logits (labels,) or a vector (dimensions,)."""
        encoding = self._tokenizer.encode(text)
        ids = np.array([encoding.ids], np.int64)  # (1, T)
        mask = np.array([encoding.attention_mask], np.int64)  # (1, T)
        output: NDArray[np.float32] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0][0]
        return output

    def label(self, text: str) -> str:
        return self.manifest.labels[int(self(text).argmax())]
