"""A request that a replica has read and found good, what it is asked of, and the forms its answer may take."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from tulou.core.types import ChatDelta, ModelManifest
from tulou.service.engine.base import Generation, Input
from tulou.service.gateway.entry import Caller
from tulou.service.pool import Manifests

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Encoded:
    """Vectors or probabilities, (n, dimensions) or (n, labels), and the tokens that were read for them."""

    rows: NDArray[np.float32]
    prompt_tokens: int


class Backend(Protocol):
    """Where answers come from."""

    @property
    def models(self) -> Manifests: ...

    @property
    def tool_format(self) -> str | None: ...

    def text_of(self, ids: Sequence[int]) -> str: ...

    def generate(self, model: str, request: Generation, caller: Caller) -> AsyncGenerator[ChatDelta, None]: ...

    async def encode(self, model: str, texts: Sequence[Input], caller: Caller) -> Encoded: ...


@dataclass(frozen=True)
class Call:
    """A request that has been read and found good."""

    body: Any
    manifest: ModelManifest
    backend: Backend
    caller: Caller
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def fingerprint(self) -> str:
        return f"fp_{self.manifest.version or self.manifest.fingerprint}"

    def id(self, prefix: str) -> str:
        return f"{prefix}-{self.caller.request_id.removeprefix('req_')}"


class Pieces(StreamingResponse):
    """An answer piece by piece; its generator is closed, and so the work behind it, as soon as the client leaves."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], status: int = 200, media_type: str = EVENTS) -> None:
        super().__init__(pieces, status, {"cache-control": "no-cache"}, media_type)
        self._pieces = pieces

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._pieces):
            await super().stream_response(send)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")
