"""Answers held to a JSON schema by OpenVINO GenAI (xgrammar), and schemas tried out before they can do harm.

The library reads a schema only when the answer's first token is drawn, and one it cannot read breaks the pipeline with
every answer under way in it. So a schema is first tried on a model that has the same vocabulary and knows nothing: some
milliseconds for each new schema, 20 ms to build it.
"""

from __future__ import annotations

import json
import threading
from functools import lru_cache
from typing import Any

from tulou.core.extras import load_openvino
from tulou.service.engine.base import Grammar, Unsupported

MAX_SCHEMA_CHARS = 32_768  # compiling takes time; OpenAI allows 15,000 characters of names and values
REMEMBERED = 256


class Grammars:
    """Grammars for one tokenizer."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._trial: Any = None
        self._lock = threading.Lock()
        self._tried = lru_cache(REMEMBERED)(self._try_out)

    def config(self, grammar: Grammar) -> Any:
        """What makes an answer fit `grammar`. Raises `Unsupported` where the library cannot take its schema."""
        if len(grammar.schema) > MAX_SCHEMA_CHARS:
            raise Unsupported(
                "response_format",
                f"Invalid schema: it has {len(grammar.schema)} characters, at most {MAX_SCHEMA_CHARS} are taken",
            )
        with self._lock:
            if problem := self._tried(grammar):
                raise Unsupported("response_format", f"Invalid schema for response_format: {problem}")
        return _structured(grammar)

    def _try_out(self, grammar: Grammar) -> str:
        """What the library has against `grammar`, "" for nothing."""
        genai = load_openvino("openvino_genai")
        config = genai.GenerationConfig(max_new_tokens=1)
        config.structured_output_config = _structured(grammar)
        if self._trial is None:
            self._trial = _ignorant(self._tokenizer, self._vocabulary)
        try:
            self._trial.generate(_one_token(), config)
        except RuntimeError as err:
            self._trial = None
            return _last_words(str(err))
        return ""


def _structured(grammar: Grammar) -> Any:
    structured = load_openvino("openvino_genai").StructuredOutputConfig
    if not grammar.before and not grammar.after:
        return structured(json_schema=grammar.schema)
    whole: Any = structured.JSONSchema(grammar.schema)
    if grammar.before:
        whole = structured.Concat(structured.ConstString(grammar.before), whole)
    if grammar.after:
        whole = structured.Concat(whole, structured.ConstString(grammar.after))
    return structured(structural_tags_config=whole)


def _ignorant(tokenizer: Any, vocabulary: int) -> Any:
    """A pipeline over a model that finds every token equally likely."""
    import numpy as np

    ov, genai = load_openvino(), load_openvino("openvino_genai")
    from openvino import opset13 as op

    types = {"input_ids": np.int64, "attention_mask": np.int64, "position_ids": np.int64, "beam_idx": np.int32}
    inputs = {name: op.parameter([-1] if name == "beam_idx" else [-1, -1], kind) for name, kind in types.items()}
    for name, node in inputs.items():
        node.output(0).get_tensor().set_names({name})
    shape = op.concat([op.shape_of(inputs["input_ids"]), op.constant(np.array([vocabulary], np.int64))], 0)
    logits = op.broadcast(op.constant(np.float32(0)), shape)  # (B, T, V)
    logits.output(0).get_tensor().set_names({"logits"})
    model = ov.Model([op.result(logits)], list(inputs.values()))
    graph, weights = _serialised(ov, model)
    config = genai.GenerationConfig(max_new_tokens=1)
    return genai.LLMPipeline(graph, weights, tokenizer, "CPU", config, ATTENTION_BACKEND="SDPA")


def _serialised(ov: Any, model: Any) -> tuple[str, Any]:
    import tempfile
    from pathlib import Path

    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(model, path)
        weights = np.fromfile(path.with_suffix(".bin"), dtype=np.uint8)
        return path.read_text(encoding="utf-8"), ov.Tensor(weights)


def _one_token() -> Any:
    import numpy as np

    return load_openvino().Tensor(np.zeros((1, 1), np.int64))


def _last_words(message: str) -> str:
    """The library's complaint without the file and line of its own source."""
    said = message.strip().splitlines()[-1] if message.strip() else message
    said = said.split(".cc:", 1)[-1].partition(" ")[2] or said
    return json.dumps(said, ensure_ascii=False)[1:-1][:300]
