"""Pieces of one file into record batches of DOCUMENT, column by column.

A column is made from many values at once, which costs a fifth of making rows; a batch holds a few thousand pieces or
some megabytes of text, whichever comes first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa

from tulou.core.types import DOCUMENT
from tulou.data.collect.files import SourceFile
from tulou.data.collect.piece import Piece
from tulou.data.language import detect

_BATCH_ROWS = 4096
_BATCH_CHARS = 4_000_000
_FEW_ROWS = 512  # for fewer, loading the compiled survey takes longer than looking at each text

Languages = Callable[[pa.StringArray], list[str]]
"""Texts to "zh", "en" or "other"."""


def document_batches(
    pieces: Iterable[Piece], file: SourceFile, source: str, digest: Callable[[], str]
) -> Iterator[pa.RecordBatch]:
    """`digest` is asked for the file's hash, once, where a piece has none of its own."""
    known: list[str] = []

    def file_hash() -> str:
        if not known:
            known.append(digest())
        return known[0]

    for group in _groups(pieces):
        yield document_batch(group, file, source, file_hash)


def document_batch(
    pieces: Sequence[Piece], file: SourceFile, source: str, file_hash: Callable[[], str]
) -> pa.RecordBatch:
    positions, titles, texts, labels, subjects, hashes, media_types, times = zip(*pieces, strict=True)
    place = f"{source}\0{file.uri}\0".encode()
    sha256 = hashlib.sha256
    text_column = _strings(texts)
    columns = {
        "id": [sha256(place + position.encode("utf-8", "replace")).hexdigest()[:24] for position in positions],
        "source": [source] * len(pieces),
        "uri": [file.uri] * len(pieces),
        "position": positions,
        "media_type": [media_type or file.media_type for media_type in media_types],
        "title": titles,
        "text": text_column,
        "language": languages(text_column),
        "label": labels,
        "subject_id": subjects,
        "content_hash": [digest or file_hash() for digest in hashes],
        "modified_at": [time or file.modified_at for time in times],
    }
    arrays = [_strings(columns[name]) for name in DOCUMENT.names]
    return pa.RecordBatch.from_arrays(arrays, schema=DOCUMENT)


def languages(texts: pa.StringArray) -> list[str]:
    return [detect(text) for text in texts.to_pylist()]


def _groups(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    group: list[Piece] = []
    chars = 0
    for piece in pieces:
        group.append(piece)
        chars += len(piece.text)
        if len(group) >= _BATCH_ROWS or chars >= _BATCH_CHARS:
            yield group
            group, chars = [], 0
    if group:
        yield group


def _strings(values: pa.StringArray | Sequence[str | None]) -> pa.StringArray:
    if isinstance(values, pa.StringArray):
        return values
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        return pa.array([value and _whole(value) for value in values], pa.string())


def _whole(text: str) -> str:
    """`text` with halves of characters, which JSON can escape, put together or replaced."""
    return text.encode("utf-16-le", errors="surrogatepass").decode("utf-16-le", errors="replace")
