"""From a URL to the file system behind it, with what differs between them: how a small file appears in one step.

A local file and one on HDFS are renamed into place, an object in S3 appears whole by itself. A server that does not
answer is found out within seconds, before hours of work are to be written to it; clients left alone try for minutes.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tulou.core.durable import replace_file
from tulou.core.errors import DataError, SettingsError
from tulou.core.extras import load_extra
from tulou.core.urls import split_options, without_secrets

CONNECT_TIMEOUT_S = 5.0
_ANSWER_TIMEOUT_S = 15.0  # for the first answer of a server that accepts connections
_SILENT_SERVER_MS = 60_000


@dataclass(frozen=True)
class FileSystem:
    files: Any  # fsspec's
    root: str
    shown: str  # the URL without credentials, for messages
    replace: Callable[[str, bytes], None]  # puts a small file in one step, in the place of another where there is one
    has_folders: bool = True


def local_system(root: Path) -> FileSystem:
    import fsspec

    def replace(path: str, content: bytes) -> None:
        replace_file(Path(path), content)

    return FileSystem(fsspec.filesystem("file"), str(root), str(root), replace)


def open_file_system(url: str) -> FileSystem:
    """Raises `SettingsError` for a kind of URL nobody knows, `DataError` where a server does not answer."""
    scheme = url.partition("://")[0].lower()
    return _SYSTEMS.get(scheme, _any)(url)


def _any(url: str) -> FileSystem:
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ValueError, ImportError, OSError) as err:
        raise SettingsError(f"data.store {without_secrets(url)!r} cannot be used: {err}") from err
    return FileSystem(files, str(root), without_secrets(url), files.pipe_file)


def _s3(url: str) -> FileSystem:
    """`s3://[KEY:SECRET@]BUCKET/PREFIX`; others than Amazon's by `?endpoint_url=`, keys also as AWS has them."""
    s3fs = load_extra("s3fs", "s3", "a store in S3")
    plain, options = split_options(url, ("endpoint_url", "region"))
    parts = urlsplit(plain)
    client = {"endpoint_url": options.get("endpoint_url"), "region_name": options.get("region")}
    files = s3fs.S3FileSystem(
        key=unquote(parts.username) if parts.username else None,
        secret=unquote(parts.password) if parts.password else None,
        client_kwargs={name: value for name, value in client.items() if value},
        config_kwargs={"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": 60, "retries": {"max_attempts": 2}},
        use_listings_cache=False,  # another process writes too
        skip_instance_cache=True,
    )
    if options.get("endpoint_url"):
        require_listener(options["endpoint_url"], 443 if options["endpoint_url"].startswith("https") else 80)
    shown = without_secrets(plain)
    return FileSystem(files, shown.removeprefix("s3://"), shown, files.pipe_file, has_folders=False)


def _hdfs(url: str) -> FileSystem:
    """`hdfs://[USER@]NAMENODE:PORT/PATH`, or `hdfs://NAMESERVICE/PATH` as HADOOP_CONF_DIR has it; without Java."""
    native = load_extra("hdfs_native.fsspec", "hdfs", "a store in HDFS")
    parts = urlsplit(url)
    if parts.username:
        os.environ["HADOOP_USER_NAME"] = unquote(parts.username)  # the one place where the client looks for it
    if parts.port:
        require_listener(url, parts.port)
    patience = {
        "dfs.client.socket-timeout": str(_SILENT_SERVER_MS),
        "dfs.client.failover.max.attempts": "3",
        "dfs.client.failover.sleep.base.millis": "100",
        "dfs.client.failover.sleep.max.millis": "1000",
    }
    files = native.HdfsFileSystem(host=parts.hostname, port=parts.port, skip_instance_cache=True, **patience)
    shown = without_secrets(url).partition("?")[0]
    _require_answer(lambda: files.exists("/"), shown)

    def replace(path: str, content: bytes) -> None:
        partial = f"{path}.{uuid.uuid4().hex}.partial"
        files.pipe_file(partial, content)
        files.mv(partial, path, overwrite=True)

    return FileSystem(files, parts.path or "/", shown, replace)


def _webhdfs(url: str) -> FileSystem:
    """`webhdfs://[USER@]NAMENODE:9870/PATH`; `swebhdfs://` over TLS."""
    load_extra("requests", "hdfs", "a store in HDFS")
    from tulou.data.store.webhdfs import WebHdfs

    parts = urlsplit(url)
    port = parts.port or 9870  # Hadoop 3; fsspec's own default is Hadoop 2's
    require_listener(url, port)
    user = unquote(parts.username) if parts.username else os.environ.get("HADOOP_USER_NAME")
    files = WebHdfs(
        parts.hostname,
        port,
        user=user,
        password=unquote(parts.password) if parts.password else None,
        use_https=parts.scheme.startswith("s"),
        skip_instance_cache=True,
    )
    shown = without_secrets(url).partition("?")[0]
    _require_answer(lambda: files.exists("/"), shown)
    return FileSystem(files, parts.path or "/", shown, files.replace_file)


_SYSTEMS: dict[str, Callable[[str], FileSystem]] = {
    "s3": _s3,
    "hdfs": _hdfs,
    "webhdfs": _webhdfs,
    "swebhdfs": _webhdfs,
}


def require_listener(url: str, port: int) -> None:
    """Raises `DataError` where nothing listens at the host of `url` within seconds."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "localhost", parts.port or port), CONNECT_TIMEOUT_S).close()
    except OSError as err:
        raise DataError(f"the store {without_secrets(url)} cannot be reached: {err}") from err


def _require_answer(ask: Callable[[], object], shown: str) -> None:
    """Raises `DataError` where a server says nothing; the client, which has no timeout there, is left waiting."""
    failure: list[Exception] = []

    def asking() -> None:
        try:
            ask()
        except Exception as err:  # noqa: BLE001  # handed to the one who asked
            failure.append(err)

    thread = threading.Thread(target=asking, daemon=True)
    thread.start()
    thread.join(_ANSWER_TIMEOUT_S)
    if thread.is_alive():
        raise DataError(f"the store {shown} accepts connections but does not answer within {_ANSWER_TIMEOUT_S:.0f} s")
    if failure:
        raise DataError(f"the store {shown} cannot be used: {failure[0]}") from failure[0]
