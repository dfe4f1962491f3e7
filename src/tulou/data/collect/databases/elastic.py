"""An index, alias or pattern of Elasticsearch, read through a point in time: one state of it, page by page.

Requests go through Elastic's transport with plain JSON, because the official clients speak to servers of their own
major version only and this one is to read 8 and 9. Every page is checked for shards that failed: half an index is no
index. Times travel as text with nanoseconds, so that none is rounded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from tulou.core.errors import DataError, SettingsError
from tulou.core.extras import load_extra
from tulou.core.settings import SourceSettings
from tulou.core.urls import split_options, without_secrets
from tulou.data.collect.databases.table import (
    BATCH_RECORDS,
    CONNECT_TIMEOUT_S,
    Extent,
    Record,
    named,
    reading,
    require_columns,
)

_OPTIONS = ("filter", "api_key", "ca_certs")
_KEEP_ALIVE = "5m"  # between two pages
_PAGE_TIMEOUT_S = 120.0
_TIME_FORMAT = "strict_date_optional_time_nanos"
_UNSORTABLE = ("text", "match_only_text", "object", "nested", "dense_vector", "sparse_vector", "geo_point", "binary")


class Server:
    """One Elasticsearch over HTTP. A refusal is a `DataError` with the server's own reason."""

    def __init__(self, transport: Any, headers: Mapping[str, str], shown: str) -> None:
        self._transport = transport
        self._headers = headers
        self._shown = shown

    def call(self, method: str, target: str, body: Any = None, timeout_s: float = _PAGE_TIMEOUT_S) -> Any:
        headers = {**self._headers, **({"content-type": "application/json"} if body is not None else {})}
        answer = self._transport.perform_request(
            method, target, body=body, headers=headers, request_timeout=timeout_s, max_retries=2
        )
        if answer.meta.status == 404:
            return None
        if answer.meta.status >= 300:
            raise DataError(f"{self._shown} answers {answer.meta.status}: {_reason(answer.body)}")
        return answer.body

    def close(self) -> None:
        self._transport.close()


class ElasticTable:
    def __init__(
        self, server: Server, index: str, cursor: str | None, is_time: bool, chosen: Mapping[str, Any], uri: str
    ) -> None:
        self.uri = uri
        self.name = index
        self._server = server
        self._index = index
        self._cursor = cursor
        self._is_time = is_time
        self._chosen = chosen

    def extent(self) -> Extent:
        total = self._count(self._chosen)
        query = self._query(None)
        body = {"size": 1, "query": query, "sort": [self._order("desc")], "_source": False, "track_total_hits": True}
        page = self._search(f"/{quote(self._index)}/_search", body)
        found = int(page["hits"]["total"]["value"])
        last = page["hits"]["hits"][0]["sort"][0] if page["hits"]["hits"] else None
        return Extent(total, total - found, last)

    def records(self, since: Any | None) -> Iterator[Record]:
        opened = self._server.call("POST", f"/{quote(self._index)}/_pit?keep_alive={_KEEP_ALIVE}")
        if opened is None:
            raise DataError(f"{self.uri} is gone")
        pit = opened["id"]
        body: dict[str, Any] = {
            "size": BATCH_RECORDS,
            "query": self._query(since),
            "sort": [*([self._order("asc")] if self._cursor else []), {"_shard_doc": "asc"}],
            "track_total_hits": False,
        }
        try:
            while True:
                page = self._search("/_search", {**body, "pit": {"id": pit, "keep_alive": _KEEP_ALIVE}})
                pit = page.get("pit_id", pit)
                hits = page["hits"]["hits"]
                for hit in hits:
                    cursor = hit["sort"][0] if self._cursor else None
                    yield Record(hit["_id"], cursor, hit.get("_source") or {})
                if len(hits) < BATCH_RECORDS:
                    return
                body["search_after"] = hits[-1]["sort"]
        finally:
            with suppress(DataError):  # the server ends it by itself after a few minutes
                self._server.call("DELETE", "/_pit", {"id": pit}, timeout_s=CONNECT_TIMEOUT_S)

    def _query(self, since: Any | None) -> dict[str, Any]:
        if self._cursor is None:
            return dict(self._chosen)
        bound: dict[str, Any] = {"exists": {"field": self._cursor}}
        if since is not None:
            times = {"format": _TIME_FORMAT} if self._is_time else {}
            bound = {"range": {self._cursor: {"gte": since, **times}}}
        return {"bool": {"filter": [self._chosen, bound]}}

    def _order(self, direction: str) -> dict[str, Any]:
        assert self._cursor is not None
        times = {"format": _TIME_FORMAT} if self._is_time else {}
        return {self._cursor: {"order": direction, **times}}

    def _count(self, query: Mapping[str, Any]) -> int:
        return int(self._server.call("POST", f"/{quote(self._index)}/_count", {"query": query})["count"])

    def _search(self, target: str, body: Any) -> Any:
        page = self._server.call("POST", target, body)
        if page is None:
            raise DataError(f"{self.uri} is gone, or its point in time is: a page took longer than {_KEEP_ALIVE}")
        if page.get("timed_out") or page["_shards"].get("failed"):
            raise DataError(f"{self.uri} answered in part only: {_reason(page['_shards'])}; run again when it is whole")
        return page


