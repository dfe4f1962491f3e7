"""Files on other machines through fsspec: listed there, streamed to a temporary file here, identified by what is there.

Only what the URL names is asked for: a pattern is matched against listings, and over HTTP, which has none, each URL is
one file. Every wait is bounded, because some clients wait for a dead host for ever. What is shown of a URL, in a
document or an error, is without its secrets.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import tempfile
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from tulou.core.disk import is_disk_full
from tulou.core.errors import DataError
from tulou.core.extras import load_extra
from tulou.core.urls import split_options, without_secrets
from tulou.data.collect.files import MEDIA_TYPES, Failure, SourceFile, confined_pattern, media_type_of, unknown_type
from tulou.data.collect.locate import Place

_CONNECT_S = 5.0
_FIRST_ANSWER_S = 20.0
_LISTING_S = 300.0
_STALLED_S = 60.0
_CHUNK_BYTES = 8 << 20
_MAX_BYTES = 64 << 30  # of one file
_MAX_FILES = 100_000
_SPARE_BYTES = 1 << 30  # left on the disk beside a fetched file
_MAGIC = re.compile(r"[*?\[]")
_HTTP = ("http", "https")
_S3 = ("s3", "s3a")
_OURS = ("endpoint_url", "region")  # parameters of an s3:// URL, as the store has them
_PORTS = {"hdfs": None, "webhdfs": 9870, "ftp": 21, "sftp": 22, "ssh": 22}  # None: without a port it is a name service
_CLIENTS = {  # module and the extra that installs it, for the kinds we name; fsspec knows many more
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "hdfs": ("hdfs_native.fsspec", "hdfs"),
    "webhdfs": ("requests", "hdfs"),
}
_ELSEWHERE = ("reference", "git", "generic", "dir", "simplecache", "filecache", "blockcache", "cached", "asynclocal")
_TIMES = (
    "LastModified",
    "Last-Modified",
    "last_modified",
    "mtime",
    "modified",
    "modification_time",
    "modificationTime",
    "created",
)
_STAMPS = ("ETag", "etag", "checksum", "Content-MD5", "md5", *_TIMES)


@dataclass(frozen=True)
class _Server:
    """A file system, and how to speak of it."""

    files: Any  # fsspec's AbstractFileSystem
    path: str  # what the URL names there
    url: str  # fit to be shown
    source: str
    secrets: tuple[str, ...]

    def uri(self, path: str) -> str:
        """Stable across runs, and without secrets."""
        first, chain, rest = self.url.partition("::")
        scheme, _, place = first.partition("://")
        if scheme in _HTTP:
            return self.url
        names_host = scheme in _PORTS
        host = place.partition("/")[0] if names_host else ""
        return f"{scheme}://{host}{'/' if names_host else ''}{path.lstrip('/')}{chain}{rest}"

    def ask(self, call: Callable[[], Any], within_s: float, doing: str) -> Any:
        """The call's result. Raises `DataError` for whatever goes wrong, `FileNotFoundError` where nothing is there."""
        try:
            return _within(within_s, call)
        except TimeoutError as err:
            raise DataError(f"source {self.source!r}: {self.url} did not answer in {within_s:.0f} s; {_CHECK}") from err
        except FileNotFoundError:
            raise
        except Exception as err:  # each client has errors of its own, and all mean the same here
            if is_disk_full(err):
                raise
            why = self.cleaned(err)
            raise DataError(f"source {self.source!r}: {self.url} cannot be {doing}: {why}") from None

    def cleaned(self, err: BaseException) -> str:
        text = " ".join(str(err).split()) or type(err).__name__
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return re.sub(r"\w[\w+.-]*://[^\s'\"<>]+", lambda found: without_secrets(found[0]), text)[:300]


_CHECK = "check the address, and that the server runs"


def find_remote(url: str, source: str, project: Path) -> tuple[list[Place], list[Failure]]:
    """The readable files that `url` names, in a stable order, and what was found but cannot be used.

    Raises `DataError` where the server cannot be reached or refuses.
    """
    server = _connect(url, source, project)
    places: list[Place] = []
    failures: list[Failure] = []
    for path, info in sorted(_listed(server).items()):
        uri = server.uri(path)
        media_type = _media_type(path, info)
        if media_type is None:
            failures.append(Failure(uri, unknown_type(_name(path))))
        elif info.get("size") == 0:
            failures.append(Failure(uri, "is empty"))
        else:
            size = int(info.get("size") or 0)
            places.append(Place(uri, size, _fetching(server, path, uri, media_type, info)))
    return places, failures


