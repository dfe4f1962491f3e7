"""The bookshop of `bookshop.toml` behind a real index; by words only, which is what Chinese has anyway."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tulou.core.progress import Silent
from tulou.core.tables import PASSAGE
from tulou.core.types import Hit, Passage
from tulou.data.search.index import SearchIndex, build_index, open_index

# topic, language, title, heading, text
_SHOP = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))

# Each question with its language and the topics whose passage answers it.
QUESTIONS = [(each["text"], each["language"], set(each["topics"])) for each in _SHOP["question"]]
OFF_TOPIC = [each["text"] for each in _SHOP["off_topic"]]


@dataclass(frozen=True)
class Bookshop:
    """The passages in a real index; lexical only, which is what Chinese has anyway."""

    index: SearchIndex

    async def search(self, query: str, k: int) -> list[Hit]:
        return self.index.search(query, None, k)

    def hits(self, query: str, k: int = 8) -> list[Hit]:
        return self.index.search(query, None, k)


def passage(topic: str, language: str) -> Passage:
    return next(each for each in passages() if each.id == f"{topic}.{language}")


def passages() -> list[Passage]:
    return [
        Passage(
            id=f"{row['topic']}.{row['language']}",
            document_id=f"doc-{row['topic']}.{row['language']}",
            source="knowledge",
            uri=f"{row['topic']}.{row['language']}.md",
            position="",
            title=row["title"],
            heading=row["heading"],
            text=row["text"],
            language=row["language"],
        )
        for row in _SHOP["passage"]
    ]


def open_bookshop(folder: Path) -> Bookshop:
    rows = [vars(each) for each in passages()]
    build_index(pa.Table.from_pylist(rows, schema=PASSAGE).to_batches(), _no_vectors, folder, Silent())
    return Bookshop(open_index(folder))


def _no_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.tile(np.array([1.0, 0.0], dtype=np.float32), (len(texts), 1))
