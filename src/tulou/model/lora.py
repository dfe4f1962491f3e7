"""LoRA (Hu et al. 2021) through PEFT: a few small matrices are learnt beside the frozen ones, then added into them.

What is served is a plain model, so nothing after training knows of it. It saves the memory of gradients and optimizer
state, about three quarters, and a checkpoint is some megabytes; full training still learns a little better on large
data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tulou.core.errors import ModelError
from tulou.core.extras import load_extra
from tulou.core.settings import LoraSettings
from tulou.model.libraries import quiet

# Every matrix inside the layers: attention alone learns less (Schulman et al. 2025, "LoRA Without Regret").
_DECODER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_ENCODER = ("query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense")
TARGETS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("qwen2", "qwen3", "llama", "mistral", "gemma", "gemma2", "gemma3_text", "smollm3"), _DECODER),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _ENCODER),
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
    "modernbert": ("Wqkv", "Wo", "Wi"),
}


def adapt(model: Any, settings: LoraSettings, new_tokens: Sequence[int] = ()) -> None:
    """Put LoRA matrices into `model` (a transformers model), which from here on learns them alone.

    Of the embeddings only the rows of `new_tokens` are learnt. Raises `ModelError` where a target is no module of it.
    """
    peft = load_extra("peft", "train", "method 'lora'")
    model_type = str(model.config.model_type)
    targets: Any = list(settings.targets or TARGETS.get(model_type, ())) or "all-linear"
    embeddings = next(name for name, module in model.named_modules() if module is model.get_input_embeddings())
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha or 2 * settings.rank,
        lora_dropout=settings.dropout,
        target_modules=targets,
        trainable_token_indices={embeddings.rpartition(".")[2]: list(new_tokens)} if new_tokens else None,
    )
    try:
        with quiet():  # it asks transformers by names that are going away
            peft.get_peft_model(model, config)
    except ValueError as err:
        raise ModelError(f"lora.targets {targets} do not fit a model of type {model_type!r}: {err}") from err


def merge(model: Any) -> None:
    """Add what LoRA has learnt to the weights of `model`, which is a plain model again; nothing where there is none."""
    if not hasattr(model, "peft_config"):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    merged: list[str] = []
    for name, module in list(model.named_modules()):
        if any(name.startswith(f"{outer}.") for outer in merged):
            continue
        if isinstance(module, AuxiliaryTrainingWrapper):  # embeddings of which some rows were learnt
            plain = module.unload_and_optionally_merge_module(merge=True, safe_merge=False, adapter_names=None)
        elif isinstance(module, BaseTunerLayer):
            module.merge()
            plain = module.get_base_layer()
        else:
            continue
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, plain)
        merged.append(name)
    del model.peft_config
    model.requires_grad_(True)
