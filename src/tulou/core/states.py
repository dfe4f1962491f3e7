"""What a causal language model of transformers remembers of the text it has read, whatever it calls that."""

from __future__ import annotations

from typing import Any

STATES = ("past_key_values", "cache_params", "state")  # attention's cache, that of Mamba and its kin, RWKV's


def remembered(output: Any) -> dict[str, Any]:
    """What `output` hands on to the next call, as its arguments."""
    return {name: output[name] for name in STATES if name in output}
