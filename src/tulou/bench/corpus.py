"""A labelled dirty corpus of any size: JSON lines for the cleaner, and beside them the truth about every row.

Rows come in blocks, each grown from the seed and its own number alone, so that equal seeds give equal bytes whatever
the number of processes, and no more than a few blocks are ever in memory. Copies may be of a document in another block:
the first documents of every block are clean and can be grown again anywhere. That costs one small block a block.
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tulou.bench import dirt
from tulou.bench.dirt import Dirt, Dirty
from tulou.bench.grammar import LANGUAGES, Grammar
from tulou.bench.likeness import jaccard, shingles
from tulou.core.progress import Progress, Silent

TRUTH = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # line of the corpus, from 1
        pa.field("id", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # "clean", "near_duplicate", or a key of KINDS
        pa.field("detail", pa.string(), nullable=False),  # sort of damage; the right word of a typo
        pa.field("of", pa.int64(), nullable=False),  # row of the document that this one copies, else 0
        pa.field("jaccard", pa.float64(), nullable=False),  # with that document; 0 where there is none
        pa.field("expected", pa.string()),  # the text as it should read, where that is not the text as it is
        pa.field(
            "values",
            pa.list_(pa.struct([("kind", pa.string()), ("text", pa.string()), ("is_real", pa.bool_())])),
            nullable=False,
        ),
    ]
)

KINDS: dict[str, Dirt] = {
    "sensitive": dirt.sensitive,
    "lookalike": dirt.innocent,
    "mojibake": dirt.mojibake,
    "html": dirt.html,
    "full_width": dirt.full_width,
    "control": dirt.control,
    "typo": dirt.typo,
    "junk": dirt.junk,
}
SHARES: dict[str, float] = {  # of all rows, at the usual 30 % of dirt
    "exact_duplicate": 0.05,
    "near_duplicate": 0.05,
    "sensitive": 0.08,
    "lookalike": 0.03,
    "mojibake": 0.03,
    "html": 0.02,
    "full_width": 0.01,
    "control": 0.01,
    "typo": 0.01,
    "junk": 0.01,
}

_USUAL_DIRT = sum(SHARES.values())
_BLOCK_ROWS = 5000
_SHARED_ROWS = 150  # documents of a block that other blocks may copy
_ELSEWHERE = 0.5  # share of copies that are of another block's documents
_DISGUISED = 0.25  # share of exact copies that are equal only after cleaning
_DISGUISES: tuple[Dirt, ...] = (dirt.mojibake, dirt.html, dirt.full_width, dirt.control)


@dataclass(frozen=True)
class Shape:
    """Everything the corpus is a function of."""

    rows: int
    seed: int = 0
    mean_bytes: int = 900
    dirty: float = _USUAL_DIRT  # share of rows with something wrong
    split: str = "held_out"  # which half of the sentences carries sensitive values: "tuning" or "held_out"


@dataclass(frozen=True)
class Corpus:
    documents: Path  # JSON lines: id, text, lang
    truth: Path  # Parquet, TRUTH
    rows: int
    bytes: int


@dataclass
class _Document:
    row: int
    language: str
    sentences: list[str]


def write_corpus(
    out: Path,
    rows: int,
    seed: int = 0,
    mean_bytes: int = 900,
    *,
    dirty: float = _USUAL_DIRT,
    split: str = "held_out",
    processes: int = 0,
    progress: Progress | None = None,
) -> Corpus:
    """Write `out` (JSON lines) and `out` with the suffix `.truth.parquet`; `processes` 0 means one for each core."""
    shape = Shape(rows, seed, mean_bytes, dirty, split)
    truth = out.with_suffix(".truth.parquet")
    out.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with (
        out.open("wb") as lines,
        pq.ParquetWriter(truth, TRUTH, compression="zstd") as table,
        (progress or Silent()).bar("write corpus", total=rows, unit="documents") as bar,
    ):
        for block, batch in _blocks(shape, processes or os.cpu_count() or 1):
            lines.write(block)
            table.write_batch(batch)
            written += len(block)
            bar.advance(batch.num_rows)
    return Corpus(out, truth, rows, written)


def read_truth(corpus: Corpus) -> list[dict[str, Any]]:
    """One row of TRUTH for each line of the corpus, in order."""
    rows: list[dict[str, Any]] = pq.read_table(corpus.truth).to_pylist()
    return rows


def read_texts(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield json.loads(line)["text"]


def _blocks(shape: Shape, processes: int) -> Iterator[tuple[bytes, pa.RecordBatch]]:
    count = -(-shape.rows // _BLOCK_ROWS)
    if processes == 1 or count == 1:
        yield from (_grow(shape, number) for number in range(count))
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _leave_interrupts_to_the_parent)
    try:
        numbers = iter(range(count))
        waiting = [pool.submit(_grow, shape, number) for number in islice(numbers, 2 * processes)]
        while waiting:
            first: Future[tuple[bytes, pa.RecordBatch]] = waiting.pop(0)
            made = first.result()
            waiting += [pool.submit(_grow, shape, number) for number in islice(numbers, 1)]
            yield made
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _grow(shape: Shape, number: int) -> tuple[bytes, pa.RecordBatch]:
    """One block: its lines, and the truth about them."""
    block = _Block(shape, number)
    block.grow()
    return "".join(block.lines).encode(), pa.RecordBatch.from_pylist(block.truth, schema=TRUTH)


def _shared(shape: Shape, number: int) -> list[_Document]:
    """The clean documents at the head of a block."""
    rng = random.Random(f"{shape.seed}/{number}/shared")
    grammars = _grammars(rng)
    first = number * _BLOCK_ROWS
    count = min(_SHARED_ROWS, (shape.rows - first) // 4)
    return [_document(first + at + 1, shape, grammars, rng) for at in range(count)]


def _grammars(rng: random.Random) -> dict[str, Grammar]:
    return {language: Grammar(language, rng) for language in LANGUAGES}


def _document(row: int, shape: Shape, grammars: dict[str, Grammar], rng: random.Random) -> _Document:
    language = LANGUAGES[rng.random() < 0.5]
    return _Document(row, language, grammars[language].sentences(shape.mean_bytes))


@dataclass
class _Block:
    shape: Shape
    number: int
    lines: list[str] = field(default_factory=list)
    truth: list[dict[str, Any]] = field(default_factory=list)

    def grow(self) -> None:
        rng = self._rng = random.Random(f"{self.shape.seed}/{self.number}")
        self._grammars = _grammars(rng)
        self._clean = _shared(self.shape, self.number)
        self._elsewhere = _shared(self.shape, rng.randrange(self.number)) if self.number else []
        for document in self._clean:
            self._write(document, "clean", Dirty(self._text(document), ""))
        first = self.number * _BLOCK_ROWS
        size = min(_BLOCK_ROWS, self.shape.rows - first)
        kinds, weights = self._odds(size / max(1, size - len(self._clean)))
        for row in range(first + len(self._clean) + 1, first + size + 1):
            kind = rng.choices(kinds, cum_weights=weights)[0]
            if kind in KINDS:
                document = _document(row, self.shape, self._grammars, rng)
                self._write(document, kind, self._damaged(KINDS[kind], document))
            elif kind == "clean" or not (self._clean or self._elsewhere):
                document = _document(row, self.shape, self._grammars, rng)
                self._write(document, "clean", Dirty(self._text(document), ""))
                self._clean.append(document)
            else:
                self._copy(row, kind)

    def _odds(self, scale: float) -> tuple[list[str], list[float]]:
        """Kinds of rows and their cumulative probabilities; `scale` makes up for the rows that are always clean."""
        scale *= self.shape.dirty / _USUAL_DIRT
        shares = {kind: share * scale for kind, share in SHARES.items()}
        shares["clean"] = max(0.0, 1 - sum(shares.values()))
        return list(shares), list(accumulate(shares.values()))

    def _damaged(self, damage: Dirt, document: _Document) -> Dirty:
        if damage is dirt.sensitive:
            damage = functools.partial(dirt.sensitive, split=self.shape.split)
        return damage(document.sentences, self._grammars[document.language], self._rng)

    def _copy(self, row: int, kind: str) -> None:
        rng = self._rng
        is_elsewhere = bool(self._elsewhere) and (not self._clean or rng.random() < _ELSEWHERE)
        original = rng.choice(self._elsewhere if is_elsewhere else self._clean)
        copy = _Document(row, original.language, list(original.sentences))
        text = self._text(original)
        if kind == "near_duplicate":
            made = Dirty(dirt.retyped(copy.sentences, self._grammars[copy.language], rng), "retyped")
            alike = jaccard(shingles(text, copy.language), shingles(made.text, copy.language))
            self._write(copy, kind, made, original.row, alike)
            return
        made = Dirty(text, "same")
        if rng.random() < _DISGUISED:
            disguised = self._damaged(rng.choice(_DISGUISES), copy)
            if disguised.expected == text:
                made = Dirty(disguised.text, disguised.detail, text)
        self._write(copy, kind, made, original.row, 1.0)

    def _text(self, document: _Document) -> str:
        return self._grammars[document.language].joined(document.sentences)

    def _write(self, document: _Document, kind: str, made: Dirty, of: int = 0, alike: float = 0.0) -> None:
        name = f"d{document.row:09d}"
        line = {"id": name, "text": made.text, "lang": document.language}
        self.lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        self.truth.append(
            {
                "row": document.row,
                "id": name,
                "language": document.language,
                "kind": kind,
                "detail": made.detail,
                "of": of,
                "jaccard": alike,
                "expected": made.expected,
                "values": [{"kind": value.kind, "text": value.text, "is_real": value.is_real} for value in made.values],
            }
        )
