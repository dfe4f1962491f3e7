"""Causal language models: loading them, and conversations as they see them.

The prompt of an answer is rendered and encoded by itself, as serving does, so that training, evaluation and service
agree to the token. The loss falls on the assistant's words only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tulou.core.errors import ModelError
from tulou.model.libraries import load_torch, load_transformers, quiet

# Of models whose architecture sets no limit: what Bloom (Scao et al. 2022) and Mamba (Gu & Dao 2023) were trained on.
USUAL_CONTEXT = 2048
IGNORED = -100  # target of positions without loss, as torch's cross entropy has it


@dataclass(frozen=True)
class Turn:
    """One conversation as the model sees it: `ids` (T,) and, at each position, the id to predict there or IGNORED."""

    ids: list[int]
    targets: list[int]
    name: str = ""  # of the row that it was made from

    def last_answer(self) -> Turn:
        """The same conversation with targets on its last answer only."""
        start = len(self.targets)
        while start and self.targets[start - 1] != IGNORED:
            start -= 1
        return Turn(self.ids, [IGNORED] * start + self.targets[start:], self.name)


def load_causal(folder: Path) -> Any:
    """The causal language model in `folder`, FP32, in evaluation mode."""
    torch, transformers = load_torch(), load_transformers()
    try:
        with quiet():
            return transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True
            ).eval()
    except (OSError, ValueError) as err:
        raise ModelError(f"the language model in {folder} cannot be loaded: {err}") from err


def load_tokenizer(folder: Path) -> Any:
    transformers = load_transformers()
    try:
        with quiet():
            return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as err:
        raise ModelError(f"the tokenizer in {folder} cannot be loaded: {err}") from err


def load_chat_tokenizer(folder: Path) -> Any:
    tokenizer = load_tokenizer(folder)
    if not tokenizer.chat_template:
        raise ModelError(f"the tokenizer in {folder} has no chat template; fine-tune the model to chat first")
    return tokenizer


def context_length(model: Any) -> int:
    """Tokens that `model` reads and writes at most."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or USUAL_CONTEXT)


def encode_conversation(tokenizer: Any, messages: Sequence[dict[str, str]], name: str = "") -> Turn:
    """Ids of a whole conversation, with targets on what the assistant says and on the mark that ends it.

    What comes before an answer is encoded by itself, as serving does, so the seam falls between the same tokens.
    """
    ids: list[int] = []
    targets: list[int] = []
    rendered = ""
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = tokenizer.apply_chat_template(messages[:number], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(messages[: number + 1], tokenize=False)
        if not (whole.startswith(prompt) and prompt.startswith(rendered)):
            raise ModelError("the base's chat template rewrites earlier turns, so it cannot be trained turn by turn")
        question = tokenizer(prompt.removeprefix(rendered), add_special_tokens=False)["input_ids"]
        answer = tokenizer(whole.removeprefix(prompt), add_special_tokens=False)["input_ids"]
        ids += question + answer
        targets += [IGNORED] * len(question) + answer
        rendered = whole
    return Turn(ids, targets, name)
