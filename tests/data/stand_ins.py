"""Small servers that speak the protocols of servers that cannot be had here: MongoDB, WebHDFS, Elasticsearch.

Real clients talk to them over loopback, in processes of their own, so that our side of the protocol is exercised whole.
They follow the published protocols and know only what is used; the same tests run against the real servers where an
environment variable names one. `python -m tests.data.stand_ins KIND PORT`.
"""

from __future__ import annotations

import json
import socketserver
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

_LOCK = threading.RLock()
_GREETINGS = ("ismaster", "hello", "ping")


# --- MongoDB: OP_MSG (and OP_QUERY for the first greeting) around mongomock -------------------------------------------


class _Mongo(socketserver.BaseRequestHandler):
    cursors: ClassVar[dict[int, tuple[str, list[Any]]]] = {}

    def handle(self) -> None:
        while header := self._exactly(16):
            length, request, _, opcode = struct.unpack("<iiii", header)
            body = self._exactly(length - 16)
            answer = self._answer(opcode, body)
            self.request.sendall(_message(opcode, request, answer))

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            part = self.request.recv(count - len(got))
            if not part:
                return b""
            got += part
        return got

    def _answer(self, opcode: int, body: bytes) -> dict[str, Any]:
        import bson
        from pymongo.errors import PyMongoError

        if opcode == 2004:  # OP_QUERY: flags, name of the collection, skip, limit, the command
            name_end = body.index(b"\0", 4)
            command = bson.decode(body[name_end + 9 :])
        else:
            command = _sections(body[4:])
        name = next(iter(command))
        try:
            with _LOCK if name.lower() not in _GREETINGS else nullcontext():  # who greets is told that we are alive
                return {"ok": 1.0, **_MONGO[name.lower()](command)}
        except KeyError:
            return {"ok": 0.0, "code": 59, "codeName": "CommandNotFound", "errmsg": f"no such command: {name!r}"}
        except PyMongoError as err:
            return {"ok": 0.0, "code": getattr(err, "code", 1) or 1, "errmsg": str(err)}


def _sections(body: bytes) -> dict[str, Any]:
    import bson

    command: dict[str, Any] = {}
    lists: dict[str, Any] = {}
    place = 0
    while place < len(body):
        kind = body[place]
        size = struct.unpack_from("<i", body, place + 1)[0]
        part = body[place + 1 : place + 1 + size]
        if kind == 0:
            command = bson.decode(part)
        else:
            name_end = part.index(b"\0", 4)
            lists[part[4:name_end].decode()] = bson.decode_all(part[name_end + 1 :])
        place += 1 + size
    return {**command, **lists}


def _message(opcode: int, to: int, answer: dict[str, Any]) -> bytes:
    import bson

    document: bytes = bson.encode(answer)
    if opcode == 2004:  # OP_REPLY: flags, cursor, start, number of documents
        body, opcode = struct.pack("<iqii", 8, 0, 0, 1) + document, 1
    else:
        body = struct.pack("<I", 0) + b"\0" + document
    return struct.pack("<iiii", 16 + len(body), 1, to, opcode) + body


def _mongo_commands() -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
    import mongomock
    from pymongo.errors import DuplicateKeyError

    client: Any = mongomock.MongoClient()

    def greeting(command: dict[str, Any]) -> dict[str, Any]:
        limits = {"maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000}
        return {"ismaster": True, "isWritablePrimary": True, "minWireVersion": 0, "maxWireVersion": 21, **limits}

    def collection(command: dict[str, Any]) -> Any:
        return client[command["$db"]][next(iter(command.values()))]

    def paged(command: dict[str, Any], documents: list[Any]) -> dict[str, Any]:
        size = command.get("batchSize") or command.get("cursor", {}).get("batchSize") or 101
        name = f"{command['$db']}.{next(iter(command.values()))}"
        rest, number = documents[size:], 0
        if rest and not command.get("singleBatch"):
            number = len(_Mongo.cursors) + 1000
            _Mongo.cursors[number] = (name, rest)
        return {"cursor": {"id": number, "ns": name, "firstBatch": documents[:size]}}

    def find(command: dict[str, Any]) -> dict[str, Any]:
        found = collection(command).find(command.get("filter") or {}, command.get("projection"))
        if command.get("sort"):
            found = found.sort(list(command["sort"].items()))
        return paged(command, list(found.limit(abs(command.get("limit", 0)))))

    def get_more(command: dict[str, Any]) -> dict[str, Any]:
        name, rest = _Mongo.cursors[command["getMore"]]
        size = command.get("batchSize") or len(rest)
        _Mongo.cursors[command["getMore"]] = (name, rest[size:])
        number = command["getMore"] if rest[size:] else 0
        return {"cursor": {"id": number, "ns": name, "nextBatch": rest[:size]}}

    def insert(command: dict[str, Any]) -> dict[str, Any]:
        for place, document in enumerate(command["documents"]):
            try:
                collection(command).insert_one(document)
            except DuplicateKeyError as err:
                return {"n": place, "writeErrors": [{"index": place, "code": 11000, "errmsg": str(err)}]}
        return {"n": len(command["documents"])}

    def update(command: dict[str, Any]) -> dict[str, Any]:
        matched = changed = 0
        for each in command["updates"]:
            is_replacement = not any(key.startswith("$") for key in each["u"])
            act = collection(command).replace_one if is_replacement else collection(command).update_one
            done = act(each["q"], each["u"], upsert=each.get("upsert", False))
            matched, changed = matched + done.matched_count, changed + (done.modified_count or 0)
        return {"n": matched, "nModified": changed}

    def delete(command: dict[str, Any]) -> dict[str, Any]:
        acts = {0: collection(command).delete_many, 1: collection(command).delete_one}
        return {"n": sum(acts[each["limit"]](each["q"]).deleted_count for each in command["deletes"])}

    def find_and_modify(command: dict[str, Any]) -> dict[str, Any]:
        query, held = command["query"], collection(command)
        if held.find_one(query) is None and held.find_one({"_id": query["_id"]}) is not None:
            raise DuplicateKeyError("E11000 duplicate key error", 11000)
        before = held.find_one_and_update(query, command["update"], upsert=command.get("upsert", False))
        return {"value": before, "lastErrorObject": {"n": 1, "updatedExisting": before is not None}}

    def aggregate(command: dict[str, Any]) -> dict[str, Any]:
        return paged(command, list(collection(command).aggregate(command["pipeline"])))

    def list_collections(command: dict[str, Any]) -> dict[str, Any]:
        names = client[command["$db"]].list_collection_names()
        return paged({"listCollections": 1, **command}, [{"name": name, "type": "collection"} for name in names])

    def nothing(command: dict[str, Any]) -> dict[str, Any]:
        return {}

    return {
        **dict.fromkeys(_GREETINGS[:2], greeting),
        **dict.fromkeys(("ping", "endsessions", "killcursors"), nothing),
        "createindexes": nothing,  # mongomock goes through all rows for each it adds to a unique index
        "find": find,
        "getmore": get_more,
        "insert": insert,
        "update": update,
        "delete": delete,
        "findandmodify": find_and_modify,
        "aggregate": aggregate,
        "listcollections": list_collections,
    }


_MONGO: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}


# --- WebHDFS: https://hadoop.apache.org/docs/stable/hadoop-project-dist/hadoop-hdfs/WebHDFS.html ----------------------


class _Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None: ...

    def answer(self, status: int, body: Any = b"", **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self) -> None:
        with _LOCK:
            self.serve("GET")

    def do_PUT(self) -> None:
        with _LOCK:
            self.serve("PUT")

    def do_POST(self) -> None:
        with _LOCK:
            self.serve("POST")

    def do_DELETE(self) -> None:
        with _LOCK:
            self.serve("DELETE")

    def serve(self, method: str) -> None:
        raise NotImplementedError


class _WebHdfs(_Http):
    """The name node under /webhdfs/v1, the data node it sends clients to under /data."""

    files: ClassVar[dict[str, bytes]] = {}
    folders: ClassVar[set[str]] = {"/"}

    def serve(self, method: str) -> None:
        content, parts = self.body(), urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = unquote(parts.path)
        port = self.connection.getsockname()[1]
        if path.startswith("/data"):
            return self._data(method, path.removeprefix("/data"), content)
        path = path.removeprefix("/webhdfs/v1").rstrip("/") or "/"
        operation = asked.get("op", "")
        if operation in ("CREATE", "OPEN") and (operation == "CREATE" or path in self.files):
            # CREATE sends nothing here: the client takes the content where it is sent to
            return self.answer(307, Location=f"http://127.0.0.1:{port}/data{parts.path.removeprefix('/webhdfs/v1')}")
        if operation == "MKDIRS":
            self._make(path)
            return self.answer(200, {"boolean": True})
        if operation == "DELETE":
            return self.answer(200, {"boolean": self.files.pop(path, None) is not None})
        if operation == "RENAME":
            can = path in self.files and asked["destination"] not in self.files
            if can:
                self.files[asked["destination"]] = self.files.pop(path)
            return self.answer(200, {"boolean": can})
        if operation == "GETFILESTATUS" and (path in self.files or path in self.folders):
            return self.answer(200, {"FileStatus": self._status(path)})
        if operation == "LISTSTATUS" and path in self.folders:
            below = [
                name
                for name in (*self.files, *self.folders)
                if name != "/" and name.rpartition("/")[0] in (path, path.rstrip("/"))
            ]
            return self.answer(200, {"FileStatuses": {"FileStatus": [self._status(name) for name in sorted(below)]}})
        return self._missing(path)

    def _missing(self, path: str) -> None:
        exception = {"exception": "FileNotFoundException", "message": f"File does not exist: {path}"}
        self.answer(404, {"RemoteException": exception})

    def _data(self, method: str, path: str, content: bytes) -> None:
        if method == "PUT":
            self._make(path.rpartition("/")[0])
            self.files[path] = content
            return self.answer(201)
        return self.answer(200, self.files[path]) if path in self.files else self._missing(path)

    def _make(self, path: str) -> None:
        while path:
            self.folders.add(path)
            path = path.rpartition("/")[0]

    def _status(self, path: str) -> dict[str, Any]:
        kind = "FILE" if path in self.files else "DIRECTORY"
        return {"pathSuffix": path.rpartition("/")[2], "type": kind, "length": len(self.files.get(path, b""))}


# --- Elasticsearch: the search API with a point in time ---------------------------------------------------------------


class _Elastic(_Http):
    """One index at a time is made by PUT /INDEX with its mapping, filled by PUT /INDEX/_doc/ID."""

    indices: ClassVar[dict[str, dict[str, Any]]] = {}
    points: ClassVar[dict[str, list[dict[str, Any]]]] = {}

    def serve(self, method: str) -> None:
        raw = self.body()
        body = json.loads(raw) if raw else {}
        path = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/") if part]
        if "compatible-with" in str(self.headers):
            return self.answer(400, {"error": {"type": "media_type_header_exception", "reason": "version mismatch"}})
        if self.headers.get("Authorization") == "Basic dTp3cm9uZw==":  # u:wrong
            return self._refuse(401, "security_exception", "unable to authenticate user [u]")
        if not path:
            return self.answer(200, {"version": {"number": "8.17.0"}})
        if path == ["_cat", "indices"]:
            return self.answer(200, [{"index": name} for name in self.indices])
        if path == ["_search"]:
            return self._page(self.points.get(body["pit"]["id"]), body)
        if path == ["_pit"]:
            self.points.pop(body["id"], None)
            return self.answer(200, {"succeeded": True})
        index = self.indices.get(path[0])
        if method == "PUT" and len(path) == 1:
            self.indices[path[0]] = {"fields": body["mappings"]["properties"], "documents": {}}
            return self.answer(200, {"acknowledged": True})
        if index is None:
            return self._refuse(404, "index_not_found_exception", f"no such index [{path[0]}]")
        documents = [{"_id": key, "_source": value} for key, value in index["documents"].items()]
        if path[1] == "_doc":
            index["documents"][path[2]] = body
            return self.answer(201, {"result": "created"})
        if path[1] == "_field_caps":
            fields: dict[str, Any] = {name: {field["type"]: {}} for name, field in index["fields"].items()}
            return self.answer(200, {"fields": {**fields, "_id": {"_id": {}}}})
        if path[1] == "_pit":
            name = f"point {len(self.points) + 1}"
            self.points[name] = documents
            return self.answer(200, {"id": name})
        if path[1] == "_count":
            return self.answer(200, {"count": sum(_matches(body["query"], each["_source"]) for each in documents)})
        return self._page(documents, body)

    def _page(self, documents: list[dict[str, Any]] | None, body: dict[str, Any]) -> None:
        if documents is None:
            return self._refuse(404, "search_context_missing_exception", "No search context found")
        hits = []
        for place, each in enumerate(documents):
            if _matches(body["query"], each["_source"]):
                keys = [
                    place if "_shard_doc" in order else each["_source"][next(iter(order))] for order in body["sort"]
                ]
                hits.append({**each, "sort": keys})
        order = next(iter(body["sort"][0].values()))
        is_down = isinstance(order, dict) and order.get("order") == "desc"
        hits.sort(key=lambda hit: hit["sort"], reverse=is_down)
        total = {"value": len(hits), "relation": "eq"}
        if after := body.get("search_after"):
            hits = [hit for hit in hits if hit["sort"] > after]
        shards = {"total": 1, "successful": 1, "failed": 0}
        page = {"timed_out": False, "_shards": shards, "hits": {"total": total, "hits": hits[: body["size"]]}}
        return self.answer(200, {**page, **({"pit_id": body["pit"]["id"]} if "pit" in body else {})})

    def _refuse(self, status: int, kind: str, reason: str) -> None:
        cause = {"type": kind, "reason": reason}
        self.answer(status, {"error": {"root_cause": [cause], **cause}, "status": status})


def _matches(query: dict[str, Any], source: dict[str, Any]) -> bool:
    [(kind, body)] = query.items()
    if kind == "match_all":
        return True
    if kind == "bool":
        return all(_matches(part, source) for part in body["filter"])
    if kind == "exists":
        return source.get(body["field"]) is not None
    if kind == "term":
        return all(source.get(name) == value for name, value in body.items())
    [(name, bound)] = body.items()  # range
    return source.get(name) is not None and source[name] >= bound["gte"]


def main() -> None:
    kind, port = sys.argv[1], int(sys.argv[2])
    server: socketserver.BaseServer
    if kind == "mongodb":
        _MONGO.update(_mongo_commands())
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        socketserver.ThreadingTCPServer.daemon_threads = True
        server = socketserver.ThreadingTCPServer(("127.0.0.1", port), _Mongo)
    else:
        server = ThreadingHTTPServer(("127.0.0.1", port), {"webhdfs": _WebHdfs, "elasticsearch": _Elastic}[kind])
    server.serve_forever()


if __name__ == "__main__":
    main()