@contextmanager
def open_elastic(source: SourceSettings, url: str) -> Iterator[ElasticTable]:
    """The index that `url` names, open for as long as the context.

    Raises `SettingsError` for a URL that names none, and `DataError` where the server cannot be reached or has no such
    index or field.
    """
    transport = load_extra("elastic_transport", "elastic", "reading Elasticsearch")
    url, options = split_options(url, _OPTIONS)
    uri = without_secrets(url).partition("?")[0].rstrip("/")
    parts = urlsplit(url)
    index = unquote(parts.path.strip("/"))
    if not parts.hostname or not index or "/" in index or not _has_port(parts):
        raise SettingsError(f"source {source.name!r}: {uri!r} names no index; write elasticsearch://HOST:9200/INDEX")
    chosen = _filter(source, options.get("filter"))
    with reading(source, uri, url, (transport.TransportError, transport.ApiError)):
        server = connect(url, options, uri)
        try:
            fields = _fields(source, server, index, uri)
            is_time = source.cursor is not None and _is_time(source, fields, uri)
            yield ElasticTable(server, index, source.cursor, is_time, chosen, uri)
        finally:
            server.close()


def connect(url: str, options: Mapping[str, str], shown: str) -> Server:
    """A server that was asked for its name: whoever does not answer within seconds is not there."""
    transport = load_extra("elastic_transport", "elastic", "reading Elasticsearch")
    parts = urlsplit(url)
    headers = {"accept": "application/json"}
    if options.get("api_key"):
        headers["authorization"] = f"ApiKey {options['api_key']}"
    elif parts.username:
        from base64 import b64encode

        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    node = transport.NodeConfig(
        scheme="https" if parts.scheme.endswith("+https") else "http",
        host=parts.hostname,
        port=parts.port or 9200,
        request_timeout=_PAGE_TIMEOUT_S,
        **({"ca_certs": options["ca_certs"]} if options.get("ca_certs") else {}),
    )
    server = Server(transport.Transport([node], retry_on_timeout=False), headers, shown)
    server.call("GET", "/", timeout_s=CONNECT_TIMEOUT_S)
    return server


def _has_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def _fields(source: SourceSettings, server: Server, index: str, uri: str) -> dict[str, set[str]]:
    """Types by field; a field may have several where a pattern covers indices that differ."""
    answer = server.call("GET", f"/{quote(index)}/_field_caps?fields=*&allow_no_indices=false")
    if answer is None:
        listed = server.call("GET", "/_cat/indices?format=json&h=index") or []
        have = named([entry["index"] for entry in listed if not entry["index"].startswith(".")])
        raise DataError(f"source {source.name!r}: {uri.rpartition('/')[0]} has no index {index!r}; it has {have}")
    fields = {name: set(types) for name, types in answer["fields"].items() if not name.startswith("_")}
    if fields:
        require_columns(source, uri, sorted(fields), "field")
    return fields


def _is_time(source: SourceSettings, fields: Mapping[str, set[str]], uri: str) -> bool:
    assert source.cursor is not None
    types = fields.get(source.cursor, {"object"})
    if types & set(_UNSORTABLE):
        raise DataError(
            f"source {source.name!r}: {uri} cannot be read in the order of {source.cursor!r}, which is of type "
            f"{', '.join(sorted(types))}; name a field of numbers, times or keywords"
        )
    return bool(types & {"date", "date_nanos"})


def _filter(source: SourceSettings, text: str | None) -> dict[str, Any]:
    """The documents wanted, in Elasticsearch's own words: {"term": {"status": "closed"}}."""
    if text is None:
        return {"match_all": {}}
    try:
        value = json.loads(text)
    except ValueError as err:
        raise SettingsError(f"source {source.name!r}: filter={text!r} is not JSON: {err}") from err
    if not isinstance(value, dict):
        raise SettingsError(f"source {source.name!r}: filter={text!r} is no JSON object")
    return value


def _reason(body: Any) -> str:
    """The sentence in an answer that refuses."""
    if isinstance(body, Mapping):
        error = body.get("error", body)
        if isinstance(error, Mapping):
            causes = error.get("root_cause") or [
                failure.get("reason", failure) for failure in error.get("failures", ())
            ]
            first = causes[0] if causes else error
            if isinstance(first, Mapping) and first.get("reason"):
                return f"{first.get('type', 'error')}: {first['reason']}"
        return str(error)[:300]
    return str(body)[:300]
