"""One shard's work as it is handed out: small, picklable, and light to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tulou.core.settings import CleanSettings

EXAMPLES_PER_RULE = 3
LENGTH_EDGES = (0, 16, 64, 256, 1024, 4096, 16384, 65536, 1 << 31)  # characters


@dataclass(frozen=True)
class Shard:
    """One shard's work, picklable; the same for every step of it."""

    number: int
    rows: int
    pieces: tuple[tuple[str, tuple[int, ...]], ...]  # Parquet file and the numbers of its row groups
    folder: Path  # of its own results
    out: Path  # of the whole source
    project: Path  # that paths in the settings are relative to
    settings: CleanSettings
    is_labelled: bool
    speaks_for_itself: bool  # rows of tables are "column: value"
    is_compiled: bool
    words: Path | None = None  # what the speller learned from all shards
    token_key: bytes | None = field(default=None, repr=False)
