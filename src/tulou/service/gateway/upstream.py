"""Speaking to replicas over HTTP, through one pool of kept-alive connections (aiohttp).

Requests and answers have OpenAI's shapes; answers are always streamed, so that a lost replica is noticed at the word
where it was lost. Vectors travel as base64, a quarter of the bytes of decimal text.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from tulou.core.types import ChatDelta
from tulou.service.engine.base import Generation
from tulou.service.gateway import refusals
from tulou.service.gateway.dispatch import Encoded, ReplicaLost
from tulou.service.pool import Endpoint, Manifests

CONNECT_TIMEOUT_S = 2.0
MAX_LINE_BYTES = 1 << 20


class _Words(Struct):
    content: str | None = None


class _Choice(Struct):
    delta: _Words | None = None  # chat
    text: str | None = None  # plain completion
    finish_reason: str | None = None


class _Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Problem(Struct):
    message: str = "unknown"
    type: str = refusals.INVALID
    param: str | None = None
    code: str | None = None


class _Chunk(Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Problem | None = None


class _Vector(Struct):
    embedding: str


class _Vectors(Struct):
    data: list[_Vector]
    usage: _Usage


class _LabelScore(Struct):
    label: str
    score: float


class _Scores(Struct):
    scores: list[_LabelScore]


class _ScoreList(Struct):
    data: list[_Scores]
    usage: _Usage


class _Failure(Struct):
    error: _Problem


_chunk = msgspec.json.Decoder(_Chunk)
_vectors = msgspec.json.Decoder(_Vectors)
_scores = msgspec.json.Decoder(_ScoreList)
_failure = msgspec.json.Decoder(_Failure)


class HttpUpstream:
    def __init__(self, models: Manifests, timeout_s: float, headers: Mapping[str, str] | None = None) -> None:
        self._models = models
        self._headers = {"content-type": "application/json", **(headers or {})}
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_TIMEOUT_S),
            read_bufsize=MAX_LINE_BYTES,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def generate(self, endpoint: Endpoint, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        path, body = _request_for(endpoint.model, request)
        finish_reason, usage = None, _Usage()
        async with self._post(endpoint, path, body) as response:
            async for line in response.content:
                if not line.startswith(b"data: "):
                    continue
                data = line[6:].strip()
                if data == b"[DONE]":
                    break
                chunk = _chunk.decode(data)
                if chunk.error:
                    raise refusals.ApiError(500, chunk.error.message, chunk.error.type, chunk.error.code)
                if chunk.choices:
                    choice = chunk.choices[0]
                    finish_reason = choice.finish_reason or finish_reason
                    if text := choice.text or (choice.delta and choice.delta.content):
                        yield ChatDelta(text)
                usage = chunk.usage or usage
        if finish_reason:  # without one, the answer broke off; the caller tries elsewhere
            yield ChatDelta("", finish_reason, usage.prompt_tokens, usage.completion_tokens)

    async def encode(self, endpoint: Endpoint, texts: Sequence[str]) -> Encoded:
        manifest = self._models[endpoint.model]
        body: dict[str, Any] = {"model": endpoint.model, "input": list(texts)}
        if manifest.task == "classify":
            async with self._post(endpoint, "/v1/classify", body) as response:
                return _probabilities(await response.read(), manifest.labels)
        async with self._post(endpoint, "/v1/embeddings", body | {"encoding_format": "base64"}) as response:
            return _embeddings(await response.read())

    @asynccontextmanager
    async def _post(self, endpoint: Endpoint, path: str, body: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Raises `ReplicaLost`, `ApiError` as the replica worded it, or 504 when the time for the request is over."""
        if self._session is None:
            raise ReplicaLost("the gateway is not running")
        try:
            async with self._session.post(
                endpoint.url + path, data=msgspec.json.encode(body), headers=self._headers
            ) as response:
                if response.status == 503:
                    raise ReplicaLost(f"{endpoint.name} is stopping")
                if response.status >= 400:
                    raise _worded(response.status, await response.read())
                yield response
        except aiohttp.ConnectionTimeoutError as err:
            raise ReplicaLost(f"{endpoint.name} does not accept connections") from err
        except TimeoutError as err:
            raise refusals.timed_out(self._timeout_s) from err
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as err:
            raise ReplicaLost(f"{endpoint.name} was lost: {err}") from err


def _request_for(model: str, request: Generation) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "begun": request.begun or None,
    }
    body = {name: value for name, value in body.items() if value is not None}
    if isinstance(request.prompt, str):
        return "/v1/completions", body | {"prompt": request.prompt}
    messages = [{"role": message.role, "content": message.content} for message in request.prompt]
    return "/v1/chat/completions", body | {"messages": messages}


def _embeddings(raw: bytes) -> Encoded:
    import base64

    import numpy as np

    answer = _vectors.decode(raw)
    packed = b"".join(base64.b64decode(each.embedding) for each in answer.data)
    rows = np.frombuffer(packed, dtype="<f4").reshape(len(answer.data), -1).astype(np.float32, copy=False)
    return Encoded(rows, answer.usage.prompt_tokens)


def _probabilities(raw: bytes, labels: Sequence[str]) -> Encoded:
    import numpy as np

    answer = _scores.decode(raw)
    column = {label: i for i, label in enumerate(labels)}
    rows = np.zeros((len(answer.data), len(labels)), dtype=np.float32)
    for row, each in zip(rows, answer.data, strict=True):
        for score in each.scores:
            row[column[score.label]] = score.score
    return Encoded(rows, answer.usage.prompt_tokens)


def _worded(status: int, raw: bytes) -> refusals.ApiError:
    try:
        problem = _failure.decode(raw).error
    except msgspec.DecodeError:
        return refusals.ApiError(502, f"A replica answered with status {status} and no explanation.", "server_error")
    return refusals.ApiError(status, problem.message, problem.type, problem.code, problem.param)
