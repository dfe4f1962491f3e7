"""The index on an Elasticsearch 8 or 9: `elasticsearch://HOST:9200/NAME`, `elasticsearch+https://USER:PW@HOST/NAME`.

Each index has a name of its own, NAME-FINGERPRINT, and the alias NAME is moved to it at once when it is whole. Words
are segmented here and only split at spaces there, so Chinese needs no plug-in; how common a word is, the server is
asked (term vectors of a text that is not stored). Rankings are fused here, as the server's own fusion needs a paid
licence. The price is three round trips for a question. Requests are plain JSON over Elastic's transport, because a
client library speaks to servers of its own major version only.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tulou.core.errors import DataError, SettingsError
from tulou.core.extras import load_extra
from tulou.core.tables import PASSAGE
from tulou.core.types import Hit, Passage
from tulou.core.urls import expand, split_options, without_secrets
from tulou.data.collect.databases.elastic import Server, connect
from tulou.data.search.hybrid import (
    Frequencies,
    Rerank,
    Restriction,
    Row,
    hybrid_search,
    milliseconds,
    passage_of,
    passage_terms,
    require_dimensions,
    require_query_dimensions,
    storable,
)

_OPTIONS = ("api_key", "ca_certs")
_PREFIX = re.compile(r"[a-z0-9][a-z0-9._-]{0,200}")
_TIMEOUT_S = 10.0  # a question; a server that is away says so at once, one that hangs within this
_CHANGE_TIMEOUT_S = 120.0
_BULK_ROWS = 500
_BULK_TRIES = 4
_BUSY = (429, 503)
_ID_BATCH = 10_000
_NEIGHBOURS_SEEN = 4  # times what is asked for: `num_candidates` of approximate search
_CHINESE_ANALYSERS = {"analysis-ik": "ik_max_word", "analysis-smartcn": "smartcn"}  # by plug-in, best first
_BUILT_IN_ANALYSER = "cjk"  # pairs of characters
_COSINE = "cosineSimilarity(params.vector, 'vector') + 1.0"  # a score may not be negative

Sleep = Callable[[float], None]


class Cluster:
    """An Elasticsearch and the prefix of our indices there. Raises `DataError` within seconds where it is away."""

    def __init__(self, url: str, *, sleep: Sleep = time.sleep) -> None:
        transport = load_extra("elastic_transport", "elastic", "an index on Elasticsearch")
        self.sleep = sleep
        self._errors = (transport.TransportError,)
        whole, options = split_options(expand(url), _OPTIONS)
        self.shown = without_secrets(url).partition("?")[0].rstrip("/")
        self.prefix = unquote(urlsplit(whole).path.strip("/"))
        if not _PREFIX.fullmatch(self.prefix) or not urlsplit(whole).hostname:
            raise SettingsError(
                f"data.search {self.shown!r} names no index; write elasticsearch://HOST:9200/NAME in lower case"
            )
        with self._reached():
            self._server: Server = connect(whole, options, self.shown)

    def call(self, method: str, target: str, body: Any = None, timeout_s: float = _TIMEOUT_S) -> Any:
        """The server's answer; None for what it does not have."""
        with self._reached():
            return self._server.call(method, target, body, timeout_s)

    def name(self, fingerprint: str) -> str:
        """Name for an index to make: not that of the one in use, which is read while the new one is made."""
        name = f"{self.prefix}-{fingerprint}"
        return f"{name}-2" if self.current() == name else name

    def current(self) -> str | None:
        """Name of the index that the alias points to."""
        found = self.call("GET", f"/_alias/{quote(self.prefix)}")
        return next(iter(sorted(found)), None) if found else None

    def publish(self, name: str) -> None:
        """Let the alias point to the index `name` alone, in one step; keep the one before it, remove older ones."""
        before = self.current()
        actions: list[dict[str, Any]] = [{"add": {"index": name, "alias": self.prefix}}]
        if before and before != name:
            actions.append({"remove": {"index": before, "alias": self.prefix}})
        self.call("POST", "/_aliases", {"actions": actions}, _CHANGE_TIMEOUT_S)
        ours = re.compile(re.escape(self.prefix) + r"-[0-9a-f]{16}(-2)?")
        listed = self.call("GET", f"/_cat/indices/{quote(self.prefix)}-*?format=json&h=index") or []
        for other in (entry["index"] for entry in listed):
            if ours.fullmatch(other) and other not in (name, before):
                self.call("DELETE", f"/{quote(other)}", timeout_s=_CHANGE_TIMEOUT_S)

    def close(self) -> None:
        self._server.close()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except self._errors as err:
            raise DataError(f"{self.shown} cannot be reached: {err}; is Elasticsearch running there?") from err


class ElasticIndex:
    """One index of a cluster; its name never changes what it means, its passages may."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        mapping = cluster.call("GET", f"/{quote(name)}/_mapping")
        if mapping is None:
            raise DataError(f"{cluster.shown} has no search index {name!r}; `tulou run --redo index` makes one")
        self._cluster = cluster
        self._at = f"/{quote(name)}"
        properties = next(iter(mapping.values()))["mappings"].get("properties", {})
        if "vector" not in properties or "words" not in properties:
            raise DataError(f"the index {name!r} of {cluster.shown} was not made by Tulou; choose another name")
        self._dimensions = int(properties["vector"]["dims"])

    @classmethod
    def create(cls, cluster: Cluster, name: str, dimensions: int) -> ElasticIndex:
        """A new and empty index; one of the same name is gone."""
        cluster.call("DELETE", f"/{quote(name)}", timeout_s=_CHANGE_TIMEOUT_S)
        body = index_body(dimensions, _chinese_analyser(cluster))
        cluster.call("PUT", f"/{quote(name)}", body, _CHANGE_TIMEOUT_S)
        return cls(cluster, name)

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def count(self) -> int:
        return int(self._asked("POST", "/_count")["count"])

    def get(self, ids: Sequence[str]) -> list[Passage]:
        asked = storable(ids)
        if not asked:
            return []
        found = {key: row.passage for key, row in self.rows(asked, None).items()}
        return [found[key] for key in ids if key in found]

    def search(
        self,
        query: str,
        vector: NDArray[np.float32] | None,
        k: int,
        *,
        languages: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        since: str | None = None,
        until: str | None = None,
        vector_weight: float = 1.0,
        rerank: Rerank | None = None,
    ) -> list[Hit]:
        if vector is not None:
            require_query_dimensions(vector, self._dimensions)
        where = Restriction.of(languages, sources, since, until)
        return hybrid_search(self, query, vector, k, where, vector_weight, rerank)

    def add(self, passages: pa.RecordBatch, vectors: NDArray[np.float32]) -> None:
        require_dimensions(vectors, passages.num_rows, self._dimensions)
        rows = passages.to_pylist()
        for start in range(0, len(rows), _BULK_ROWS):
            part = slice(start, start + _BULK_ROWS)
            self._add([document(row, vector) for row, vector in zip(rows[part], vectors[part], strict=True)])
        self._asked("POST", "/_refresh", timeout_s=_CHANGE_TIMEOUT_S)

    def delete(self, *, ids: Sequence[str] = (), document_ids: Sequence[str] = ()) -> int:
        self._asked("POST", "/_refresh", timeout_s=_CHANGE_TIMEOUT_S)
        removed = 0
        for field, values in (("id", storable(ids)), ("document_id", storable(document_ids))):
            for start in range(0, len(values), _ID_BATCH):
                body = {"query": {"terms": {field: values[start : start + _ID_BATCH]}}}
                answer = self._asked(
                    "POST", "/_delete_by_query?conflicts=proceed&refresh=true", body, _CHANGE_TIMEOUT_S
                )
                if answer.get("failures"):
                    raise DataError(f"{self._cluster.shown} did not delete: {answer['failures'][0]}")
                removed += int(answer["deleted"])
        return removed

    def optimize(self) -> None:
        self._asked("POST", "/_forcemerge?max_num_segments=1&wait_for_completion=false", None, _CHANGE_TIMEOUT_S)
        self._asked("POST", "/_refresh", timeout_s=_CHANGE_TIMEOUT_S)

    def close(self) -> None:
        """Nothing of its own is open; the cluster is closed by whoever opened it."""

    def frequencies(self, terms: Sequence[str]) -> Frequencies:
        if not terms:
            return Frequencies(self.count(), {})
        answer = self._asked("POST", "/_termvectors", frequencies_body(terms))
        words = answer.get("term_vectors", {}).get("words", {})
        found = {term: int(entry.get("doc_freq", 0)) for term, entry in words.get("terms", {}).items()}
        return Frequencies(int(words.get("field_statistics", {}).get("doc_count", 0)), found)

    def rankings(
        self, terms: Sequence[str], vector: NDArray[np.float32] | None, where: Restriction, limit: int
    ) -> tuple[Sequence[str], Sequence[str]]:
        searches = {}
        if terms:
            searches["words"] = words_body(terms, where, limit)
        if vector is not None:
            searches["vector"] = vector_body(vector, where, limit)
        if not searches:
            return [], []
        lines = "".join(f"{{}}\n{json.dumps(body)}\n" for body in searches.values())
        answers = self._asked("POST", "/_msearch", lines)["responses"]
        found = {name: self._ids(answer) for name, answer in zip(searches, answers, strict=True)}
        if terms and not found["words"]:  # segmented otherwise than the passages were
            found["words"] = self._ids(self._asked("POST", "/_search", text_body(terms, where, limit)))
        return found.get("words", []), found.get("vector", [])

    def rows(self, keys: Sequence[str], vector: NDArray[np.float32] | None) -> Mapping[str, Row]:
        answer = self._asked("POST", "/_search", rows_body(keys, vector))
        return {hit["_id"]: _row(hit, has_score=vector is not None) for hit in _hits(answer, self._cluster.shown)}

    def _ids(self, answer: Mapping[str, Any]) -> list[str]:
        return [hit["_id"] for hit in _hits(answer, self._cluster.shown)]

    def _add(self, documents: list[dict[str, Any]]) -> None:
        """Documents the server is too busy for are sent again; one it refuses is an error with its reason."""
        for attempt in range(_BULK_TRIES):
            self._cluster.sleep((2**attempt - 1) * 0.5)
            lines = (f"{json.dumps({'index': {'_id': each['id']}})}\n{json.dumps(each)}\n" for each in documents)
            answer = self._asked("POST", "/_bulk", "".join(lines), _CHANGE_TIMEOUT_S)
            if not answer["errors"]:
                return
            results = [item["index"] for item in answer["items"]]
            for result in results:
                if result["status"] >= 300 and result["status"] not in _BUSY:
                    raise DataError(
                        f"{self._cluster.shown} refuses passage {result['_id']}: {result['error'].get('reason')}"
                    )
            waiting = zip(documents, results, strict=True)
            documents = [each for each, result in waiting if result["status"] in _BUSY]
        raise DataError(f"{self._cluster.shown} is too busy to take {len(documents)} passages; try again later")

    def _asked(self, method: str, target: str, body: Any = None, timeout_s: float = _TIMEOUT_S) -> Any:
        answer = self._cluster.call(method, f"{self._at}{target}", body, timeout_s)
        if answer is None:
            raise DataError(f"the index {self._at[1:]!r} of {self._cluster.shown} is gone; was it replaced?")
        return answer


def index_body(dimensions: int, chinese_analyser: str) -> dict[str, Any]:
    """Settings and mappings. One shard, so that BM25 and our IDF count over all passages."""
    stored = {"type": "keyword", "index": False, "doc_values": False}
    return {
        "settings": {"index": {"number_of_shards": 1, "auto_expand_replicas": "0-1"}},
        "mappings": {
            "dynamic": False,
            "properties": {
                **dict.fromkeys(PASSAGE.names, stored),
                **{name: {"type": "keyword"} for name in ("id", "document_id", "source", "language")},
                "text": {"type": "text", "analyzer": chinese_analyser},
                "modified_ms": {"type": "long"},
                "words": {"type": "text", "analyzer": "whitespace", "index_options": "freqs"},
                "vector": {
                    "type": "dense_vector",
                    "dims": dimensions,
                    "index": True,
                    "similarity": "cosine",
                    "index_options": {"type": "int8_hnsw"},
                },
            },
        },
    }


def document(row: Mapping[str, Any], vector: NDArray[np.float32]) -> dict[str, Any]:
    return {
        **row,
        "modified_ms": milliseconds(row["modified_at"]),
        "words": " ".join(passage_terms(row)),
        "vector": vector.tolist(),
    }


def frequencies_body(terms: Sequence[str]) -> dict[str, Any]:
    return {
        "doc": {"words": " ".join(terms)},
        "fields": ["words"],
        "term_statistics": True,
        "field_statistics": True,
        "positions": False,
        "offsets": False,
        "payloads": False,
    }


def words_body(terms: Sequence[str], where: Restriction, limit: int) -> dict[str, Any]:
    query = {"match": {"words": {"query": " ".join(terms), "operator": "or"}}}
    return {"size": limit, "_source": False, "query": {"bool": {"must": [query], "filter": filters(where)}}}


def text_body(terms: Sequence[str], where: Restriction, limit: int) -> dict[str, Any]:
    query = {"match": {"text": {"query": " ".join(terms), "operator": "and"}}}
    return {"size": limit, "_source": False, "query": {"bool": {"must": [query], "filter": filters(where)}}}


def vector_body(vector: NDArray[np.float32], where: Restriction, limit: int) -> dict[str, Any]:
    nearest = {"field": "vector", "query_vector": vector.tolist(), "k": limit, "filter": filters(where)}
    return {"size": limit, "_source": False, "knn": {**nearest, "num_candidates": _NEIGHBOURS_SEEN * limit}}


def rows_body(keys: Sequence[str], vector: NDArray[np.float32] | None) -> dict[str, Any]:
    """The rows with these ids, whole; with a vector their score is the cosine and 1."""
    named: dict[str, Any] = {"ids": {"values": list(keys)}}
    if vector is not None:
        script = {"source": _COSINE, "params": {"vector": vector.tolist()}}
        named = {"script_score": {"query": named, "script": script}}
    return {"size": len(keys), "query": named, "_source": {"excludes": ["vector"]}}


def filters(where: Restriction) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"terms": {field: list(values)}}
        for field, values in (("language", where.languages), ("source", where.sources))
        if values is not None
    ]
    times = {"gte": where.since_ms, "lte": where.until_ms}
    if bounds := {side: bound for side, bound in times.items() if bound is not None}:
        found.append({"range": {"modified_ms": bounds}})
    return found


def _chinese_analyser(cluster: Cluster) -> str:
    """The best that every node has. Who may not ask for plug-ins gets what is built in."""
    try:
        nodes = cluster.call("GET", "/_nodes/plugins")["nodes"].values()
    except (DataError, KeyError, TypeError):
        return _BUILT_IN_ANALYSER
    installed = [{plugin["name"] for plugin in node.get("plugins", [])} for node in nodes]
    on_all = set.intersection(*installed) if installed else set()
    return next((name for plugin, name in _CHINESE_ANALYSERS.items() if plugin in on_all), _BUILT_IN_ANALYSER)


def _hits(answer: Mapping[str, Any], shown: str) -> list[dict[str, Any]]:
    """Raises `DataError` for an answer from part of the index: what was not found may be there."""
    if "error" in answer:
        raise DataError(f"{shown} cannot search: {answer['error'].get('reason', answer['error'])}")
    if answer.get("timed_out") or answer["_shards"].get("failed"):
        raise DataError(f"{shown} answered in part only; try again when the cluster is whole")
    hits: list[dict[str, Any]] = answer["hits"]["hits"]
    return hits


def _row(hit: Mapping[str, Any], has_score: bool) -> Row:
    source = hit["_source"]
    return Row(passage_of(source), source["words"], float(hit["_score"]) - 1.0 if has_score else 0.0)
