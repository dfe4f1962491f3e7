"""A corpus as token ids in one file, mapped into memory: of a terabyte, only the rows being read are there.

Ids take two bytes where the vocabulary allows, else four. Texts stand one after another with the end-of-text token
between them, in one row of T tokens after the other, no padding; a row may begin in mid-text. Every pass shifts the
grid by another offset and takes the rows in another order. Some rows, the same whatever the pass, are held out to
validate on.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tulou.core.stage import read_json, write_json

ENCODED_AT_ONCE = 256  # texts
HELD_OUT_SHARE = 0.02
MAX_HELD_OUT = 256  # rows; 65,000 tokens tell a perplexity within about a hundredth
MIN_ROWS_TO_HOLD_OUT = 50  # below, every row is needed to learn from


@dataclass(frozen=True)
class Corpus:
    folder: Path
    tokens: int
    characters: int
    texts: int
    dtype: str
    tokenizer: str = ""  # digest of the tokenizer that made the ids

    @cached_property
    def ids(self) -> NDArray[np.unsignedinteger[Any]]:
        """All ids (tokens,), mapped from disk."""
        return np.memmap(self.folder / "tokens.bin", dtype=self.dtype, mode="r", shape=(self.tokens,))

    def stretch(self, start: int, length: int) -> list[int]:
        ids: list[int] = self.ids[start : start + length].tolist()
        return ids


def write_corpus(texts: Iterable[str], tokenizer: Any, end: int, folder: Path, digest: str = "") -> Corpus:
    """Encode `texts` with the `tokenizers.Tokenizer` given into `folder`; one that is there already is kept.

    `end` is the id put behind each text.
    """
    if (known := read_json(folder / "corpus.json")) is not None and known["tokenizer"] == digest:
        return Corpus(folder, **known)
    dtype = np.uint16 if tokenizer.get_vocab_size(with_added_tokens=True) <= 1 << 16 else np.uint32
    folder.mkdir(parents=True, exist_ok=True)
    tokens = characters = count = 0
    partial = folder / "tokens.partial"
    try:
        with partial.open("wb") as file:
            for block in _blocks(texts):
                for encoding in tokenizer.encode_batch_fast(block, add_special_tokens=False):
                    file.write(np.array([*encoding.ids, end], dtype).tobytes())
                    tokens += len(encoding.ids) + 1
                characters, count = characters + sum(map(len, block)), count + len(block)
        os.replace(partial, folder / "tokens.bin")
    except OSError:
        partial.unlink(missing_ok=True)  # a full disk needs the room
        raise
    facts = {"tokens": tokens, "characters": characters, "texts": count, "dtype": np.dtype(dtype).name}
    write_json(folder / "corpus.json", {**facts, "tokenizer": digest})
    return Corpus(folder, tokens, characters, count, np.dtype(dtype).name, digest)


@dataclass(frozen=True)
class Rows:
    """The rows that a corpus is cut into: which to learn from in which step, and which to validate on."""

    tokens: int  # of the corpus
    length: int  # T
    rows_a_step: int
    seed: int

    @cached_property
    def held_out(self) -> tuple[int, ...]:
        """Where the rows to validate on begin."""
        rows = self.tokens // self.length
        if rows < MIN_ROWS_TO_HOLD_OUT:
            return ()
        count = min(MAX_HELD_OUT, max(1, round(rows * HELD_OUT_SHARE)))
        return tuple(self.length * row for row in sorted(random.Random(self.seed).sample(range(rows), count)))

    def starts(self, step: int) -> list[int]:
        """Where the rows of a step begin."""
        first = step * self.rows_a_step
        found: list[int] = []
        while len(found) < self.rows_a_step:
            epoch, place = divmod(first + len(found), self._rows_each)
            found += _order(self, epoch)[place : place + self.rows_a_step - len(found)].tolist()
        return found

    @cached_property
    def _rows_each(self) -> int:
        """Rows of one pass; the same for every pass, so that a step's place follows from its number."""
        grid = max(1, self.tokens // self.length - 1)
        return max(1, grid - 2 * len(self.held_out))


@lru_cache(maxsize=2)
def _order(rows: Rows, epoch: int) -> NDArray[np.int64]:
    """Where the rows of one pass begin, shuffled; none touches a row that is held out."""
    rng = np.random.default_rng([rows.seed, epoch])
    room = rows.tokens - rows.length * max(1, rows.tokens // rows.length - 1)
    shift = int(rng.integers(0, min(rows.length, room + 1)))
    starts = np.arange(shift, rows.tokens - rows.length + 1, rows.length)
    if rows.held_out:
        kept = np.array(rows.held_out)
        below = np.searchsorted(kept, starts, side="right") - 1  # the last held-out row that begins at or before
        before = (below >= 0) & (kept[np.maximum(below, 0)] + rows.length > starts)
        after = (below + 1 < len(kept)) & (kept[np.minimum(below + 1, len(kept) - 1)] < starts + rows.length)
        starts = starts[~(before | after)]
    rng.shuffle(starts)
    return np.resize(starts, rows._rows_each) if len(starts) < rows._rows_each else starts[: rows._rows_each]


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    source = iter(texts)
    while block := list(islice(source, ENCODED_AT_ONCE)):
        yield block


def tokenizer_digest(path: Path) -> str:
    """Of a `tokenizer.json`."""
    import hashlib

    return hashlib.sha256(json.dumps(json.loads(path.read_text(encoding="utf-8"))).encode()).hexdigest()[:16]
