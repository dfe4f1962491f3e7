"""A byte-level BPE tokenizer of our own, for Chinese and English, with the tokens of a conversation.

Bytes are the alphabet, so nothing is ever unknown; merges are learnt on the business's corpus, so its words become
single tokens and a small model gets short inputs. The price is that another corpus would want another tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tulou.core.errors import ModelError
from tulou.model.libraries import load_transformers

END_OF_TEXT = "<|endoftext|>"  # between documents; also pads
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = [END_OF_TEXT, TURN_START, TURN_END]

# ChatML, the form that Qwen and others use: every turn is marked, and `assistant` opens the answer.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# Qwen2's split: one digit at a time (so prices can be copied), words with their leading space, line breaks.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int, out: Path) -> int:
    """Learn merges from `texts`, save a transformers tokenizer with chat template to `out`, return its size.

    A small corpus may give fewer than `vocab_size` tokens. Raises `ModelError` if there is no text at all.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    smallest = len(alphabet) + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise ModelError(f"vocab_size {vocab_size} is too small: bytes and chat tokens alone take {smallest}")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet,
        show_progress=False, max_token_length=24,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() == smallest:
        raise ModelError("the corpus is empty or never repeats itself: a tokenizer cannot learn from it")
    wrap_tokenizer(tokenizer).save_pretrained(out)
    return int(tokenizer.get_vocab_size())


def wrap_tokenizer(tokenizer: Any) -> Any:
    """A `tokenizers.Tokenizer` as the class transformers saves and loads, with roles for the special tokens."""
    wrapped = load_transformers().PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=TURN_END, pad_token=END_OF_TEXT,
        additional_special_tokens=[TURN_START], clean_up_tokenization_spaces=False,
    )  # fmt: skip
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped
