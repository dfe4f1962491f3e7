"""Every file of a source into documents, each with the way back to where it came from.

Plain text and tables are read here, as streams; everything else by the parsing process. A file or record that cannot be
used is reported with its reason and the rest goes on, so one bad file never costs a night's run.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tulou.core.errors import DataError
from tulou.core.progress import Progress
from tulou.core.settings import SourceSettings
from tulou.data.collect import tables
from tulou.data.collect.files import Failure, SourceFile, file_digest, find_files
from tulou.data.collect.parser import Parser, open_parser
from tulou.data.collect.piece import Piece, Refuse, file_title
from tulou.data.collect.text import read_text
from tulou.data.language import detect
from tulou.data.parquet import document_writer

_MAX_REASONS_PER_FILE = 20


def collect_files(source: SourceSettings, project: Path, out: Path, progress: Progress) -> dict[str, Any]:
    """Write `out/documents-*.parquet` (DOCUMENT) from the files that `source` names.

    Returns counts, and under "failed" what could not be used and why. Raises `DataError` where nothing came out at all,
    where a column named in the settings does not exist, and for a URL that leads out of the project.
    """
    files, failures = find_files(source, project)
    by_media_type: Counter[str] = Counter()
    total_bytes = sum(file.size_bytes for file in files)
    with (
        document_writer(out) as writer,
        open_parser() as parser,
        progress.bar(f"collect {source.name}", total=total_bytes, unit="B") as bar,
    ):
        for file in files:
            bar.note(file.uri)
            log = _FailureLog(file.uri)
            for row in _documents(file, source, parser, log.refuse):
                writer.add(row)
                by_media_type[file.media_type] += 1
            failures.extend(log.failures())
            bar.advance(file.size_bytes)
    count = by_media_type.total()
    if count == 0:
        raise DataError(_nothing(source, files, failures))
    return {
        "files": len(files),
        "documents": count,
        "by_media_type": dict(sorted(by_media_type.items())),
        "failed": [{"uri": failure.uri, "reason": failure.reason} for failure in failures],
        "bytes": total_bytes,
    }


def _documents(file: SourceFile, source: SourceSettings, parser: Parser, refuse: Refuse) -> Iterator[dict[str, Any]]:
    """Rows of DOCUMENT; what stops this file is told to `refuse`, what stops the whole source is raised."""
    try:
        digest = file_digest(file.path)
        count = 0
        for piece in _pieces(file, source, parser, refuse):
            count += 1
            yield _row(piece, file, source, digest)
        if count == 0:
            refuse("has nothing to read in it")
    except tables.MissingColumnError:
        raise
    except DataError as err:
        refuse(str(err))
    except OSError as err:
        refuse(f"cannot be read: {err.strerror or err}")


def _pieces(file: SourceFile, source: SourceSettings, parser: Parser, refuse: Refuse) -> Iterator[Piece]:
    if file.media_type in ("text/plain", "text/markdown"):
        return read_text(file.path, refuse)
    if read_rows := _ROWS.get(file.media_type):
        shape = tables.TableShape(source, file.uri, file_title(file.path))
        return tables.pieces(read_rows(file.path, refuse), shape)
    return _parsed(parser.parse(file), file, source, refuse)


_ROWS: dict[str, Callable[[Path, Refuse], Iterator[tuple[int, tables.Row]]]] = {
    "text/csv": tables.read_csv,
    "text/tab-separated-values": partial(tables.read_csv, delimiter="\t"),
    "application/jsonl": tables.read_jsonl,
    "application/json": tables.read_json,
}


def _parsed(answer: dict[str, Any], file: SourceFile, source: SourceSettings, refuse: Refuse) -> Iterator[Piece]:
    for piece in answer.get("pieces", ()):
        if piece["text"].strip():
            yield Piece(**piece)
    for sheet in answer.get("sheets", ()):
        shape = tables.TableShape(source, file.uri, sheet["name"], f"sheet={sheet['name']},")
        yield from tables.pieces(tables.read_cells(sheet["cells"], refuse), shape)


def _row(piece: Piece, file: SourceFile, source: SourceSettings, digest: str) -> dict[str, Any]:
    place = f"{source.name}\0{file.uri}\0{piece.position}"
    return {
        "id": hashlib.sha256(place.encode()).hexdigest()[:24],
        "source": source.name,
        "uri": file.uri,
        "position": piece.position,
        "media_type": file.media_type,
        "title": piece.title,
        "text": piece.text,
        "language": detect(piece.text),
        "label": piece.label,
        "subject_id": piece.subject_id,
        "content_hash": piece.content_hash or digest,
        "modified_at": file.modified_at,
    }


@dataclass
class _FailureLog:
    """Reasons for one file; beyond a few they are counted: a broken export repeats one reason a million times."""

    uri: str
    reasons: list[str] = field(default_factory=list)
    count: int = 0

    def refuse(self, reason: str) -> None:
        self.count += 1
        if len(self.reasons) < _MAX_REASONS_PER_FILE:
            self.reasons.append(reason)

    def failures(self) -> list[Failure]:
        surplus = self.count - len(self.reasons)
        more = [Failure(self.uri, f"and {surplus:,} more reasons like these")] if surplus else []
        return [Failure(self.uri, reason) for reason in self.reasons] + more


def _nothing(source: SourceSettings, files: list[SourceFile], failures: list[Failure]) -> str:
    if not files and not failures:
        return f"source {source.name!r}: no file matches {source.url!r}; check the url in tulou.toml"
    reasons = "; ".join(f"{failure.uri}: {failure.reason}" for failure in failures[:3])
    return f"source {source.name!r}: nothing could be read from {source.url!r} ({reasons})"
