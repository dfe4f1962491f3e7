"""Every file of a source into documents, each with the way back to where it came from.

Plain text and tables are read here, as streams; everything else by the parsing process. An archive is its members, a
mail is its text and its attachments, a file elsewhere is brought here first. A file or record that cannot be used is
reported with its reason and the rest goes on, so one bad file never costs a night's run.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from tulou.core.disk import is_disk_full
from tulou.core.errors import DataError
from tulou.core.progress import Progress
from tulou.core.settings import SourceSettings
from tulou.data.collect import mail, subtitles, tables
from tulou.data.collect.archive import unpacked
from tulou.data.collect.batch import document_batches
from tulou.data.collect.files import ARCHIVE, Failure, SourceFile, file_digest, media_type_of
from tulou.data.collect.locate import Place, locate
from tulou.data.collect.parser import Parser, open_parser
from tulou.data.collect.piece import Piece, Refuse, file_title
from tulou.data.collect.ranges import read_in_ranges
from tulou.data.collect.speech import check_speech
from tulou.data.collect.text import read_text
from tulou.data.engine import Engine
from tulou.data.parquet import document_writer

_MAX_REASONS_PER_FILE = 20
_MAX_NESTED_MAILS = 3


def collect_files(
    source: SourceSettings, project: Path, out: Path, progress: Progress, engine: Engine | None = None
) -> dict[str, Any]:
    """Write `out/documents-*.parquet` (DOCUMENT) from the files that `source` names; `engine` reads large plain ones.

    Returns counts, and under "failed" what could not be used and why. Raises `DataError` where nothing came out at all,
    where a column named in the settings does not exist, and for a URL that leads out of the project.
    """
    speech_model = check_speech(source, project)
    places, failures = locate(source, project)
    by_media_type: Counter[str] = Counter()
    total_bytes = sum(place.size_bytes for place in places)
    files = 0
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".fetched-", dir=out) as scratch,
        document_writer(out) as writer,
        open_parser(speech_model) as parser,
        progress.bar(f"collect {source.name}", total=total_bytes, unit="B") as bar,
    ):
        desk = _Desk(source, parser, Path(scratch))
        for place in places:
            bar.note(place.uri)
            log = _FailureLog(place.uri)
            for file in _files_at(place, desk, log.refuse):
                files += 1
                own = log if file.uri == place.uri else _FailureLog(file.uri)
                with desk.room() as room:
                    parts = read_in_ranges(file, source, engine, Path(room)) if engine else None
                    for part in parts or ():
                        writer.adopt(part.path)
                        by_media_type[file.media_type] += part.rows
                if parts is None:
                    for batch in _batches(file, desk, own.refuse):
                        writer.write(batch)
                        by_media_type.update(batch.column("media_type").to_pylist())
                if own is not log:
                    failures.extend(own.failures())
            failures.extend(log.failures())
            bar.advance(place.size_bytes)
    count = by_media_type.total()
    if count == 0:
        raise DataError(_nothing(source, project, len(places), failures))
    return {
        "files": files,
        "documents": count,
        "by_media_type": dict(sorted(by_media_type.items())),
        "failed": [{"uri": failure.uri, "reason": failure.reason} for failure in failures],
        "bytes": total_bytes,
        **_remarks(by_media_type, speech_model),
    }


@dataclass(frozen=True)
class _Desk:
    """What reading a file takes: the source it belongs to, the parsing process, and room for temporary files."""

    source: SourceSettings
    parser: Parser
    scratch: Path

    def room(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(dir=self.scratch)


def _files_at(place: Place, desk: _Desk, refuse: Refuse) -> Iterator[SourceFile]:
    """The file, or an archive's members, one at a time; each is there only until the next is asked for."""
    with desk.room() as room:
        try:
            file = place.fetch(Path(room))
            if file.media_type != ARCHIVE:
                yield file
                return
            with desk.room() as members:
                yield from unpacked(file, Path(members), refuse, place.member_pattern)
        except DataError as err:
            refuse(str(err))
        except OSError as err:
            refuse(_unreadable(err))


def _batches(file: SourceFile, desk: _Desk, refuse: Refuse) -> Iterator[pa.RecordBatch]:
    """Batches of DOCUMENT; what stops this file is told to `refuse`, what stops the whole source is raised."""
    pieces = _whole_pieces(file, desk, refuse)
    return document_batches(pieces, file, desk.source.name, lambda: file_digest(file.path))


def _whole_pieces(file: SourceFile, desk: _Desk, refuse: Refuse) -> Iterator[Piece]:
    count = 0
    try:
        for piece in _pieces(file, desk, refuse):
            count += 1
            yield piece
    except tables.MissingColumnError:
        raise
    except DataError as err:
        refuse(str(err))
    except OSError as err:
        refuse(_unreadable(err))
    else:
        if count == 0:
            refuse("has nothing to read in it")


def _pieces(file: SourceFile, desk: _Desk, refuse: Refuse, mails: int = 0) -> Iterator[Piece]:
    if file.media_type in ("text/plain", "text/markdown"):
        return read_text(file.path, refuse)
    if read_table := _TABLES.get(file.media_type):
        return read_table(file.path, tables.TableShape(desk.source, file.uri, file_title(file.path)), refuse)
    if read_subtitles := _SUBTITLES.get(file.media_type):
        return read_subtitles(file.path)
    if file.media_type == mail.MEDIA_TYPE:
        return _mail(file, desk, refuse, mails)
    return _parsed(desk.parser.parse(file), file, desk, refuse)


