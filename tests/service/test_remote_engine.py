"""The remote engine asks another server of OpenAI's protocol; here, our own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.service.raw_replica import RawReplica, raw_replica
from tests.service.running_service import RunningService

from tulou.core.errors import ModelError
from tulou.core.manifest import write_manifest
from tulou.core.types import Message, ModelManifest
from tulou.service.engine import Generation, open_chat, open_encoder
from tulou.service.replica import EngineBackend, build_replica


@pytest.fixture
def key_in_environment(service: RunningService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_KEY", service.app)


def folder(path: Path, url: str, task: Any, model: str, **details: Any) -> Path:
    labels = ("refund", "delivery", "invoice") if task == "classify" else ()
    details = {"url": url, "model": model, "api_key_env": "THEIR_KEY", **details}
    manifest = ModelManifest("ours", task, "remote", "fp32", "f", "none", labels, 32, details=details)
    write_manifest(path, manifest)
    return path


@pytest.mark.usefixtures("key_in_environment")
async def test_remote_chat_streams_their_answer(service: RunningService, tmp_path: Path) -> None:
    engine = open_chat(folder(tmp_path, service.url + "/v1", "chat", "assistant"))
    deltas = [delta async for delta in engine.generate(Generation((Message("user", "hello there 你好"),), 3))]
    assert "".join(delta.text for delta in deltas) == "hello there 你"
    assert (deltas[-1].finish_reason, deltas[-1].completion_tokens) == ("length", 3)
    with pytest.raises(ModelError, match="cannot continue an answer begun before"):
        await anext(engine.generate(Generation("x", begun="y")))


@pytest.mark.usefixtures("key_in_environment")
def test_remote_encoders_give_their_vectors_and_probabilities(service: RunningService, tmp_path: Path) -> None:
    embed = open_encoder(folder(tmp_path / "e", service.url, "embed", "encoder"))
    rows = embed.encode(["where is it", "发票"])
    assert rows.shape == (2, 32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    classify = open_encoder(folder(tmp_path / "c", service.url, "classify", "intents"))
    assert classify.encode(["my refund", "the invoice"]).argmax(axis=1).tolist() == [0, 2]
    assert embed.count_tokens(["abcdefgh"]) == [3]
    with pytest.raises(ModelError, match="refused model 'nothing' with status 404"):
        open_encoder(folder(tmp_path / "n", service.url, "embed", "nothing")).encode(["x"])


async def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="needs its server's key in the environment as THEIR_KEY"):
        open_chat(folder(tmp_path, "http://127.0.0.1:9", "chat", "m"))
    with pytest.raises(ModelError, match=r"details\.url must be the http\(s\) URL of the server, not 'nowhere'"):
        open_chat(folder(tmp_path, "nowhere", "chat", "m"))
    monkeypatch.setenv("THEIR_KEY", "sk-x")
    with pytest.raises(ModelError, match="cannot be reached"):
        await anext(open_chat(folder(tmp_path, "http://127.0.0.1:9", "chat", "m")).generate(Generation("x")))
    with pytest.raises(ModelError, match="cannot be reached"):
        open_encoder(folder(tmp_path, "http://127.0.0.1:9", "embed", "m")).encode(["x"])


async def test_a_client_that_leaves_ends_the_work_at_their_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIR_KEY", "sk-x")

    async def thinks(replica: RawReplica, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await replica.read(reader)
        await reader.read(1)
        raise ConnectionError

    async with raw_replica(thinks) as server:
        backend = EngineBackend(open_chat(folder(tmp_path, server.url, "chat", "m")), "ours")
        body = [b'{"model": "ours"}']

        async def receive() -> dict[str, Any]:
            if body:
                return {"type": "http.request", "body": body.pop()}
            while not server.bodies:  # noqa: ASYNC110 -- another task fills it
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(_message: Any) -> None:
            pass

        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "headers": []}
        await asyncio.wait_for(build_replica(backend)(scope, receive, send), 5)
        await asyncio.sleep(0.1)
        assert server.lost == 1
        assert b"authorization: Bearer sk-x" in server.heads[0]
