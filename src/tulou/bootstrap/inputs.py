"""What stages read: the rows of other stages, and digests of what lies outside: the exam, a base of the user's."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.bootstrap.project import Project
from tulou.loop.exam import load_questions

if TYPE_CHECKING:
    import pyarrow as pa


def tables(folder: Path, pattern: str) -> Iterator[pa.Table]:
    """The row groups of the Parquet files in `folder`, one at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in sorted(folder.glob(pattern)):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield pa.Table.from_batches([batch])


def read_splits(path: Path) -> dict[str, int]:
    """How many rows of each split a Parquet file has."""
    import pyarrow.parquet as pq

    return dict(Counter(pq.read_table(path, columns=["split"]).column("split").to_pylist()))


def exam_texts(project: Project) -> list[str]:
    path = project.folder / project.settings.exam.questions
    return [question.question for question in load_questions(path)] if path.exists() else []


def exam_digest(project: Project) -> str:
    digest = hashlib.sha256()
    for name in (project.settings.exam.questions, project.settings.exam.off_topic):
        path = project.folder / name
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()[:16]


def base_digest(project: Project, base: str) -> str:
    """Digest of a base that is a folder of the user's: names, sizes and times, because weights are large."""
    folder = project.folder / base
    if not folder.is_dir():
        return base
    entries: list[Any] = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())
    ]
    return hashlib.sha256(repr(entries).encode()).hexdigest()[:16]
