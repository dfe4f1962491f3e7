from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tulou.model.corpus import Rows, write_corpus
from tulou.model.vocabulary import open_tokenizer


def test_the_corpus_on_disk_is_every_text_with_its_end(
    tokenizer_folder: Path, texts: list[str], tmp_path: Path
) -> None:
    tokenizer = open_tokenizer(tokenizer_folder)
    corpus = write_corpus(iter(texts), tokenizer, 0, tmp_path)
    assert isinstance(corpus.ids, np.memmap)
    assert corpus.dtype == "uint16"
    assert corpus.ids.tolist() == [i for text in texts for i in [*tokenizer.encode(text).ids, 0]]
    assert corpus.characters == sum(map(len, texts))
    assert corpus.stretch(3, 5) == corpus.ids[3:8].tolist()


def test_a_corpus_is_encoded_once_for_each_tokenizer(tokenizer_folder: Path, texts: list[str], tmp_path: Path) -> None:
    tokenizer = open_tokenizer(tokenizer_folder)
    first = write_corpus(texts, tokenizer, 0, tmp_path, "a")
    assert write_corpus(iter(()), tokenizer, 0, tmp_path, "a") == first
    assert write_corpus(texts[:1], tokenizer, 0, tmp_path, "b").texts == 1


@pytest.mark.parametrize("tokens", [32, 33, 100, 50 * 32 + 7, 5000])
def test_no_row_of_any_pass_touches_a_row_that_is_held_out(tokens: int) -> None:
    rows = Rows(tokens, 32, 4, seed=1)
    kept = {place for start in rows.held_out for place in range(start, start + 32)}
    seen: set[int] = set()
    for step in range(200):
        starts = rows.starts(step)
        assert len(starts) == 4
        for start in starts:
            assert 0 <= start <= tokens - 32
            seen |= set(range(start, start + 32))
    assert not seen & kept
    assert len(seen) > 0.9 * (tokens - len(kept)) - 32


def test_a_pass_reads_every_row_once(tmp_path: Path) -> None:
    rows = Rows(32 * 41, 32, 4, seed=1)  # 40 rows a pass
    starts = [start for step in range(10) for start in rows.starts(step)]
    assert len(set(starts)) == 40
    assert starts != sorted(starts)
