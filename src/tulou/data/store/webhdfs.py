"""fsspec's WebHDFS with what a store needs: timeouts, files sent in one request, and a file replaced without a gap.

fsspec creates a file empty and appends to it, which small clusters refuse; WebHDFS takes the content with the creation.
Its rename does not overwrite and answers false instead of an error, so a file is replaced over a second name that a
reader knows about.
"""

from __future__ import annotations

import uuid
from typing import Any

from fsspec.implementations.webhdfs import WebHDFS
from requests.adapters import HTTPAdapter

_TIMEOUT_S = (5.0, 60.0)  # to connect, and between two bytes
_LOOKS = 4  # a file that is replaced just now may change its name between two looks, hardly between eight


class _Impatient(HTTPAdapter):
    def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
        options["timeout"] = options.get("timeout") or _TIMEOUT_S
        return super().send(request, **options)


class WebHdfs(WebHDFS):  # type: ignore[misc]
    def _connect(self) -> None:
        super()._connect()
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _Impatient())

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_options: Any) -> None:
        """Creates `path`: the name node says which data node takes the content."""
        answer = self._call("CREATE", "PUT", path, redirect=False, overwrite="true")
        where = self._apply_proxy(answer.headers["Location"])
        sent = self.session.put(where, data=value, headers={"content-type": "application/octet-stream"})
        sent.raise_for_status()

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_options: Any) -> bytes:
        for name in (path, f"{path}.next") * _LOOKS:
            try:
                content: bytes = self._call("OPEN", path=name).content
            except FileNotFoundError:
                continue
            return content[start:end]
        raise FileNotFoundError(path)

    def replace_file(self, path: str, value: bytes) -> None:
        """At every moment `path` or `path.next` is there whole, and `cat_file` takes the first it finds."""
        partial, following = f"{path}.{uuid.uuid4().hex}.partial", f"{path}.next"
        self.pipe_file(partial, value)
        self._remove(following)
        self._rename(partial, following)
        self._remove(path)
        self._rename(following, path)

    def _remove(self, path: str) -> None:
        self._call("DELETE", "DELETE", path=path)  # answers false where there was none

    def _rename(self, path: str, to: str) -> None:
        answer = self._call("RENAME", "PUT", path=path, destination=self._strip_protocol(to))
        if not answer.json()["boolean"]:
            raise OSError(f"{path} cannot be renamed to {to}")
