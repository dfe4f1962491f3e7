"""What is sent to Elasticsearch and what is made of its answers; the contract's tests against a server say the rest."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.passages import DIMENSIONS, batch, row, vectors

from tulou.core.errors import DataError, SettingsError
from tulou.core.settings import parse_settings
from tulou.data.search import open_home
from tulou.data.search.elastic import (
    Cluster,
    ElasticIndex,
    filters,
    frequencies_body,
    index_body,
    rows_body,
    vector_body,
    words_body,
)
from tulou.data.search.hybrid import Restriction

pytest.importorskip("elastic_transport")

Answer = Callable[[str, str, bytes], tuple[int, Any]]
MAPPING = {"shop-0000000000000000": {"mappings": index_body(DIMENSIONS, "cjk")["mappings"]}}


class Recorder:
    """An HTTP server that answers what a test says and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[tuple[str, str, bytes, dict[str, str]]] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                recorder.requests.append((self.command, self.path, body, headers))
                status, value = answer(self.command, self.path, body)
                content = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("x-elastic-product", "Elasticsearch")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = _do

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"elasticsearch://ann:hunter2@127.0.0.1:{self.server.server_port}/shop"

    def __enter__(self) -> Recorder:
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def usual(method: str, path: str, body: bytes) -> tuple[int, Any]:
    if path.endswith("/_mapping"):
        return 200, MAPPING
    if path.startswith("/_alias/"):
        return 200, {"shop-0000000000000000": {"aliases": {"shop": {}}}}
    return 200, {"acknowledged": True}


def opened(recorder: Recorder, sleeps: list[float] | None = None) -> ElasticIndex:
    cluster = Cluster(recorder.url, sleep=(sleeps if sleeps is not None else []).append)
    return ElasticIndex(cluster, "shop-0000000000000000")


def test_requests_are_plain_json_which_both_server_versions_read() -> None:
    with Recorder(usual) as recorder:
        opened(recorder)._cluster.close()
    for _, _, _, headers in recorder.requests:
        assert headers["accept"] == "application/json"
        assert "compatible-with" not in str(headers)
        assert headers["authorization"].startswith("Basic ")


def test_a_server_that_is_away_is_said_within_seconds_and_without_the_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(DataError, match=rf"elasticsearch://127.0.0.1:{port}/shop cannot be reached") as caught:
        Cluster(f"elasticsearch://ann:hunter2@127.0.0.1:{port}/shop")
    assert time.monotonic() - started < 5
    assert "hunter2" not in str(caught.value)


def test_a_server_that_hangs_is_given_up_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        started = time.monotonic()
        with pytest.raises(DataError, match="cannot be reached"):
            Cluster(f"elasticsearch://127.0.0.1:{deaf.getsockname()[1]}/shop")
        assert time.monotonic() - started < 12


@pytest.mark.parametrize("name", ["", "Shop", "_shop", "a/b", "a b"])
def test_a_url_without_a_name_for_the_index_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="names no index; write elasticsearch://HOST:9200/NAME"):
        open_home(f"elasticsearch://ann:hunter2@127.0.0.1:9/{name}", tmp_path)


def test_the_setting_takes_folders_and_elasticsearch_only() -> None:
    for url in ("elasticsearch://h:9200/shop", "elasticsearch+https://u:${PW}@h/shop?ca_certs=ca.pem", "other/folder"):
        assert parse_settings({"data": {"search": url}}).data.search == url
    for url in ("s3://bucket/x", "elasticsearch://h:9200", "elasticsearch://h:9200/", "https://h/shop"):
        with pytest.raises(SettingsError, match="choose a folder, elasticsearch://HOST:9200/NAME"):
            parse_settings({"data": {"search": url}})
    with pytest.raises(SettingsError) as caught:
        parse_settings({"data": {"search": "elasticsearch://ann:hunter2@h:9200"}})
    assert "hunter2" not in str(caught.value)