_TABLES: dict[str, Callable[[Path, tables.TableShape, Refuse], Iterator[Piece]]] = {
    "text/csv": tables.csv_pieces,
    "text/tab-separated-values": partial(tables.csv_pieces, delimiter="\t"),
    "application/jsonl": tables.jsonl_pieces,
    "application/json": tables.json_pieces,
    "application/vnd.apache.parquet": tables.parquet_pieces,
}

_SUBTITLES: dict[str, Callable[[Path], Iterator[Piece]]] = {
    "application/x-subrip": subtitles.read_subtitles,
    "text/vtt": subtitles.read_subtitles,
}


def _parsed(answer: dict[str, Any], file: SourceFile, desk: _Desk, refuse: Refuse) -> Iterator[Piece]:
    for piece in answer.get("pieces", ()):
        if piece["text"].strip():
            yield Piece(**piece)
    for sheet in answer.get("sheets", ()):
        shape = tables.TableShape(desk.source, file.uri, sheet["name"], f"sheet={sheet['name']},")
        yield from tables.sheet_pieces(sheet["cells"], shape, refuse)


def _mail(file: SourceFile, desk: _Desk, refuse: Refuse, mails: int) -> Iterator[Piece]:
    message = mail.read_mail(file.path)
    person = message.person(desk.source.subject_id)
    for piece in message.pieces(file_title(file.path), _page_text(message.html, file, desk, refuse)):
        yield piece._replace(subject_id=person, modified_at=message.sent_at)
    inside = replace(desk, source=desk.source.model_copy(update={"subject_id": None})) if person else desk
    for name, content in message.attachments:
        for piece in _attachment(file, name, content, inside, refuse, mails):
            position = ",".join(filter(None, (f"attachment={name}", piece.position)))
            yield piece._replace(
                position=position,
                subject_id=piece.subject_id or person,
                modified_at=piece.modified_at or message.sent_at,
            )


def _page_text(html: str, file: SourceFile, desk: _Desk, refuse: Refuse) -> str:
    """The body of a mail that was written as a web page."""
    if not html.strip():
        return ""
    with desk.room() as room:
        page = Path(room, "body.html")
        page.write_text(html, encoding="utf-8", errors="replace")
        try:
            answer = desk.parser.parse(_beside(file, page, "text/html"))
        except DataError as err:
            refuse(f"its body {err}")
            return ""
    return "\n\n".join(piece["text"] for piece in answer.get("pieces", ()))


def _attachment(
    file: SourceFile, name: str, content: bytes, desk: _Desk, refuse: Refuse, mails: int
) -> Iterator[Piece]:
    """The pieces of one attachment, with a media type and hash of their own."""
    media_type = media_type_of(name)
    if media_type is None or media_type == ARCHIVE:
        refuse(f"attachment {name!r} is of a type that is not read here and was left out")
        return
    if media_type == mail.MEDIA_TYPE and mails >= _MAX_NESTED_MAILS:
        refuse(f"attachment {name!r} lies more than {_MAX_NESTED_MAILS} mails deep and was left out")
        return

    def refuse_part(reason: str) -> None:
        refuse(f"attachment {name!r}: {reason}")

    with desk.room() as room:
        path = Path(room, mail.safe_name(name))
        path.write_bytes(content)
        part = _beside(file, path, media_type)
        digest = file_digest(path)
        try:
            for piece in _pieces(part, desk, refuse_part, mails + 1):
                yield piece._replace(
                    media_type=piece.media_type or media_type, content_hash=piece.content_hash or digest
                )
        except DataError as err:  # a column missing in an attached table is no mistake in the settings
            refuse_part(str(err))


def _unreadable(err: OSError) -> str:
    if is_disk_full(err):  # of this machine's disk, and no failing of the file
        raise err
    return f"cannot be read: {err.strerror or err}"


def _beside(file: SourceFile, path: Path, media_type: str) -> SourceFile:
    return replace(file, path=path, media_type=media_type, size_bytes=path.stat().st_size)


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


def _remarks(by_media_type: Counter[str], speech_model: Path | None) -> dict[str, Any]:
    """What a reader of the summary should know about how the texts came about."""
    has_speech = any(media_type.startswith(("audio/", "video/")) for media_type in by_media_type)
    if not has_speech or speech_model is not None:
        return {}
    return {
        "remark": "speech was recognised by the embedded English recogniser, fit for short commands and not for "
        "dictation; for anything else name the folder of a Whisper model as speech_model"
    }


def _nothing(source: SourceSettings, project: Path, places: int, failures: list[Failure]) -> str:
    from tulou.core.urls import without_secrets

    url = without_secrets(source.url)
    if not places and not failures and "://" not in url and (project / url).is_dir():
        return f"source {source.name!r}: {url!r} is a folder; url = {url.rstrip('/') + '/**/*'!r} takes the files in it"
    if not places and not failures:
        return f"source {source.name!r}: no file matches {url!r}; check the url in tulou.toml"
    reasons = "; ".join(f"{failure.uri}: {failure.reason}" for failure in failures[:3])
    return f"source {source.name!r}: nothing could be read from {url!r} ({reasons})"
