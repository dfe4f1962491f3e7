"""The members of a zip archive as files, one at a time, with bounds on what a hostile archive can do.

Nothing is unpacked under a name from inside: each member is written to a temporary file of ours and removed before the
next. Members that would expand out of proportion, lead out of the archive, are links, archives or locked are reported.
Names that older Chinese Windows programs wrote in GBK are read as such.
"""

from __future__ import annotations

import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from tulou.core.errors import DataError
from tulou.data.collect.files import ARCHIVE, Matches, SourceFile, glob_matcher, media_type_of, unknown_type
from tulou.data.collect.piece import Refuse

_MAX_MEMBERS = 10_000
_MAX_RATIO = 200  # deflate can reach 1,032; logs and tables reach 20 to 100
_SMALL_BYTES = 16 << 20  # up to here any ratio is harmless
_MAX_TOTAL_BYTES = 32 << 30
_CHUNK_BYTES = 1 << 20
_END_RECORD = b"PK\x05\x06"
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
    LookupError,
    struct.error,
)


def unpacked(file: SourceFile, room: Path, refuse: Refuse, pattern: str | None = None) -> Iterator[SourceFile]:
    """Members with a type we can read (and that match `pattern`), each there only until the next is asked for.

    Raises `DataError` where the file is no archive, or one that cannot be harmless.
    """
    count = _member_count(file.path)
    if count > _MAX_MEMBERS:
        raise DataError(f"holds {count:,} members; at most {_MAX_MEMBERS:,} are read, so divide it")
    matches = glob_matcher(pattern) if pattern else None
    try:
        archive = zipfile.ZipFile(file.path)
    except _BROKEN as err:
        raise DataError(f"is damaged, or no zip archive at all: {err}") from err
    total_bytes = 0
    with archive:
        for member in archive.infolist()[:_MAX_MEMBERS]:
            name = _name(member)
            if _is_beside_the_point(name, matches):
                continue
            total_bytes += member.file_size
            reason = _why_unusable(member, name, total_bytes)
            if reason:
                refuse(f"member {name!r} {reason}")
                continue
            path = room / PurePosixPath(name).name[-80:]
            try:
                with archive.open(member) as packed, path.open("wb") as target:
                    shutil.copyfileobj(packed, target, _CHUNK_BYTES)
            except _BROKEN as err:
                refuse(f"member {name!r} is damaged: {err}")
            else:
                yield _member_file(file, member, name, path)
            path.unlink(missing_ok=True)


def _member_count(path: Path) -> int:
    """How many members the archive declares, without reading them all into memory first."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - (1 << 16) - 22))
        tail = stream.read()
    place = tail.rfind(_END_RECORD)
    if place < 0 or len(tail) < place + 12:
        raise DataError("is damaged, or no zip archive at all: its end is missing")
    return int(struct.unpack_from("<H", tail, place + 10)[0])  # 65,535 where there are as many or more


def _is_beside_the_point(name: str, matches: Matches | None) -> bool:
    parts = PurePosixPath(name).parts
    is_hidden = any(part.startswith((".", "__MACOSX", "~$")) and part != ".." for part in parts)
    return name.endswith("/") or is_hidden or (matches is not None and not matches(name))


def _why_unusable(member: zipfile.ZipInfo, name: str, total_bytes: int) -> str | None:
    if not name or name.startswith("/") or ".." in PurePosixPath(name).parts or ":" in name[:2]:
        return "leads out of the archive and was left out"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link and was left out"
    if member.flag_bits & 1:
        return "is locked with a password"
    media_type = media_type_of(name)
    if media_type == ARCHIVE:
        return "is an archive within an archive; unpack it first"
    if media_type is None:
        return unknown_type(name)
    if member.file_size == 0:
        return "is empty"
    if member.file_size > _SMALL_BYTES and member.file_size > _MAX_RATIO * max(member.compress_size, 1):
        return f"would expand {member.file_size // max(member.compress_size, 1):,}-fold, as a bomb does; left out"
    if total_bytes > _MAX_TOTAL_BYTES:
        return f"is beyond the {_MAX_TOTAL_BYTES:,} bytes that one archive may expand to"
    return None


def _name(member: zipfile.ZipInfo) -> str:
    """The member's name; without the flag for UTF-8, zipfile has read the bytes as code page 437."""
    name = member.filename
    if not member.flag_bits & 0x800 and not name.isascii():
        raw = name.encode("cp437", errors="replace")
        for encoding in ("utf-8", "gb18030"):
            try:
                name = raw.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
    return name.replace("\\", "/")


def _member_file(file: SourceFile, member: zipfile.ZipInfo, name: str, path: Path) -> SourceFile:
    try:
        modified_at = datetime(*member.date_time, tzinfo=UTC).isoformat(timespec="seconds")
    except ValueError:
        modified_at = file.modified_at
    media_type = media_type_of(name)
    assert media_type is not None
    return SourceFile(path, f"{file.uri}!{name}", media_type, member.file_size, modified_at)
