"""A chat folder for the torch engine, one text at a time, in the shape of `served.py`.

It writes with transformers' own `generate`, which knows the state that each architecture keeps, so the service's loop
is compared with another than itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tulou.core.manifest import read_manifest
from tulou.model.causal import load_causal, load_chat_tokenizer
from tulou.model.libraries import load_torch, quiet


class TorchScorer:
    """Gives the logits of every position of a text it is shown; `threads` 0 leaves their number to torch."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        self.max_tokens = read_manifest(folder).max_tokens
        self._model = load_causal(folder)
        self._threads = threads

    def __call__(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits (T, V) for `ids` (T,)."""
        torch = load_torch()
        with _computing(self._threads):
            logits: NDArray[np.float32] = self._model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
            return np.asarray(logits, np.float32)


class TorchWriter:
    """Writes greedily."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        self._tokenizer = load_chat_tokenizer(folder)
        self._model = load_causal(folder)
        self._threads = threads

    def __call__(self, messages: Sequence[dict[str, str]], max_tokens: int, is_exact: bool = False) -> str:
        """The answer to `messages`; `is_exact` writes on past its end until `max_tokens`, for timing."""
        written = self._write(self.encode(self.render(messages)), max_tokens, is_exact)
        return str(self._tokenizer.decode(written, skip_special_tokens=True))

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """The prompt that the folder's chat template makes of `messages`."""
        return str(self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))

    def encode(self, prompt: str) -> list[int]:
        ids: list[int] = self._tokenizer(prompt, add_special_tokens=False)["input_ids"]
        return ids

    def tokens(self, ids: Sequence[int], max_tokens: int) -> list[int]:
        """What is written behind `ids`, as tokens."""
        return self._write(ids, max_tokens, is_exact=False)

    def _write(self, ids: Sequence[int], max_tokens: int, is_exact: bool) -> list[int]:
        torch = load_torch()
        given = torch.tensor([list(ids)])  # (1, T)
        shortest = {"min_new_tokens": max_tokens} if is_exact else {}
        with _computing(self._threads):
            whole = self._model.generate(
                given, attention_mask=torch.ones_like(given), max_new_tokens=max_tokens, do_sample=False, **shortest
            )
        written: list[int] = whole[0, len(ids) :].tolist()
        return written


@contextmanager
def _computing(threads: int) -> Iterator[None]:
    """Without gradients, on so many threads, whose number torch knows for the whole process only."""
    torch = load_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with quiet(), torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
