"""The training rows that a classifier sees as nearest to a text: by the cosine of what its head is given.

Vectors of the training rows are computed once and kept in the file that is handed in; 10,000 rows of MiniLM take about
a minute and 15 MB. A neighbour is no cause: it shows what the model takes for alike, and its id leads to the record.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tulou.core.durable import replace_file
from tulou.core.tables import LABELLED
from tulou.model.libraries import load_torch
from tulou.model.rows import read_rows
from tulou.model.vocabulary import open_tokenizer

BATCH = 64
MAX_TOKENS = 256


@dataclass(frozen=True)
class Neighbour:
    id: str
    document_id: str
    text: str
    label: str
    cosine: float


def nearest(trained: Path, examples: Path, text: str, count: int, cache: Path | None = None) -> list[Neighbour]:
    """The `count` training rows of `examples` (LABELLED) nearest to `text` for the encoder in `trained`."""
    rows = [row for row in read_rows(examples, LABELLED) if row["split"] == "train"]
    vectors = _cached(trained, rows, cache)  # (N, H)
    cosines = vectors @ embed(trained, [text])[0]  # (N,)
    best = np.argsort(-cosines)[:count]
    return [_neighbour(rows[place], float(cosines[place])) for place in best]


def embed(trained: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """Mean-pooled, L2-normalised states of the encoder's body: (N, H)."""
    torch: Any = load_torch()
    from tulou.model.encoder import Encoder, load_encoder
    from tulou.model.training import pad

    model = Encoder(load_encoder(trained).body, None).eval()
    tokenizer = open_tokenizer(trained)
    tokenizer.enable_truncation(MAX_TOKENS)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    vectors = np.zeros((len(texts), model.body.config.hidden_size), np.float32)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        given = pad([ids[i] for i in chosen], 0)  # (B, T)
        mask = pad([[1] * len(ids[i]) for i in chosen], 0)  # (B, T)
        with torch.inference_mode():
            vectors[chosen] = model(given, mask).float().numpy()  # (B, H)
    return vectors


def _cached(trained: Path, rows: Sequence[Mapping[str, Any]], cache: Path | None) -> NDArray[np.float32]:
    if cache is not None and cache.is_file():
        known: NDArray[np.float32] = np.load(cache, allow_pickle=False)
        if len(known) == len(rows):
            return known
    vectors = embed(trained, [row["text"] for row in rows])
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.save(buffer, vectors)
        replace_file(cache, buffer.getvalue())
    return vectors


def _neighbour(row: Mapping[str, Any], cosine: float) -> Neighbour:
    return Neighbour(row["id"], row["document_id"], row["text"], row["label"], cosine)
