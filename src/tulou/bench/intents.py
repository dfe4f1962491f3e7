"""A labelled data set as published, `train.csv` and `test.csv`, brought into the rows that a classifier learns from.

Part of the training rows is held out for validation, drawn by seed, because published sets have none and a search that
chose on the test rows would flatter itself. Meant for BANKING77 (Casanueva et al. 2020, CC-BY-4.0), which has the
columns `text` and `category`.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tulou.core.errors import DataError
from tulou.core.tables import LABELLED

VALIDATION_SHARE = 0.05  # 500 of BANKING77's 10,003 rows
_LABELS = ("category", "label", "intent")


def write_labelled(data: Path, out: Path, seed: int = 0, limit: int | None = None) -> dict[str, int]:
    """Write LABELLED rows made of `data/train.csv` and `data/test.csv` to `out`; return how many in each split.

    `limit` keeps so many training rows and a third as many test rows. Raises `DataError` where a file or a column is
    missing.
    """
    rng = random.Random(seed)
    train, test = list(_rows(data / "train.csv")), list(_rows(data / "test.csv"))
    if limit is not None:
        train, test = rng.sample(train, min(limit, len(train))), rng.sample(test, min(-(-limit // 3), len(test)))
    held_out = set(rng.sample(range(len(train)), round(len(train) * VALIDATION_SHARE)))
    rows = [
        *(_labelled("train", n, row, "validation" if n in held_out else "train") for n, row in enumerate(train)),
        *(_labelled("test", n, row, "test") for n, row in enumerate(test)),
    ]
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=LABELLED), out / "labelled-00000.parquet")
    return {split: sum(row["split"] == split for row in rows) for split in ("train", "validation", "test")}


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            label = next((name for name in _LABELS if name in columns), None)
            if "text" not in columns or label is None:
                raise DataError(f"{path} needs a column 'text' and one of {', '.join(_LABELS)}; it has {list(columns)}")
            for row in reader:
                yield row["text"], row[label]
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; --data names a folder with train.csv and test.csv") from None


def _labelled(file: str, number: int, row: tuple[str, str], split: str) -> dict[str, str]:
    text, label = row
    name = f"{file}-{number:06d}"
    return {"id": name, "document_id": name, "text": text, "label": label, "language": "en", "split": split}
