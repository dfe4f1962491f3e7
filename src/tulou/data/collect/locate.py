"""Where the files of a source are: in the project, or wherever fsspec reaches, perhaps inside an archive there.

A place is known by name and size; its content is brought to this machine only while it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tulou.core.settings import SourceSettings
from tulou.core.urls import expand
from tulou.data.collect.files import ARCHIVE, Failure, SourceFile, find_files, local_digest

Fetch = Callable[[Path], SourceFile]
"""Given an empty folder, the file with its content on this machine: in that folder, or where it is anyway."""


@dataclass(frozen=True)
class Place:
    uri: str
    size_bytes: int
    fetch: Fetch
    member_pattern: str | None = None  # which members of an archive are meant; None: all


def locate(source: SourceSettings, project: Path) -> tuple[list[Place], list[Failure]]:
    """The files that `source.url` names, in a stable order, and what was found but cannot be used.

    Raises `DataError` for a URL that leads out of the project or cannot be reached.
    """
    url, pattern = _without_archive(expand(source.url))
    if _is_remote(url):
        from tulou.data.collect.remote import find_remote

        places, failures = find_remote(url, source.name, project)
    else:
        files, failures = find_files(url, source.name, project)
        places = [Place(file.uri, file.size_bytes, _at_hand(file)) for file in files]
    if pattern is not None:
        places = [replace(place, fetch=_as_archive(place.fetch), member_pattern=pattern) for place in places]
    return places, failures


def files_digest(source: SourceSettings, project: Path, on_large: Callable[[], None] | None = None) -> str:
    """sha256 over the names and contents of the files, or over what a distant server says identifies their contents.

    `on_large` is called before a large file is read that was not seen as it is.
    """
    url, _ = _without_archive(expand(source.url))
    if _is_remote(url):
        from tulou.data.collect.remote import remote_digest

        return remote_digest(url, source.name, project)
    return local_digest(url, source.name, project, on_large)


def _without_archive(url: str) -> tuple[str, str | None]:
    """The archive's own URL and the pattern for its members; archives are opened by us, with bounds."""
    if url.startswith("zip://") and "::" in url:
        pattern, _, rest = url.removeprefix("zip://").partition("::")
        return rest, pattern or "**/*"
    return url, None


def _is_remote(url: str) -> bool:
    return "::" in url or ("://" in url and not url.startswith(("file://", "local://")))


def _at_hand(file: SourceFile) -> Fetch:
    return lambda _: file


def _as_archive(fetch: Fetch) -> Fetch:
    return lambda room: replace(fetch(room), media_type=ARCHIVE)
