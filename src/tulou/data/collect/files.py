"""Which files a source names, confined to the project, and a digest that says whether any of them changed.

A `url` is a glob relative to the project folder (`**` crosses folders). Links that lead out of the project, folders
that cannot be opened and file types nobody can read are reported, never silently skipped. Digests are cached by size
and modification time, so that a second run reads no file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from tulou.core.errors import DataError

MEDIA_TYPES = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".txt": "text/plain",
    ".log": "text/plain",
    ".html": "text/html",
    ".htm": "text/html",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".ndjson": "application/jsonl",
    ".parquet": "application/vnd.apache.parquet",
    ".eml": "message/rfc822",
    ".srt": "application/x-subrip",
    ".vtt": "text/vtt",
    ".zip": "application/zip",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".flac": "audio/flac",
    ".mp4": "video/mp4",
}
_LARGE_BYTES = 64 << 20  # several processes will read such a file, see ranges.py
ARCHIVE = MEDIA_TYPES[".zip"]

Matches = Callable[[str], bool]

_DIGEST_CACHE = Path(".tulou/cache/digests.json")
_RACY_S = 2.0  # a file this young may change again within its timestamp's resolution, so its digest is not cached


@dataclass(frozen=True)
class SourceFile:
    path: Path
    uri: str  # relative to the project, with forward slashes
    media_type: str
    size_bytes: int
    modified_at: str  # ISO 8601, UTC


@dataclass(frozen=True)
class Failure:
    """What could not be used, and why."""

    uri: str
    reason: str


def media_type_of(name: str) -> str | None:
    """By the ending; None for one that nobody here can read."""
    return MEDIA_TYPES.get(PurePosixPath(name).suffix.lower())


def unknown_type(name: str) -> str:
    known = " ".join(sorted({suffix[1:] for suffix in MEDIA_TYPES}))
    return f"files of type {PurePosixPath(name).suffix or 'without an ending'} cannot be read; known types: {known}"


def find_files(url: str, source: str, project: Path) -> tuple[list[SourceFile], list[Failure]]:
    """The readable files that the pattern `url` names, in a stable order, and what was found but cannot be used.

    Raises `DataError` for a pattern that leads out of the project.
    """
    pattern = confined_pattern(url, source, project)
    matches = glob_matcher(pattern)
    root = project.resolve()
    files: list[SourceFile] = []
    failures: list[Failure] = []
    for path in _walk(project, _fixed_prefix(pattern), failures):
        uri = _shown(path.relative_to(project).as_posix())
        if not matches(uri) or path.name.startswith("~$"):  # ~$ is Office's lock file beside an open document
            continue
        reason = _why_unusable(path, root)
        if reason:
            failures.append(Failure(uri, reason))
            continue
        stat = path.stat()
        modified_at = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(timespec="seconds")
        files.append(SourceFile(path, uri, MEDIA_TYPES[path.suffix.lower()], stat.st_size, modified_at))
    return sorted(files, key=lambda file: file.uri), sorted(failures, key=lambda failure: failure.uri)


def file_digest(path: Path) -> str:
    """sha256 of the file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def local_digest(url: str, source: str, project: Path, on_large: Callable[[], None] | None = None) -> str:
    """sha256 over the paths and contents of the files that the pattern `url` names.

    `on_large` is called before a large file is read that was not seen as it is.
    """
    files, failures = find_files(url, source, project)
    cache_path = project / _DIGEST_CACHE
    cache = _read_cache(cache_path)
    total = hashlib.sha256()
    is_changed = False
    for file in files:
        stat = file.path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = cache.get(file.uri)
        if known is not None and known[:3] == stamp:
            digest = str(known[3])
        else:
            if on_large is not None and stat.st_size >= _LARGE_BYTES:
                on_large()
            digest = _digest_or_reason(file.path)
            if time.time() - stat.st_mtime > _RACY_S:
                cache[file.uri] = [*stamp, digest]
                is_changed = True
        total.update(f"{file.uri}\0{digest}\n".encode())
    for failure in failures:
        total.update(f"{failure.uri}\0{failure.reason}\n".encode())
    if is_changed:
        _write_cache(cache_path, cache)
    return total.hexdigest()


