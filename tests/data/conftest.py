"""Small things that tests of the data storey share."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tulou.data.parquet import document_writer

WriteDocuments = Callable[..., Path]


@pytest.fixture
def write_documents(tmp_path: Path) -> WriteDocuments:
    """Write DOCUMENT rows from dicts of what matters; returns their folder."""

    def write(rows: Sequence[dict[str, Any]], name: str = "documents") -> Path:
        folder = tmp_path / name
        with document_writer(folder) as writer:
            for number, row in enumerate(rows, 1):
                writer.add(
                    {
                        "id": f"d{number}",
                        "source": "source",
                        "uri": "data/file.csv",
                        "position": f"row={number}",
                        "media_type": "text/csv",
                        "title": "",
                        "language": "en",
                        "label": None,
                        "subject_id": None,
                        "content_hash": "0",
                        "modified_at": "2026-01-01T00:00:00+00:00",
                        **row,
                    }
                )
        return folder

    return write


@pytest.fixture
def encode() -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """Deterministic unit vectors that mean nothing: equal texts are equal, others nearly orthogonal."""

    def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.stack([np.random.default_rng(zlib.crc32(text.encode())).normal(size=64) for text in texts])
        unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit

    return vectors
