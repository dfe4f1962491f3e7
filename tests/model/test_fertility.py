from __future__ import annotations

from pathlib import Path

from tulou.model.fertility import fertility, sample_by_language
from tulou.model.vocabulary import open_tokenizer, unknown_id


def test_a_tokenizer_of_bytes_spends_a_token_on_each_byte_it_has_not_merged(tokenizer_folder: Path) -> None:
    told = fertility(open_tokenizer(tokenizer_folder), {"zh": ["齉齾"], "en": []})
    assert told == {"zh": {"tokens_per_character": 3.0, "unknown_share": 0.0}}


def test_unknown_characters_are_told_beside_a_fertility_that_hides_them(bert_folder: Path) -> None:
    tokenizer = open_tokenizer(bert_folder)
    told = fertility(tokenizer, {"zh": ["退货退货"], "en": ["to be"]}, unknown_id(tokenizer))
    assert told["zh"] == {"tokens_per_character": 1.0, "unknown_share": 1.0}
    assert told["en"] == {"tokens_per_word": 2.0, "unknown_share": 0.0}


def test_the_sample_is_the_head_of_each_language() -> None:
    sample = sample_by_language(iter(["退货 OK？", "ab cd", "ef gh", "收到了"]), sample_chars=4)
    assert sample == {"zh": ["退货 OK？"], "en": ["ab cd"]}
