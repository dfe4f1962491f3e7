"""Pieces of one file into record batches of DOCUMENT, column by column.

A column is made from many values at once, which costs a fifth of making rows; a batch holds a few thousand pieces or
some megabytes of text, whichever comes first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa

from tulou.core.tables import DOCUMENT
from tulou.data.collect.files import SourceFile
from tulou.data.collect.piece import Columns, Piece
from tulou.data.language import detect

_BATCH_ROWS = 4096
_BATCH_CHARS = 4_000_000
_FEW_ROWS = 512  # for fewer, loading Numba takes longer than looking at each text


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
        yield document_batch(Columns(*zip(*group, strict=True)), file, source, file_hash)


def document_batch(pieces: Columns, file: SourceFile, source: str, file_hash: Callable[[], str]) -> pa.RecordBatch:
    count = len(pieces.text)
    place = f"{source}\0{file.uri}\0".encode()
    sha256 = hashlib.sha256
    text_column = _strings(pieces.text)
    columns = {
        "id": _strings([sha256(place + _bytes(position)).hexdigest()[:24] for position in pieces.position]),
        "source": pa.repeat(source, count),
        "uri": pa.repeat(file.uri, count),
        "position": _strings(pieces.position),
        "media_type": _with_default(pieces.media_type, file.media_type),
        "title": _strings(pieces.title),
        "text": text_column,
        "language": languages(text_column),
        "label": _strings(pieces.label),
        "subject_id": _strings(pieces.subject_id),
        "content_hash": _with_default(pieces.content_hash, None if all(pieces.content_hash) else file_hash()),
        "modified_at": _with_default(pieces.modified_at, file.modified_at),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in DOCUMENT.names], schema=DOCUMENT)


def languages(texts: pa.StringArray) -> pa.StringArray:
    """ "zh", "en" or "other" for each; a handful is not worth loading the compiled count for."""
    if len(texts) < _FEW_ROWS:
        return pa.array([detect(text) for text in texts.to_pylist()], pa.string())
    from tulou.data.kernels.scripts import languages as compiled

    return compiled(texts)


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


def _with_default(values: Sequence[str | None], default: str | None) -> pa.StringArray:
    if default is None:
        return _strings(values)
    return _strings([value or default for value in values]) if any(values) else pa.repeat(default, len(values))


def _strings(values: Sequence[str | None]) -> pa.StringArray:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        return pa.array([value and _whole(value) for value in values], pa.string())


def _bytes(position: str) -> bytes:
    return position.encode("utf-8", errors="replace")


def _whole(text: str) -> str:
    """`text` with halves of characters, which JSON can escape, put together or replaced."""
    return text.encode("utf-16-le", errors="surrogatepass").decode("utf-16-le", errors="replace")
