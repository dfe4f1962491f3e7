from __future__ import annotations

from pathlib import Path

import pytest

from tulou.core.errors import ModelError
from tulou.model.causal import load_chat_tokenizer
from tulou.model.tokenizer import TURN_END, train_tokenizer


def test_tokenizer_brings_back_every_text(tokenizer_folder: Path) -> None:
    tokenizer = load_chat_tokenizer(tokenizer_folder)
    for text in ("多久可以退货？", "Delivery takes two days.\n\n  Yes!", "🎉 𠮷 ½ ①", "\t\x00"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_words_of_the_corpus_become_single_tokens(tmp_path: Path) -> None:
    train_tokenizer(["退货，退货！ refund a refund"] * 5, 300, tmp_path)
    tokenizer = load_chat_tokenizer(tmp_path)
    assert len(tokenizer("退货")["input_ids"]) == 1
    assert len(tokenizer(" refund")["input_ids"]) == 1


def test_numbers_are_read_digit_by_digit(tokenizer_folder: Path) -> None:
    assert len(load_chat_tokenizer(tokenizer_folder)("20261123")["input_ids"]) == 8


def test_the_template_opens_the_assistants_turn(tokenizer_folder: Path) -> None:
    tokenizer = load_chat_tokenizer(tokenizer_folder)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert prompt == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.eos_token == TURN_END


def test_a_corpus_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a tokenizer cannot learn from it"):
        train_tokenizer([], 500, tmp_path)


def test_a_vocabulary_below_the_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="vocab_size 100 is too small: bytes and chat tokens alone take 259"):
        train_tokenizer(["text"], 100, tmp_path)