def remote_digest(url: str, source: str, project: Path) -> str:
    """sha256 over names, sizes and what the server says identifies each content; else over the contents themselves."""
    server = _connect(url, source, project)
    total = hashlib.sha256()
    for path, info in sorted(_listed(server).items()):
        stamps = [f"{key}={info[key]}" for key in _STAMPS if info.get(key)]
        if not stamps:
            with tempfile.TemporaryDirectory() as room:
                stamps = [_fetched(server, path, info, Path(room))[1]]
        total.update(f"{server.uri(path)}\0{info.get('size')}\0{stamps[0]}\n".encode())
    return total.hexdigest()


# --- connecting -------------------------------------------------------------------------------------------------


def _connect(url: str, source: str, project: Path) -> _Server:
    import fsspec

    shown = "::".join(split_options(without_secrets(link), _OURS)[0] for link in url.split("::"))
    try:
        links, options, secrets = _links(url, source, project)
    except ValueError as err:  # such as a port that is no number
        raise DataError(f"source {source!r}: {shown} is no URL: {err}") from None
    try:
        files, path = _within(
            _FIRST_ANSWER_S, lambda: fsspec.core.url_to_fs("::".join(links), skip_instance_cache=True, **options)
        )
    except (ImportError, ValueError) as err:
        raise DataError(f"source {source!r}: {shown} cannot be read: {' '.join(str(err).split())[:200]}") from err
    except TimeoutError as err:
        raise DataError(f"source {source!r}: {shown} did not answer in {_FIRST_ANSWER_S:.0f} s; {_CHECK}") from err
    except Exception as err:  # noqa: BLE001  # each client has errors of its own
        raise DataError(f"source {source!r}: {shown} cannot be reached: {type(err).__name__}; {_CHECK}") from None
    return _Server(files, path, shown, source, tuple(secrets))


def _links(url: str, source: str, project: Path) -> tuple[list[str], dict[str, Any], list[str]]:
    """The links of a chained URL without credentials, what each client is told, and what no message may show."""
    links: list[str] = []
    options: dict[str, Any] = {}
    secrets: list[str] = []
    for link in url.split("::"):
        scheme = link.partition("://")[0] if "://" in link else ""
        if (scheme or link) in _ELSEWHERE:
            raise DataError(f"source {source!r}: {scheme or link}:: is not read; name the files themselves")
        if scheme in ("", "file", "local"):
            links.append(f"file://{project.resolve() / confined_pattern(link, source, project)}")
            continue
        if client := _CLIENTS.get(scheme):
            load_extra(*client, f"reading {scheme}://")
        _require_answer(link, scheme, source)
        bare, user, password = _without_user(link) if scheme != "memory" else (link, "", "")
        bare, ours = split_options(bare, _OURS) if scheme in _S3 else (bare, {})
        secrets += [part for part in (password, *re.findall(r"[?&][^=&]+=([^&]+)", link)) if len(part) > 2]
        links.append(bare)
        options[scheme] = _options(bare, user, password, ours)
    return links, options, secrets


def _require_answer(link: str, scheme: str, source: str) -> None:
    """Raises `DataError` within seconds where nobody listens, for clients that would wait much longer."""
    if scheme not in _PORTS:
        return
    parts = urlsplit(link)
    port = parts.port or _PORTS[scheme]
    if not parts.hostname or port is None:
        return
    try:
        socket.create_connection((parts.hostname, port), timeout=_CONNECT_S).close()
    except OSError as err:
        raise DataError(
            f"source {source!r}: nobody answers at {parts.hostname}:{port} ({err.strerror or err}); {_CHECK}"
        ) from err


def _without_user(link: str) -> tuple[str, str, str]:
    parts = urlsplit(link)
    host = parts.netloc.rpartition("@")[2]
    bare = urlunsplit(parts._replace(netloc=host)) if "@" in parts.netloc else link
    return bare, unquote(parts.username or ""), unquote(parts.password or "")


def _options(link: str, user: str, password: str, ours: dict[str, str]) -> dict[str, Any]:
    """What the client of the link's scheme is told; credentials that the URL lacks it finds in its own variables."""
    scheme = link.partition("://")[0]
    if scheme in _S3:
        patience = {"connect_timeout": _CONNECT_S, "read_timeout": _STALLED_S, "retries": {"max_attempts": 2}}
        keys = {"key": user, "secret": password} if user else {}
        place = {"endpoint_url": ours.get("endpoint_url"), "region_name": ours.get("region")}
        client = {"client_kwargs": {name: value for name, value in place.items() if value}}
        return {"config_kwargs": patience, "skip_instance_cache": True, "use_listings_cache": False, **client, **keys}
    if scheme in _HTTP:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_STALLED_S)
        session: dict[str, Any] = {"timeout": timeout, "trust_env": True}
        if user:
            token = b64encode(f"{user}:{password}".encode()).decode()
            session["headers"] = {"Authorization": f"Basic {token}"}
        return {"client_kwargs": session, "skip_instance_cache": True, "use_listings_cache": False}
    if scheme == "hdfs":
        if user:
            os.environ["HADOOP_USER_NAME"] = user  # the one place where the client looks for it
        return {"dfs.client.socket-timeout": str(int(_STALLED_S * 1000)), "dfs.client.failover.max.attempts": "3"}
    if scheme == "webhdfs":
        return {"port": urlsplit(link).port or _PORTS[scheme], **({"user": user} if user else {})}
    return {"username": user, "password": password} if scheme in _PORTS and user else {}


