"""Passages and meaningless vectors for tests of indices."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tulou.core.tables import PASSAGE

DIMENSIONS = 16


def row(key: str, text: str, **values: Any) -> dict[str, Any]:
    return {
        "id": key,
        "document_id": f"doc-{key}",
        "source": "faq",
        "uri": f"data/{key}.md",
        "position": "",
        "title": "",
        "heading": "",
        "text": text,
        "language": "en",
        "modified_at": "2026-06-15T12:00:00+00:00",
        **values,
    }


def batch(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=PASSAGE)


def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """Deterministic unit vectors (texts, DIMENSIONS): equal texts are equal."""
    if not texts:
        return np.empty((0, DIMENSIONS), dtype=np.float32)
    rows = np.stack([np.random.default_rng(zlib.crc32(text.encode())).normal(size=DIMENSIONS) for text in texts])
    unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit
