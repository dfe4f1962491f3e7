"""The models as they are served, inside this process and one text at a time: for evaluation and for timing.

The service has engines with batching and streaming; this is the least code that runs the same graphs with the same
properties, so that what is measured is what will be served.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tulou.core.errors import ModelError
from tulou.core.extras import load_openvino
from tulou.core.manifest import read_manifest
from tulou.model.served_torch import TorchScorer, TorchWriter


class ServedEncoder:
    """An encoder folder, compiled; `threads` 0 leaves their number to OpenVINO."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        from tokenizers import Tokenizer

        self.manifest = read_manifest(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(self.manifest.max_tokens)
        self._compiled = _compile(folder, self.manifest.details, threads)
        self._inputs = [port.any_name for port in self._compiled.inputs]

    def __call__(self, text: str, other: str | None = None) -> NDArray[np.float32]:
        """Logits (labels,) or a vector (dimensions,); of a query and an `other` text, a reranker's logit (1,)."""
        encoding = self._tokenizer.encode(text, other)
        known = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        given = {name: np.array([known[name]], np.int64) for name in self._inputs}  # (1, T)
        output: NDArray[np.float32] = self._compiled(given)[0][0]
        return output

    def label(self, text: str) -> str:
        return self.manifest.labels[int(self(text).argmax())]


class Scorer(Protocol):
    max_tokens: int

    def __call__(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits (T, V) for `ids` (T,)."""


class Writer(Protocol):
    def __call__(self, messages: Sequence[dict[str, str]], max_tokens: int, is_exact: bool = False) -> str: ...
    def render(self, messages: Sequence[dict[str, str]]) -> str: ...
    def encode(self, prompt: str) -> list[int]: ...
    def tokens(self, ids: Sequence[int], max_tokens: int) -> list[int]: ...


class ServedScorer:
    """A chat folder, compiled to give the logits of every position of a text it is shown."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        manifest = read_manifest(folder)
        self.max_tokens = manifest.max_tokens
        self._request = _compile(folder, manifest.details, threads).create_infer_request()

    def __call__(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits (T, V) for `ids` (T,)."""
        self._request.reset_state()
        self._request.infer(
            {
                "input_ids": np.array([ids], np.int64),  # (1, T)
                "attention_mask": np.ones((1, len(ids)), np.int64),
                "position_ids": np.arange(len(ids), dtype=np.int64)[None],
                "beam_idx": np.zeros(1, np.int32),
            }
        )
        logits: NDArray[np.float32] = self._request.get_tensor("logits").data[0]
        return logits


class ServedWriter:
    """A chat folder in OpenVINO GenAI, writing greedily."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        genai = load_openvino("openvino_genai")
        properties = _properties(read_manifest(folder).details, threads)
        self._pipeline = genai.LLMPipeline(folder, "CPU", **properties)
        self._config = self._pipeline.get_generation_config()
        self._config.do_sample = False

    def __call__(self, messages: Sequence[dict[str, str]], max_tokens: int, is_exact: bool = False) -> str:
        """The answer to `messages`; `is_exact` writes on past its end until `max_tokens`, for timing."""
        self._config.max_new_tokens = max_tokens
        self._config.ignore_eos = is_exact
        self._config.apply_chat_template = False
        return str(self._pipeline.generate(self.render(messages), self._config))

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """The prompt that the folder's chat template makes of `messages`."""
        return str(self._pipeline.get_tokenizer().apply_chat_template(list(messages), True))

    def encode(self, prompt: str) -> list[int]:
        ids: list[int] = (
            self._pipeline.get_tokenizer().encode(prompt, add_special_tokens=False).input_ids.data[0].tolist()
        )
        return ids

    def tokens(self, ids: Sequence[int], max_tokens: int) -> list[int]:
        """What is written behind `ids`, as tokens."""
        self._config.max_new_tokens = max_tokens
        self._config.ignore_eos = False
        given = load_openvino().Tensor(np.array([ids], np.int64))  # (1, T)
        return [int(token) for token in self._pipeline.generate(given, self._config).tokens[0]]


CHAT: dict[str, tuple[Callable[[Path, int], Scorer], Callable[[Path, int], Writer]]] = {
    "openvino": (ServedScorer, ServedWriter),
    "torch": (TorchScorer, TorchWriter),
}


def open_scorer(folder: Path, threads: int = 0) -> Scorer:
    """The chat model in `folder`, for whichever engine it is."""
    return _openers(folder)[0](folder, threads)


def open_writer(folder: Path, threads: int = 0) -> Writer:
    return _openers(folder)[1](folder, threads)


def _openers(folder: Path) -> tuple[Callable[[Path, int], Scorer], Callable[[Path, int], Writer]]:
    engine = read_manifest(folder).engine
    if engine not in CHAT:
        raise ModelError(f"the model in {folder} is for engine {engine!r}; judged are those for {', '.join(CHAT)}")
    return CHAT[engine]


def _compile(folder: Path, details: dict[str, Any], threads: int) -> Any:
    try:
        return load_openvino().compile_model(folder / "openvino_model.xml", "CPU", _properties(details, threads))
    except RuntimeError as err:
        raise ModelError(f"the model in {folder} cannot be loaded by OpenVINO: {err}") from err


def _properties(details: dict[str, Any], threads: int) -> dict[str, Any]:
    chosen = {"INFERENCE_NUM_THREADS": threads} if threads else {}
    return {**details.get("openvino", {}), **chosen}