# --- listing ----------------------------------------------------------------------------------------------------


def _listed(server: _Server) -> dict[str, dict[str, Any]]:
    """What fsspec says of each file that the URL names, by its path there."""
    is_http = server.url.startswith(("http://", "https://"))
    if is_http and "*" in server.path:
        raise DataError(
            f"source {server.source!r}: {server.url}: HTTP has no listing, so '*' matches nothing; name a file"
        )
    try:
        if is_http or not _MAGIC.search(server.path):
            info = server.ask(lambda: server.files.info(server.path), _FIRST_ANSWER_S, "read")
            if info.get("type") == "directory":
                raise DataError(f"source {server.source!r}: {server.url} is a folder; add /**/* for the files in it")
            return {server.path: info}
        found = server.ask(lambda: server.files.glob(server.path, detail=True), _LISTING_S, "listed")
    except FileNotFoundError:
        return {}
    files = {path: info for path, info in found.items() if info.get("type") == "file" and not _is_hidden(path)}
    if len(files) > _MAX_FILES:
        raise DataError(f"source {server.source!r}: {server.url} matches {len(files):,} files; divide the source")
    return files


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "~$")) for part in PurePosixPath(path).parts)


def _name(path: str) -> str:
    """The file's own name; of an HTTP URL without its query."""
    return unquote(PurePosixPath(urlsplit(path).path if "://" in path else path).name)


def _media_type(path: str, info: dict[str, Any]) -> str | None:
    told = str(info.get("mimetype") or "").partition(";")[0]
    return media_type_of(_name(path)) or (told if told in MEDIA_TYPES.values() else None)


def _modified_at(info: dict[str, Any]) -> str:
    """ISO 8601; empty where the server does not say."""
    for key in _TIMES:
        value = info.get(key)
        try:
            if isinstance(value, str):
                value = parsedate_to_datetime(value)
            elif isinstance(value, (int, float)):  # seconds, or milliseconds where it would be far in the future
                value = datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
        except (ValueError, TypeError, OverflowError, OSError):
            continue
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")
    return ""


# --- fetching ---------------------------------------------------------------------------------------------------


def _fetching(
    server: _Server, path: str, uri: str, media_type: str, info: dict[str, Any]
) -> Callable[[Path], SourceFile]:
    def fetch(room: Path) -> SourceFile:
        try:
            local, _ = _fetched(server, path, info, room)
        except FileNotFoundError as err:
            raise DataError("is no longer there") from err
        return SourceFile(local, uri, media_type, local.stat().st_size, _modified_at(info))

    return fetch


def _fetched(server: _Server, path: str, info: dict[str, Any], room: Path) -> tuple[Path, str]:
    """The content in a file of `room`, and its sha256."""
    size = info.get("size")
    limit = min(_MAX_BYTES, shutil.disk_usage(room).free - _SPARE_BYTES)
    if size is not None and size > limit:
        raise DataError(f"is {size:,} bytes; there is room for {max(limit, 0):,}")
    local = room / (re.sub(r"[^\w.\- ]", "_", _name(path))[-80:] or "file")
    digest = hashlib.sha256()
    count = 0
    stream = server.ask(lambda: server.files.open(path, "rb"), _STALLED_S, "opened")
    try:
        with local.open("wb") as target:
            while chunk := server.ask(lambda: stream.read(_CHUNK_BYTES), _STALLED_S, "read"):
                count += len(chunk)
                if count > limit:
                    raise DataError(f"is more than {max(limit, 0):,} bytes; there is no room for it")
                digest.update(chunk)
                target.write(chunk)
    finally:
        stream.close()
    if size is not None and count != size:
        raise DataError(f"ended after {count:,} of {size:,} bytes")
    return local, digest.hexdigest()


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """What `call` returns or raises, or `TimeoutError`; a call that never comes back is left behind in its thread."""
    outcome: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            outcome.append((True, call()))
        except BaseException as err:  # noqa: BLE001  # handed to the caller's thread
            outcome.append((False, err))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TimeoutError
    is_done, value = outcome[0]
    if not is_done:
        raise value
    return value
