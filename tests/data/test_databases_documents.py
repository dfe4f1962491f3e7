"""MongoDB and Elasticsearch as sources: one set of expectations, on stand-ins here and on real servers where named.

TULOU_TEST_MONGODB_URL and TULOU_TEST_ELASTICSEARCH_URL name real ones (`pytest -m live`).
"""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from tests.data.servers import (
    elasticsearch_stand_in_url,
    free_port,
    mongodb_stand_in_url,
    url_from_environment,
)
from tests.data.test_databases import collected
from tests.data.test_store import with_database

from tulou.core.errors import DataError, SettingsError
from tulou.core.settings import SourceSettings
from tulou.data.collect.databases.collect import database_digest
from tulou.data.collect.tables import MissingColumnError

__all__ = ["elasticsearch_stand_in_url", "mongodb_stand_in_url"]


def login(user: str | None, password: str | None) -> dict[str, str]:
    pair = f"{unquote(user or '')}:{unquote(password or '')}".encode()
    return {"authorization": f"Basic {b64encode(pair).decode()}"} if user else {}


@dataclass
class Documents:
    """A collection or index of one kind of server, how to fill it and how to name it."""

    kind: str
    server: str
    name: str

    def put(self, key: str, document: Mapping[str, Any]) -> None:
        if self.kind == "mongodb":
            import pymongo

            at = datetime.fromisoformat(document["at"]) if document.get("at") else None
            with pymongo.MongoClient(self.server) as client:
                held = client.get_default_database()[self.name]
                held.replace_one({"_id": key}, {"_id": key, **document, "at": at}, upsert=True)
            return
        self._http("PUT", f"/{self.name}/_doc/{key}?refresh=true", document)

    def make(self) -> None:
        if self.kind == "elasticsearch":
            types = {"body": "text", "intent": "keyword", "customer": "keyword", "number": "integer", "at": "date"}
            self._http("PUT", f"/{self.name}", {"mappings": {"properties": {n: {"type": t} for n, t in types.items()}}})

    def url(self, **parameters: str) -> str:
        asked = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
        if self.kind == "mongodb":
            return f"{self.server}?collection={self.name}&{asked}"
        return f"{self.server}/{self.name}?{asked}"

    def source(self, words: str | None = None, **settings: Any) -> SourceSettings:
        url = self.url(filter=words) if words else self.url()
        return SourceSettings(name="tickets", url=url, **settings)

    def _http(self, method: str, target: str, body: Any) -> None:
        parts = urlsplit(self.server)
        scheme = "https" if parts.scheme.endswith("+https") else "http"
        request = urllib.request.Request(
            f"{scheme}://{parts.netloc.rpartition('@')[2]}{target}",
            json.dumps(body).encode(),
            {"content-type": "application/json", **login(parts.username, parts.password)},
            method=method,
        )
        urllib.request.urlopen(request, timeout=10).close()


KINDS = [
    "mongodb_stand_in",
    "elasticsearch_stand_in",
    pytest.param("mongodb", marks=pytest.mark.live),
    pytest.param("elasticsearch", marks=pytest.mark.live),
]


@pytest.fixture(params=KINDS)
def tickets(request: pytest.FixtureRequest) -> Documents:
    name = f"t{uuid.uuid4().hex[:12]}"
    kind = request.param.removesuffix("_stand_in")
    if request.param.endswith("_stand_in"):
        server = request.getfixturevalue(f"{request.param}_url")
    else:
        server = url_from_environment(f"TULOU_TEST_{kind.upper()}_URL")
    found = Documents(kind, with_database(server, name) if kind == "mongodb" else server.rstrip("/"), name)
    found.make()
    return found


FIRST = {"body": "我想退货", "intent": "return", "customer": "c1", "number": 7, "at": "2026-01-01T10:00:00Z"}
SECOND = {"body": "Where is it?", "intent": "delivery", "customer": "c2", "number": 8, "at": "2026-01-02T10:00:00Z"}
THIRD = {"body": "Good shop", "intent": "praise", "number": 9, "at": "2026-01-02T10:00:00Z"}
SETTINGS: dict[str, Any] = {"text": ("body",), "label": "intent", "subject_id": "customer"}


def test_documents_are_read_with_text_label_and_person(tickets: Documents, tmp_path: Path) -> None:
    for key, document in {"a": FIRST, "b": SECOND, "c": THIRD}.items():
        tickets.put(key, document)
    rows, summary = collected(tickets.source(**SETTINGS), tmp_path)
    assert [(row["position"], row["text"], row["label"], row["subject_id"]) for row in rows] == [
        ("row=a", "我想退货", "return", "c1"),
        ("row=b", "Where is it?", "delivery", "c2"),
        ("row=c", "Good shop", "praise", None),
    ]
    assert rows[0]["uri"].endswith(f"/{tickets.name}")
    assert summary["failed"] == []


