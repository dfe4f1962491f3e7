"""Encoders that are a graph: Hugging Face's tokenizer before it, batches of texts of like length through it.

Padding is the enemy: texts are sorted by length and cut into batches, so that a short question does not wait for a long
document. Which runtime computes the graph is handed in as a callable; it never computes two batches at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tulou.core.errors import ModelError
from tulou.core.types import ModelManifest
from tulou.service.engine.base import Input, is_pair, known_ids, width_of
from tulou.service.engine.coverage import Coverage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    Compute = Callable[[dict[str, NDArray[np.int64]]], NDArray[np.float32]]
    """`INPUTS`, (B, T) each, to logits (B, labels or 1) or unit vectors (B, dimensions), not written to again."""

INPUTS = ("input_ids", "attention_mask", "token_type_ids")  # the last only where the graph asks for it
BATCH_TEXTS = 16  # on a few cores, larger batches gain nothing and pad more


class _Read(NamedTuple):
    """One text, or a pair of them, as tokens; `type_ids` say which of the pair each is of."""

    ids: list[int]
    type_ids: list[int]


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

    def encode(self, texts: Sequence[Input]) -> NDArray[np.float32]:
        import numpy as np

        rows = np.zeros((len(texts), width_of(self.manifest)), dtype=np.float32)
        read = self._read(texts)
        order = sorted(range(len(texts)), key=lambda i: len(read[i].ids))
        for start in range(0, len(order), BATCH_TEXTS):
            chosen = order[start : start + BATCH_TEXTS]
            rows[chosen] = self._infer([read[i] for i in chosen])
        told = _TOLD.get(self.manifest.task)
        return told(rows) if told else rows

    def count_tokens(self, texts: Sequence[Input]) -> list[int]:
        return [len(each.ids) for each in self._read(texts)]

    def coverage(self, texts: Sequence[str]) -> list[float]:
        return [self._coverage(text) for text in texts]

    def close(self) -> None:
        with self._lock:
            self._compute = None

    def _read(self, texts: Sequence[Input]) -> list[_Read]:
        """The tokens of each text; those that came as ids stay as they are, cut to what the model reads."""
        encodings = self._tokenizer.encode_batch([text for text in texts if isinstance(text, str) or is_pair(text)])
        spoken = (_Read(each.ids, each.type_ids) for each in encodings)
        return [next(spoken) if isinstance(text, str) or is_pair(text) else self._given(text) for text in texts]

    def _given(self, ids: Sequence[Any]) -> _Read:
        known = known_ids(ids[: self.manifest.max_tokens], self._vocabulary, "input")
        return _Read(known, [0] * len(known))

    def _infer(self, read: list[_Read]) -> NDArray[np.float32]:
        import numpy as np

        longest = max(1, *(len(each.ids) for each in read))  # never nothing at all
        given = {name: np.zeros((len(read), longest), dtype=np.int64) for name in INPUTS}  # (B, T)
        for row, each in enumerate(read):
            size = max(len(each.ids), 1)
            given["input_ids"][row, : len(each.ids)] = each.ids  # what the mask hides may hold any id
            given["attention_mask"][row, :size] = 1
            given["token_type_ids"][row, : len(each.type_ids)] = each.type_ids
        with self._lock:
            if self._compute is None:
                raise ModelError(f"model {self.manifest.name!r} has been closed")
            return self._compute(given)


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


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    scores: NDArray[np.float32] = (1 / (1 + np.exp(-logits.clip(-80, 80)))).astype(np.float32)
    return scores


_TOLD = {"classify": _softmax, "rerank": _sigmoid}  # by task: what is said of the logits; vectors are said as they are
