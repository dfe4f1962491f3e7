"""A collection of MongoDB, read in the order of a field and of `_id`, by find and nothing else.

The server is given five seconds to be found. Fields are learnt from a sample, since a collection has no schema. Between
fields of different types nothing can be compared: documents whose cursor field has another type than the last are not
found again, as MongoDB's own `$gte` has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

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

_OPTIONS = ("collection", "filter")
_SAMPLE_DOCUMENTS = 100
_SILENT_SERVER_S = 120


class MongoTable:
    def __init__(self, collection: Any, cursor: str | None, chosen: Mapping[str, Any], uri: str) -> None:
        self.uri = uri
        self.name = str(collection.name)
        self._collection = collection
        self._cursor = cursor
        self._chosen = chosen  # the source's own filter

    def extent(self) -> Extent:
        assert self._cursor is not None
        filled = {"$and": [self._chosen, {self._cursor: {"$ne": None}}]}
        total = self._collection.count_documents(self._chosen)
        found = self._collection.count_documents(filled)
        newest = self._collection.find(filled).sort([(self._cursor, -1)]).limit(1)
        last = next((_value_at(document, self._cursor) for document in newest), None)
        return Extent(total, total - found, last)

    def records(self, since: Any | None) -> Iterator[Record]:
        chosen = self._chosen
        order = [("_id", 1)]
        if self._cursor is not None:
            bound = {"$ne": None} if since is None else {"$gte": since}
            chosen = {"$and": [chosen, {self._cursor: bound}]}
            order = [("_id", 1)] if self._cursor == "_id" else [(self._cursor, 1), ("_id", 1)]
        found = self._collection.find(chosen, batch_size=BATCH_RECORDS).sort(order).allow_disk_use(True)
        with found:
            for document in found:
                cursor = None if self._cursor is None else _value_at(document, self._cursor)
                values = {name: value for name, value in document.items() if name != "_id"}
                yield Record(str(document["_id"]), cursor, values)


@contextmanager
def open_mongo(source: SourceSettings, url: str) -> Iterator[MongoTable]:
    """The collection that `url` names, open for as long as the context.

    Raises `SettingsError` for a URL that names none, and `DataError` where the server cannot be reached or has no such
    collection or field.
    """
    pymongo = load_extra("pymongo", "mongo", "reading MongoDB")
    url, options = split_options(url, _OPTIONS)
    shown = without_secrets(url).partition("?")[0]
    chosen = _filter(source, options.get("filter"))
    errors = (pymongo.errors.PyMongoError,)
    with reading(source, shown, url, (*errors, pymongo.errors.InvalidURI, ValueError)):
        client = pymongo.MongoClient(
            url,
            serverSelectionTimeoutMS=CONNECT_TIMEOUT_S * 1000,
            connectTimeoutMS=CONNECT_TIMEOUT_S * 1000,
            socketTimeoutMS=_SILENT_SERVER_S * 1000,
            tz_aware=True,
            appname="tulou",
        )
    with client:
        name = unquote(urlsplit(url).path.strip("/"))
        if not name or "collection" not in options:
            raise SettingsError(
                f"source {source.name!r}: the url names no database and collection; "
                "write mongodb://HOST/DATABASE?collection=NAME"
            )
        database = client[name]
        uri = f"{shown}/{options['collection']}"
        with reading(source, uri, url, errors):
            have = database.list_collection_names()
            if options["collection"] not in have:
                raise DataError(
                    f"source {source.name!r}: {shown} has no collection {options['collection']!r}; it has {named(have)}"
                )
            collection = database[options["collection"]]
            _require_fields(source, uri, collection)
            yield MongoTable(collection, source.cursor, chosen, uri)


def _filter(source: SourceSettings, text: str | None) -> dict[str, Any]:
    """The documents wanted, in MongoDB's own words as extended JSON: {"status": "closed"}."""
    if text is None:
        return {}
    from bson import json_util

    try:
        value = json_util.loads(text)
    except (ValueError, TypeError) as err:
        raise SettingsError(f"source {source.name!r}: filter={text!r} is not JSON: {err}") from err
    if not isinstance(value, dict):
        raise SettingsError(f"source {source.name!r}: filter={json.dumps(text)} is no JSON object")
    return value


def _require_fields(source: SourceSettings, uri: str, collection: Any) -> None:
    """A field may be in some documents only, so one that the sample does not show is looked for by name."""
    fields = {name for document in collection.find().limit(_SAMPLE_DOCUMENTS) for name in document}
    wanted = {*source.text, *filter(None, (source.label, source.subject_id, source.cursor))}
    rare = {name for name in wanted - fields if collection.find_one({name: {"$exists": True}}, {"_id": 1})}
    if fields:
        require_columns(source, uri, sorted(fields | rare), "field")


def _value_at(document: Mapping[str, Any], path: str) -> Any:
    value: Any = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
