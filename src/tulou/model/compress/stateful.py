"""A causal language model as an OpenVINO graph that keeps its key-value cache inside.

The Hugging Face model is traced with its cache as plain inputs and outputs; OpenVINO then turns each pair into a
variable of the graph. The result is the form that OpenVINO GenAI serves, alone or with paged attention and continuous
batching. It works for any decoder whose attention is one causal mask; a check at the end compares the graph with torch
and refuses what differs. It imports torch at the top: import it inside the function that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache

from tulou.core.errors import ExportError
from tulou.core.extras import load_openvino
from tulou.model.libraries import cause_of, quiet

KeyValue = tuple[Tensor, Tensor]  # (B, K, S, D) each: K key-value heads, S positions seen

# FP32 on both sides differs by rounding only; a wrong mask or position shows up a thousand times larger.
MAX_LOGIT_DIFFERENCE = 1e-2


class OpenCache(Cache):  # type: ignore[misc]  # transformers is not typed for us
    """A cache that is nothing but tensors, so that tracing sees each one come in and go out."""

    def __init__(self, past: list[KeyValue]) -> None:
        super().__init__(layers=[])
        self.past = list(past)

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *_: Any, **__: Any) -> KeyValue:
        past_key, past_value = self.past[layer_idx]
        # (B, K, S, D) + (B, K, T, D) -> (B, K, S + T, D)
        self.past[layer_idx] = (torch.cat([past_key, key], dim=2), torch.cat([past_value, value], dim=2))
        return self.past[layer_idx]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.past[layer_idx][0].shape[2]


class StatelessDecoder(nn.Module):
    """One step with all state visible: T new tokens after S cached ones."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, beam_idx: Tensor, past: list[KeyValue]
    ) -> tuple[Tensor, ...]:
        # `beam_idx` (B,) says which row of the cache each row goes on from; beam search and batching reorder with it.
        cache = OpenCache([(k.index_select(0, beam_idx), v.index_select(0, beam_idx)) for k, v in past])
        new, total = input_ids.shape[1], attention_mask.shape[1]  # T, S + T
        queries = torch.arange(total - new, total)  # (T,)
        keys = torch.arange(total)  # (S + T,)
        is_causal = (keys[None, :] <= queries[:, None])[None, None]  # (1, 1, T, S + T)
        mask = is_causal & attention_mask[:, None, None, :].bool()  # (B, 1, T, S + T)
        output = self.model(
            input_ids=input_ids, attention_mask=mask, position_ids=position_ids, past_key_values=cache, use_cache=True
        )
        return (output.logits, *(tensor for pair in cache.past for tensor in pair))  # (B, T, V), then the grown cache


def trace_stateful(model: Any) -> Any:
    """The OpenVINO graph of a transformers causal language model in FP32.

    Inputs `input_ids`, `attention_mask`, `position_ids` (B, T) int64 and `beam_idx` (B,) int32; output `logits`
    (B, T, V). Raises `ExportError` if the graph cannot be made or answers otherwise than the model.
    """
    try:
        with quiet(), torch.no_grad():
            graph = _graph_of(model)
            difference = _difference(graph, model)
    except Exception as err:  # the tracer and the converter raise whatever the model's code raises
        raise ExportError(f"{type(model).__name__} cannot be exported to OpenVINO: {cause_of(err)}") from err
    if not difference < MAX_LOGIT_DIFFERENCE:
        raise ExportError(
            f"{type(model).__name__} does not survive the export to OpenVINO: its logits change by {difference:.2g} of "
            "their spread"
        )
    return graph


def _graph_of(model: Any) -> Any:
    openvino = load_openvino()
    from openvino._offline_transformations import apply_make_stateful_transformation

    text_config = model.config.get_text_config()
    layers, key_value_heads, head_dim = _cache_shape(text_config)
    batch, seen, new = 2, 3, 4
    past = [
        (torch.zeros(batch, key_value_heads, seen, head_dim), torch.zeros(batch, key_value_heads, seen, head_dim))
        for _ in range(layers)
    ]
    example = (
        torch.zeros(batch, new, dtype=torch.int64),
        torch.ones(batch, seen + new, dtype=torch.int64),
        torch.arange(seen, seen + new).expand(batch, new),
        torch.arange(batch),
        past,
    )
    graph = openvino.convert_model(StatelessDecoder(model).eval(), example_input=example)
    cached = [f"{layer}.{part}" for layer in range(layers) for part in ("key", "value")]
    inputs = ["input_ids", "attention_mask", "position_ids", "beam_idx", *(f"past.{name}" for name in cached)]
    outputs = ["logits", *(f"present.{name}" for name in cached)]
    for port, name in zip(graph.inputs, inputs, strict=True):
        port.get_tensor().set_names({name})
        shape = [-1, -1] if not name.startswith("past") else [-1, key_value_heads, -1, head_dim]
        port.get_node().set_partial_shape(openvino.PartialShape([-1] if name == "beam_idx" else shape))
    graph.input("beam_idx").get_node().set_element_type(openvino.Type.i32)
    for port, name in zip(graph.outputs, outputs, strict=True):
        port.get_tensor().set_names({name})
    graph.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(graph, {f"past.{name}": f"present.{name}" for name in cached})
    _start_empty(graph, key_value_heads, head_dim)
    return graph


def save_graph(graph: Any, path: Path, is_half: bool = False) -> None:
    """Write the graph; `is_half` stores its weights in 16 bits."""
    load_openvino().save_model(graph, path, compress_to_fp16=is_half)


def _cache_shape(config: Any) -> tuple[int, int, int]:
    heads = config.num_attention_heads
    key_value_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return config.num_hidden_layers, key_value_heads, head_dim


def _start_empty(graph: Any, key_value_heads: int, head_dim: int) -> None:
    """Give each cache variable its first value: no positions, for as many rows as there are in `input_ids`."""
    load_openvino()
    from openvino import opset13 as op

    axis, row = op.constant(0, dtype=np.int64), op.constant([0], dtype=np.int64)
    batch = op.gather(op.shape_of(graph.input("input_ids").get_node(), output_type="i64"), row, axis)  # (1,)
    rest = op.constant(np.array([key_value_heads, 0, head_dim], np.int64))
    for node in graph.get_ops():
        if node.get_type_name() == "ReadValue":
            empty = op.broadcast(op.constant(0.0, dtype=np.float32), op.concat([batch, rest], axis=0))
            node.set_arguments([empty])  # (B, K, 0, D)
    graph.validate_nodes_and_infer_types()


def _difference(graph: Any, model: Any) -> float:
    """Of the logits of 24 tokens, the graph reading them in two steps, relative to their spread."""
    vocabulary = model.config.get_text_config().vocab_size
    ids = torch.randint(0, vocabulary, (2, 24), generator=torch.Generator().manual_seed(0))  # (B, T)
    expected = model(input_ids=ids).logits.float().numpy()  # (B, T, V)
    exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    compiled = load_openvino().compile_model(graph, "CPU", exact)
    request = compiled.create_infer_request()
    parts = []
    for start, end in ((0, 17), (17, 24)):
        request.infer(
            {
                "input_ids": ids[:, start:end].numpy(),
                "attention_mask": np.ones((2, end), np.int64),
                "position_ids": np.broadcast_to(np.arange(start, end), (2, end - start)),
                "beam_idx": np.arange(2, dtype=np.int32),
            }
        )
        parts.append(request.get_tensor("logits").data.copy())
    return float(np.abs(np.concatenate(parts, axis=1) - expected).max() / (expected.std() + 1e-9))
