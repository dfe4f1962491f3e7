"""A tiny classifier with rows that it can learn, for the tests of whatever cuts models down."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tulou.core.tables import LABELLED

WORDS = {
    "delivery": ["where is my parcel", "the parcel is late", "track my parcel"],
    "invoice": ["send me an invoice", "i need a tax receipt", "invoice for my order"],
    "refund": ["i want my money back", "refund me please", "return for a refund"],
}


def labelled_rows(count: int = 160, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of three labels, a tenth to validate and a tenth to test."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        label = rng.choice(list(WORDS))
        text = f"{rng.choice(['hi', 'hello', 'hey', 'dear shop'])}, {rng.choice(WORDS[label])}"
        split = {0: "validation", 1: "test"}.get(number % 10, "train")
        rows.append(
            {"id": str(number), "document_id": "d", "text": text, "label": label, "language": "en", "split": split}
        )
    return rows


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=LABELLED), folder / "labelled-0.parquet")
    return folder
