"""Encoders that are a graph: Hugging Face's tokenizer before it, batches of texts of like length through it.

Padding is the enemy: texts are sorted by length and cut into batches, so that a short question does not wait for a long
document. Which runtime computes the graph is handed in as a callable; it never computes two batches at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tulou.core.errors import ModelError
from tulou.core.types import ModelManifest
from tulou.service.engine.base import Text, known_ids
from tulou.service.engine.coverage import Coverage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    Compute = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
    """Token ids and mask, (B, T) each, to logits (B, labels) or unit vectors (B, dimensions), not written to again."""

BATCH_TEXTS = 16  # on a few cores, larger batches gain nothing and pad more


class GraphEncoder:
    def __init__(self, manifest: ModelManifest, tokenizer: Tokenizer, compute: Compute) -> None:
        self.manifest = manifest
        self._tokenizer = tokenizer
        self._compute: Compute | None = compute
        self._lock = threading.Lock()  # one batch computes at a time, on all the threads there are
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(manifest.max_tokens)
        self._vocabulary = tokenizer.get_vocab_size()
        self._coverage = Coverage(self._tokenizer)

    def encode(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        import numpy as np

        is_classifier = self.manifest.task == "classify"
        width = len(self.manifest.labels) if is_classifier else self.manifest.dimensions
        rows = np.zeros((len(texts), width), dtype=np.float32)
        encoded = [ids or [0] for ids in self._ids(texts)]  # never nothing at all
        order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
        for start in range(0, len(order), BATCH_TEXTS):
            chosen = order[start : start + BATCH_TEXTS]
            rows[chosen] = self._infer([encoded[i] for i in chosen])
        return _softmax(rows) if is_classifier else rows

    def count_tokens(self, texts: Sequence[Text]) -> list[int]:
        return [len(ids) for ids in self._ids(texts)]

    def coverage(self, texts: Sequence[str]) -> list[float]:
        return [self._coverage(text) for text in texts]

    def close(self) -> None:
        with self._lock:
            self._compute = None

    def _ids(self, texts: Sequence[Text]) -> list[list[int]]:
        """Token ids of each text; those that came as ids stay as they are, cut to what the model reads."""
        spoken = iter(self._tokenizer.encode_batch([text for text in texts if isinstance(text, str)]))
        return [
            next(spoken).ids
            if isinstance(text, str)
            else known_ids(text[: self.manifest.max_tokens], self._vocabulary, "input")
            for text in texts
        ]

    def _infer(self, encoded: list[list[int]]) -> NDArray[np.float32]:
        import numpy as np

        longest = max(len(ids) for ids in encoded)
        ids = np.zeros((len(encoded), longest), dtype=np.int64)  # (B, T)
        mask = np.zeros_like(ids)  # (B, T); what it hides may hold any id
        for row, each in enumerate(encoded):
            ids[row, : len(each)] = each
            mask[row, : len(each)] = 1
        with self._lock:
            if self._compute is None:
                raise ModelError(f"model {self.manifest.name!r} has been closed")
            return self._compute(ids, mask)


def read_tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as err:  # the library raises bare Exception for whatever is wrong
        raise ModelError(f"{folder / 'tokenizer.json'} cannot be loaded by tokenizers: {err}") from err


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities
