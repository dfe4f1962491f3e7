"""Remote engines: any server that speaks OpenAI's protocol (vLLM, SGLang, OpenAI itself) behind our own replica.

Requests are relayed to it as they came, tools, schemas, pictures and all, with its own name for the model put in.
`model.json` says where, in `details`: `url`, the server's own name for the `model`, and `api_key_env`, the environment
variable that holds its key; keys are never written into model folders. Token counts of encoders are estimates, because
their vocabulary is not here.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.errors import ModelError
from tulou.core.types import ChatDelta, ModelManifest
from tulou.service.engine.base import Generation, Input, Relayed, Unsupported, is_pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tulou.service.gateway.upstream import Connection, Connections
    from tulou.service.pool import Endpoint

TIMEOUT_S = 60.0
EVENTS = "text/event-stream"
BYTES_PER_TOKEN = 4  # near enough in Chinese and in English


class _Remote:
    def __init__(self, folder: Path, manifest: ModelManifest, threads: int) -> None:
        self.manifest = manifest
        url = str(manifest.details.get("url", "")).rstrip("/").removesuffix("/v1")
        if not url.startswith(("http://", "https://")):
            raise ModelError(f"{folder / 'model.json'}: details.url must be the http(s) URL of the server, not {url!r}")
        self._url = url
        self._connections: Connections | None = None
        self._model = str(manifest.details.get("model", manifest.name))
        self._timeout_s = float(manifest.details.get("timeout_s", TIMEOUT_S))
        self._authorization = ""
        if variable := manifest.details.get("api_key_env"):
            if variable not in os.environ:
                raise ModelError(f"model {manifest.name!r} needs its server's key in the environment as {variable}")
            self._authorization = f"Bearer {os.environ[variable]}"

    def close(self) -> None:
        pass

    async def relay(self, path: str, body: bytes) -> Relayed:
        import msgspec

        from tulou.service.gateway.upstream import OutOfTime, ReplicaLost, Whole

        try:
            asked = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            raise Unsupported("body", "We could not parse the JSON body of your request")
        if asked.get("begun"):
            raise Unsupported("begun", f"model {self.manifest.name!r} runs elsewhere and cannot continue an answer")
        raw, is_streamed = msgspec.json.encode(asked | {"model": self._model}), bool(asked.get("stream"))
        connections = await self._ready()
        there, ends_at = self._endpoint(), time.monotonic() + self._timeout_s
        try:
            answer = await connections.ask(there, path, raw, f"req_{secrets.token_hex(16)}", is_streamed, ends_at)
        except (ReplicaLost, OutOfTime) as err:
            raise self._unreachable(err) from err
        if isinstance(answer, Whole):
            return Relayed(answer.status, answer.content_type.decode("latin-1"), _at_once(answer.body))
        return Relayed(answer.status, EVENTS, self._events(connections, answer))

    async def _events(self, connections: Connections, stream: Connection) -> AsyncGenerator[bytes, None]:
        try:
            while (events := await stream.events()) is not None:
                yield events
        finally:
            connections.end(stream)

    async def _ready(self) -> Connections:
        """Connections of this engine, made for its first request: only then is there a loop."""
        if self._connections is None:
            from tulou.service.gateway.upstream import Connections, Patience

            self._connections = Connections(Patience(first_byte_s=self._timeout_s, idle_s=self._timeout_s))
            await self._connections.start()
        return self._connections

    def _endpoint(self) -> Endpoint:
        from tulou.service.pool import Endpoint

        return Endpoint(self._url, self._model, self._url, authorization=self._authorization)

    def _unreachable(self, err: Exception) -> ModelError:
        return ModelError(f"the server of model {self.manifest.name!r} cannot be reached: {err}")


async def _at_once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


class RemoteChat(_Remote):
    tool_format: str | None = None  # theirs to know; requests with tools are relayed

    def text_of(self, ids: Sequence[int]) -> str:
        raise Unsupported("prompt", f"the vocabulary of model {self.manifest.name!r} is not here")

    async def generate(self, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        from tulou.service.gateway import asking
        from tulou.service.gateway.upstream import Connections, OutOfTime, Patience, ReplicaLost, Whole

        if request.begun:  # their protocol has no word for it; the gateway's client is told rather than misled
            raise ModelError(f"model {self.manifest.name!r} runs elsewhere and cannot continue an answer begun before")
        patience = Patience(first_byte_s=self._timeout_s, idle_s=self._timeout_s)
        connections = Connections(patience)
        path, body = asking.streamed_request(self._model, request)
        await connections.start()
        try:
            there, ends_at = self._endpoint(), time.monotonic() + self._timeout_s
            stream = await connections.ask(there, path, body, f"req_{secrets.token_hex(16)}", True, ends_at)
            if isinstance(stream, Whole):
                raise asking.worded(stream)
            deltas = asking.Deltas()
            while (events := await stream.events()) is not None:
                for delta in deltas.read(events):
                    yield delta
            yield deltas.end()
        except (ReplicaLost, OutOfTime) as err:
            raise self._unreachable(err) from err
        finally:
            await connections.stop()


class RemoteEncoder(_Remote):
    def encode(self, texts: Sequence[Input]) -> NDArray[np.float32]:
        import numpy as np

        if self.manifest.task == "rerank":
            return self._graded([text for text in texts if is_pair(text)])
        if self.manifest.task == "classify":
            rows = np.zeros((len(texts), len(self.manifest.labels)), dtype=np.float32)
            column = {label: i for i, label in enumerate(self.manifest.labels)}
            for row, each in zip(rows, self._ask("/v1/classify", texts)["data"], strict=True):
                for score in each["scores"]:
                    row[column[score["label"]]] = score["score"]
            return rows
        found = self._ask("/v1/embeddings", texts, encoding_format="base64")["data"]
        packed = b"".join(base64.b64decode(each["embedding"]) for each in found)
        return np.frombuffer(packed, dtype="<f4").reshape(len(texts), self.manifest.dimensions).astype(np.float32)

    def count_tokens(self, texts: Sequence[Input]) -> list[int]:
        spoken = ["".join(text) if is_pair(text) else text for text in texts]
        counts = [len(text.encode()) // BYTES_PER_TOKEN + 1 if isinstance(text, str) else len(text) for text in spoken]
        return [min(count, self.manifest.max_tokens) for count in counts]

    def coverage(self, texts: Sequence[str]) -> list[float]:
        return [1.0 if text.strip() else 0.0 for text in texts]

    def _graded(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Scores (n, 1); those who ask the same are asked together."""
        import numpy as np

        rows = np.zeros((len(pairs), 1), dtype=np.float32)
        for query in dict.fromkeys(query for query, _ in pairs):
            places = [place for place, pair in enumerate(pairs) if pair[0] == query]
            asked = {"query": query, "documents": [pairs[place][1] for place in places]}
            for found in self._post("/v1/rerank", asked)["results"]:
                rows[places[found["index"]]] = found["relevance_score"]
        return rows

    def _ask(self, path: str, texts: Sequence[Input], **options: str) -> Any:
        return self._post(path, {"input": list(texts), **options})

    def _post(self, path: str, asked: dict[str, Any]) -> Any:
        body = json.dumps({"model": self._model, **asked}).encode()
        headers = {"content-type": "application/json"}
        if self._authorization:
            headers["authorization"] = self._authorization
        request = urllib.request.Request(self._url + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
                return json.load(response)
        except urllib.error.HTTPError as err:
            said = err.read(500).decode(errors="replace")
            raise ModelError(f"{self._url} refused model {self._model!r} with status {err.code}: {said}") from err
        except (OSError, ValueError) as err:
            raise self._unreachable(err) from err


def open_remote(folder: Path, manifest: ModelManifest, threads: int) -> RemoteChat | RemoteEncoder:
    return (RemoteChat if manifest.task == "chat" else RemoteEncoder)(folder, manifest, threads)