def test_a_busy_server_is_asked_again_for_the_documents_it_did_not_take() -> None:
    sent: list[list[str]] = []

    def answer(method: str, path: str, body: bytes) -> tuple[int, Any]:
        if not path.endswith("/_bulk"):
            return usual(method, path, body)
        ids = [json.loads(line)["index"]["_id"] for line in body.decode().splitlines()[::2]]
        sent.append(ids)
        busy = len(sent) == 1
        items = [{"index": {"_id": key, "status": 429 if busy and key == "b" else 201}} for key in ids]
        return 200, {"errors": busy, "items": items}

    slept: list[float] = []
    with Recorder(answer) as recorder:
        rows = [row(key, f"text {key}") for key in "abc"]
        opened(recorder, slept).add(batch(rows), vectors([each["text"] for each in rows]))
    assert sent == [["a", "b", "c"], ["b"]]
    assert slept == [0.0, 0.5]
    bulk = next(body for _, path, body, _ in recorder.requests if path.endswith("/_bulk"))
    stored = json.loads(bulk.decode().splitlines()[1])
    assert stored["words"] == "text"
    assert stored["modified_ms"] == 1781524800000
    assert len(stored["vector"]) == DIMENSIONS


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"status": 400, "error": {"reason": "failed to parse"}}, "refuses passage a: failed to parse"),
        ({"status": 429, "error": {"reason": "queue"}}, "too busy to take 1 passages; try again later"),
    ],
)
def test_a_document_that_is_not_taken_is_an_error(item: dict[str, Any], message: str) -> None:
    def answer(method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path.endswith("/_bulk"):
            return 200, {"errors": True, "items": [{"index": {"_id": "a", **item}}]}
        return usual(method, path, body)

    with Recorder(answer) as recorder, pytest.raises(DataError, match=message):
        opened(recorder).add(batch([row("a", "a")]), vectors(["a"]))


def test_an_answer_from_part_of_the_index_is_an_error() -> None:
    def answer(method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path.endswith("/_termvectors"):
            words = {"field_statistics": {"doc_count": 9}, "terms": {"parcel": {"doc_freq": 2, "term_freq": 1}}}
            return 200, {"term_vectors": {"words": words}}
        if path.endswith("/_msearch"):
            return 200, {"responses": [{"timed_out": False, "_shards": {"failed": 1}, "hits": {"hits": []}}]}
        return usual(method, path, body)

    with Recorder(answer) as recorder, pytest.raises(DataError, match="answered in part only"):
        opened(recorder).search("parcel", None, 3)


def test_publishing_moves_the_alias_in_one_request_and_removes_only_our_older_ones() -> None:
    listed = [f"shop-{'0' * 16}", f"shop-{'1' * 16}", f"shop-{'2' * 16}-2", f"shop-eu-{'3' * 16}", "shop-photos"]

    def answer(method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path.startswith("/_cat/indices"):
            return 200, [{"index": name} for name in listed]
        return usual(method, path, body)

    with Recorder(answer) as recorder:
        Cluster(recorder.url).publish(f"shop-{'1' * 16}")
    [(_, _, moved, _)] = [each for each in recorder.requests if each[1] == "/_aliases"]
    assert json.loads(moved) == {
        "actions": [
            {"add": {"index": f"shop-{'1' * 16}", "alias": "shop"}},
            {"remove": {"index": f"shop-{'0' * 16}", "alias": "shop"}},
        ]
    }
    assert [path for method, path, _, _ in recorder.requests if method == "DELETE"] == [f"/shop-{'2' * 16}-2"]


@pytest.fixture
def plugins(request: pytest.FixtureRequest) -> Iterator[tuple[list[list[str]], Recorder]]:
    def answer(method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/_nodes/plugins":
            nodes = {str(n): {"plugins": [{"name": each} for each in has]} for n, has in enumerate(request.param)}
            return 200, {"nodes": nodes}
        return usual(method, path, body)

    with Recorder(answer) as recorder:
        yield request.param, recorder


@pytest.mark.parametrize(
    ("plugins", "analyser"),
    [
        ([[]], "cjk"),
        ([["analysis-smartcn"], ["analysis-smartcn", "analysis-ik"]], "smartcn"),
        ([["analysis-smartcn", "analysis-ik"]], "ik_max_word"),
    ],
    indirect=["plugins"],
)
def test_the_chinese_analyser_is_the_best_that_every_node_has(
    plugins: tuple[list[list[str]], Recorder], analyser: str
) -> None:
    _, recorder = plugins
    ElasticIndex.create(Cluster(recorder.url), "shop-1", DIMENSIONS)
    [body] = [body for method, _, body, _ in recorder.requests if method == "PUT"]
    assert json.loads(body)["mappings"]["properties"]["text"] == {"type": "text", "analyzer": analyser}


def test_filters_are_terms_and_never_query_language() -> None:
    where = Restriction.of(["zh"], ["it's", "a OR b"], "2026-01-01", "2026-01-01")
    found = filters(where)
    assert found[:2] == [{"terms": {"language": ["zh"]}}, {"terms": {"source": ["it's", "a OR b"]}}]
    assert found[2] == {"range": {"modified_ms": {"gte": 1767225600000, "lte": 1767312000000}}}
    assert filters(Restriction()) == []


def test_bodies_hold_what_the_rankings_need() -> None:
    vector = np.ones(2, dtype=np.float32)
    where = Restriction.of(None, ["faq"], None, None)
    assert words_body(["a", "b"], where, 5)["query"]["bool"]["must"] == [
        {"match": {"words": {"query": "a b", "operator": "or"}}}
    ]
    knn = vector_body(vector, where, 5)["knn"]
    assert (knn["k"], knn["num_candidates"], knn["filter"]) == (5, 20, filters(where))
    assert rows_body(["x"], None)["query"] == {"ids": {"values": ["x"]}}
    assert rows_body(["x"], vector)["query"]["script_score"]["script"]["params"] == {"vector": [1.0, 1.0]}
    assert frequencies_body(["a"])["doc"] == {"words": "a"}