def test_more_documents_than_a_page_are_all_read(tickets: Documents, tmp_path: Path) -> None:
    for number in range(600):
        tickets.put(f"{number:04d}", {**FIRST, "body": f"ticket {number}", "number": number // 7})
    for cursor in (None, "number"):
        rows, _ = collected(tickets.source(text=("body",), cursor=cursor), tmp_path)
        assert [row["text"] for row in rows] == [f"ticket {number}" for number in range(600)]


@pytest.mark.parametrize("cursor", ["at", "number"])
def test_later_run_reads_what_came_since_and_newest_wins(tickets: Documents, cursor: str, tmp_path: Path) -> None:
    source = tickets.source(cursor=cursor, **SETTINGS)
    tickets.put("a", FIRST)
    tickets.put("b", SECOND)
    assert collected(source, tmp_path)[1]["rows_read"] == 2
    digest = database_digest(source, tmp_path)
    assert collected(source, tmp_path)[1]["rows_read"] == 0
    assert database_digest(source, tmp_path) == digest

    tickets.put("c", THIRD)
    tickets.put("a", {**FIRST, "body": "换货", "number": 10, "at": "2026-02-01T00:00:00.123Z"})
    assert database_digest(source, tmp_path) != digest
    rows, summary = collected(source, tmp_path)
    assert summary["rows_read"] == 2
    assert sorted((row["position"], row["text"]) for row in rows) == [
        ("row=a", "换货"),
        ("row=b", "Where is it?"),
        ("row=c", "Good shop"),
    ]
    if cursor == "at":
        assert {row["modified_at"] for row in rows if row["position"] == "row=a"} == {"2026-02-01T00:00:00+00:00"}


def test_documents_without_the_cursor_are_reported(tickets: Documents, tmp_path: Path) -> None:
    tickets.put("a", FIRST)
    tickets.put("b", {"body": "no number"})
    rows, summary = collected(tickets.source(cursor="number", text=("body",)), tmp_path)
    assert [row["position"] for row in rows] == ["row=a"]
    assert "has no 'number' and is not found by it: 1 times" in summary["failed"][0]["reason"]


def test_filter_of_the_server_chooses(tickets: Documents, tmp_path: Path) -> None:
    tickets.put("a", FIRST)
    tickets.put("b", SECOND)
    words = {"intent": "return"} if tickets.kind == "mongodb" else {"term": {"intent": "return"}}
    rows, _ = collected(tickets.source(json.dumps(words), text=("body",)), tmp_path)
    assert [row["position"] for row in rows] == ["row=a"]
    with pytest.raises(SettingsError, match="is not JSON"):
        collected(tickets.source("intent=return"), tmp_path)


def test_missing_collection_and_field_are_answered_with_what_there_is(tickets: Documents, tmp_path: Path) -> None:
    tickets.put("a", FIRST)
    other = Documents(tickets.kind, tickets.server, "nothing")
    with pytest.raises(DataError, match=rf"has no (collection|index) 'nothing'; it has .*'{tickets.name}'"):
        collected(other.source(), tmp_path)
    with pytest.raises(MissingColumnError, match=r"has no field 'bodi'; it has ('_id', )?'at', 'body'"):
        collected(tickets.source(text=("bodi",)), tmp_path)


def test_nested_fields_become_columns(tickets: Documents, tmp_path: Path) -> None:
    if tickets.kind != "mongodb":
        pytest.skip("the stand-in's mapping is flat")
    tickets.put("a", {"customer": {"name": "Wang", "tags": ["vip", "新"]}, "body": "hello"})
    [row], _ = collected(tickets.source(text=("body", "customer.tags"), subject_id="customer.name"), tmp_path)
    assert (row["text"], row["subject_id"]) == ("hello\nvip, 新", "Wang")


def test_text_field_of_elasticsearch_is_no_cursor(elasticsearch_stand_in_url: str, tmp_path: Path) -> None:
    tickets = Documents("elasticsearch", elasticsearch_stand_in_url, f"t{uuid.uuid4().hex[:8]}")
    tickets.make()
    with pytest.raises(DataError, match="cannot be read in the order of 'body', which is of type text"):
        collected(tickets.source(cursor="body"), tmp_path)


def test_wrong_password_of_elasticsearch_is_told_without_showing_it(
    elasticsearch_stand_in_url: str, tmp_path: Path
) -> None:
    url = elasticsearch_stand_in_url.replace("://", "://u:wrong@")
    with pytest.raises(DataError, match="401: security_exception: unable to authenticate") as caught:
        collected(SourceSettings(name="x", url=f"{url}/tickets"), tmp_path)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["mongodb://u:geheim@127.0.0.1:{}/db?collection=t", "elasticsearch://u:geheim@127.0.0.1:{}/t"]
)
def test_server_that_is_not_there_is_told_within_seconds(url: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match="cannot be read") as caught:
        collected(SourceSettings(name="x", url=url.format(free_port())), tmp_path)
    assert time.monotonic() - started < 15
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mongodb://h/db", "names no database and collection"),
        ("mongodb://h/?collection=t", "names no database and collection"),
        ("elasticsearch://h:9200/", "names no index"),
        ("elasticsearch://h:9200/a/b", "names no index"),
    ],
)
def test_url_must_say_what_to_read(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        collected(SourceSettings(name="x", url=url), tmp_path)


def test_object_ids_and_times_of_mongodb_are_cursors(mongodb_stand_in_url: str, tmp_path: Path) -> None:
    import pymongo
    from bson import Decimal128, ObjectId

    name = f"t{uuid.uuid4().hex[:8]}"
    source = SourceSettings(name="x", url=f"{mongodb_stand_in_url}?collection={name}", cursor="_id")
    with pymongo.MongoClient(mongodb_stand_in_url) as client:
        held = client.get_default_database()[name]
        held.insert_one({"_id": ObjectId(), "price": Decimal128("1.50"), "at": datetime(2026, 1, 1, tzinfo=UTC)})
        rows, _ = collected(source, tmp_path)
        assert rows[0]["text"] == "price: 1.50\nat: 2026-01-01 00:00:00+00:00"
        held.insert_one({"_id": ObjectId(), "price": Decimal128("2")})
    rows, summary = collected(source, tmp_path)
    assert (len(rows), summary["rows_read"]) == (2, 1)