def confined_pattern(url: str, source: str, project: Path) -> str:
    """The pattern relative to the project. Raises `DataError` where it leads out of it."""
    shown, url = url, url.removeprefix("file://").removeprefix("local://")
    if Path(url).is_absolute():
        try:
            url = Path(url).relative_to(project.resolve()).as_posix()
        except ValueError:
            raise DataError(
                f"source {source!r}: {shown} lies outside the project {project}; copy or mount it inside"
            ) from None
    if ".." in PurePosixPath(url).parts:
        raise DataError(f"source {source!r}: url {shown!r} leads out of the project; '..' is not allowed")
    return PurePosixPath(url).as_posix()


def _shown(uri: str) -> str:
    """A name on disk need not be valid UTF-8, a column of Arrow must."""
    return uri.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")


def _fixed_prefix(pattern: str) -> str:
    """The folder that every match lies under."""
    parts = PurePosixPath(pattern).parts
    fixed = []
    for part in parts[:-1]:
        if re.search(r"[*?\[]", part):
            break
        fixed.append(part)
    return "/".join(fixed)


def _walk(project: Path, start: str, failures: list[Failure]) -> list[Path]:
    """All files under `start`, hidden ones left out; folders that cannot be opened become failures."""
    found: list[Path] = []

    def cannot_open(err: OSError) -> None:
        if not isinstance(err, FileNotFoundError):
            uri = _shown(Path(err.filename).relative_to(project).as_posix())
            failures.append(Failure(uri, f"the folder cannot be opened: {err.strerror}"))

    for folder, subfolders, names in os.walk(project / start, onerror=cannot_open):
        for name in list(subfolders):
            path = Path(folder, name)
            if name.startswith("."):
                subfolders.remove(name)
            elif path.is_symlink():
                subfolders.remove(name)
                failures.append(
                    Failure(
                        _shown(path.relative_to(project).as_posix()),
                        "is a link to a folder, and those are not followed",
                    )
                )
        subfolders.sort()
        found.extend(Path(folder, name) for name in sorted(names) if not name.startswith("."))
    return found


def glob_matcher(pattern: str) -> Matches:
    """A matcher for `pattern`: `*` and `?` stay within a folder, `**` crosses folders, `[...]` is a set."""
    parts = []
    for part in PurePosixPath(pattern).parts:
        if part == "**":
            parts.append("(?:[^/]+/)*")
            continue
        piece = re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        piece = re.sub(r"\\\[(.*?)\\\]", lambda m: "[" + m[1].replace("!", "^", 1).replace("\\", "") + "]", piece)
        parts.append(piece + "/")
    regex = "".join(parts)
    regex = regex.removesuffix("/") if regex.endswith("/") else regex + "[^/]+"
    return lambda uri: re.fullmatch(regex, uri) is not None


def _why_unusable(path: Path, root: Path) -> str | None:
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as err:
        return f"cannot be opened: {getattr(err, 'strerror', None) or err}"
    if not real.is_relative_to(root):
        return "is a link that leads out of the project"
    if not real.is_file():
        return "is not a regular file"
    if media_type_of(path.name) is None:
        return unknown_type(path.name)
    if path.stat().st_size == 0:
        return "is empty"
    if not os.access(path, os.R_OK):
        return "cannot be opened: Permission denied"
    return None


def _digest_or_reason(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as err:
        return f"unreadable: {err.strerror}"  # collect will report it; the digest changes once it can be read


def _read_cache(path: Path) -> dict[str, list[int | str]]:
    try:
        cache = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cache if isinstance(cache, dict) else {}


def _write_cache(path: Path, cache: dict[str, list[int | str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(cache, ensure_ascii=False), encoding="utf-8")
    os.replace(partial, path)
