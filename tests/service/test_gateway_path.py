"""The gateway before replicas that misbehave: what the client of each gets, and what the accounts say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from tests.service.raw_replica import STREAM, RawReplica, Script, chunk, raw_replica
from uvicorn.server import ServerState

from tulou.core.service_settings import ServiceSettings
from tulou.core.state import open_state
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.service.gateway.app import build_gateway
from tulou.service.gateway.keys import Keys
from tulou.service.gateway.protocol import KEEP_ALIVE_S, TAKE_S, GatewayProtocol
from tulou.service.gateway.switchboard import Switchboard
from tulou.service.pool import Endpoint, FixedPool

GOOD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 64\r\n\r\n"
    b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
)
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n'
DONE = b"data: [DONE]\n\n"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


class Gateway:
    def __init__(self, client: httpx.AsyncClient, board: Switchboard, state: sa.Engine) -> None:
        self.client, self.board, self._state = client, board, state

    async def post(self, path: str = "/v1/chat/completions", **fields: Any) -> httpx.Response:
        return await self.client.post(path, json=ASKED | fields)

    def rows(self) -> list[tuple[int, int, int]]:
        """Status and tokens of each request in the accounts."""
        self.board.accountant.flush()
        with self._state.connect() as db:
            query = sa.text("select status, prompt_tokens, completion_tokens from requests order by id")
            return [tuple(row) for row in db.execute(query)]


@contextlib.asynccontextmanager
async def gateway(folder: Path, *replicas: RawReplica, **settings: Any) -> AsyncIterator[Gateway]:
    """A gateway on a port of its own, before these replicas."""
    service = ServiceSettings(first_byte_s=1, idle_s=1, timeout_s=8, **settings)
    endpoints = [Endpoint(f"m-{i}", "m", replica.url) for i, replica in enumerate(replicas)]
    state = open_state("sqlite:///state.db", folder)
    keys = Keys(state)
    manifest = ModelManifest("m", "chat", "remote", "none", "f", "")
    board = Switchboard(service, FixedPool({"m": endpoints}), state, Metrics(), {"m": manifest}, patience_s=0.2)
    config = uvicorn.Config(
        build_gateway(service, board, keys), log_config=None, access_log=False, lifespan="on", http=GatewayProtocol
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        while True:
            await asyncio.sleep(0.01)
            if server.started:
                break
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        headers = {"authorization": f"Bearer {keys.create('test')[1]}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as client:
            yield Gateway(client, board, state)
        server.should_exit = True
        await serving
    state.dispose()


def answering(*parts: bytes, then: str = "stay") -> Script:
    """Answers each request with these parts; then stays, closes, or hangs."""

    async def script(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.read(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        if then == "close":
            writer.close()
        elif then == "hang":
            await reader.read(1)
            raise ConnectionError

    return script


BAD = {
    "garbage": answering(b"\x00\x01\x02 not HTTP\r\n\r\n", then="close"),
    "no JSON": answering(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>"),
    "an unexplained error": answering(b"HTTP/1.1 502 Bad\r\ncontent-length: 6\r\n\r\n<html>"),
    "half an answer": answering(b"HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\n{", then="close"),
    "nothing": answering(then="hang"),
    "a byte now and then": answering(b"HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\n", *[b" "] * 100, then="hang"),
}


@pytest.mark.parametrize("bad", BAD)
async def test_a_replica_that_misbehaves_costs_no_whole_answer(tmp_path: Path, bad: str) -> None:
    async with raw_replica(BAD[bad]) as broken, raw_replica(answering(GOOD)) as good:
        async with gateway(tmp_path, broken, good) as service:
            answers = await asyncio.gather(*(service.post() for _ in range(10)))
            assert {answer.status_code for answer in answers} == {200}
            assert answers[0].json()["usage"]["completion_tokens"] == 4
            assert answers[0].headers["x-request-id"].startswith("req_")
            assert service.rows() == [(200, 3, 4)] * 10
        assert broken.connections > 0


async def test_a_stream_is_relayed_and_its_usage_kept_for_the_accounts(tmp_path: Path) -> None:
    replica_says = answering(STREAM, chunk(WORD), chunk(WORD), chunk(USAGE + DONE), b"0\r\n\r\n")
    async with raw_replica(replica_says) as replica, gateway(tmp_path, replica) as service:
        silent = await service.post(stream=True)
        assert silent.content == WORD + WORD + DONE
        assert silent.headers["content-type"].startswith("text/event-stream")
        told = await service.post(stream=True, stream_options={"include_usage": True})
        assert told.content == WORD + WORD + USAGE + DONE
        refused = await service.post(stream=True, stream_options={"include_usage": False})
        assert refused.content == WORD + WORD + DONE
        assert service.rows() == [(200, 5, 6)] * 3
        assert all(b'"include_usage":true' in body.replace(b" ", b"") for body in replica.bodies)
        assert (replica.connections, replica.lost) == (1, 0)


@pytest.mark.parametrize("end", ["close", "hang"])
async def test_a_stream_lost_in_the_middle_ends_with_a_clear_error_that_is_counted(tmp_path: Path, end: str) -> None:
    breaks = answering(STREAM, chunk(WORD), chunk(b"data: half an ev"), then=end)
    async with raw_replica(breaks) as broken, gateway(tmp_path, broken) as service:
        answer = await service.post(stream=True)
        assert answer.status_code == 200
        assert answer.content.startswith(WORD + b'data: {"error":')
        assert b"lost in the middle of this answer" in answer.content
        assert b"half an ev" not in answer.content
        assert service.rows()[0][0] == 503
        metrics = (await service.client.get("/metrics")).text
        assert 'tulou_requests_total{model="m",route="/v1/chat/completions",status="503"} 1.0' in metrics


async def test_the_replicas_refusal_reaches_the_client_as_it_was_worded(tmp_path: Path) -> None:
    error = b'{"error": {"message": "too hot",  "type": "invalid_request_error", "param": "temperature", "code": null}}'
    head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(error)
    async with raw_replica(answering(head + error)) as replica, gateway(tmp_path, replica) as service:
        for is_streamed in (False, True):
            answer = await service.post(stream=is_streamed)
            assert (answer.status_code, answer.content) == (400, error)
        assert [row[0] for row in service.rows()] == [400, 400]


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_client_that_goes_away_cancels_the_work_behind_it(tmp_path: Path, is_streamed: bool) -> None:
    parts = (STREAM, chunk(WORD)) if is_streamed else ()
    async with raw_replica(answering(*parts, then="hang")) as replica, gateway(tmp_path, replica) as service:
        with pytest.raises(httpx.ReadTimeout):
            await service.client.post(
                "/v1/chat/completions", json=ASKED | {"stream": is_streamed}, timeout=httpx.Timeout(5, read=0.15)
            )
        for _ in range(50):
            await asyncio.sleep(0.01)
            if replica.lost:
                break
        assert replica.lost == 1
        assert [row[0] for row in service.rows()] == [499]
        assert service.board.in_flight() == {}


async def test_the_body_travels_on_as_it_came(tmp_path: Path) -> None:
    odd = b'{ "model":"m", "messages": [ ] ,"temperature": 1.10, "unheard_of": "\\u00e9" }'
    async with raw_replica(answering(GOOD)) as replica, gateway(tmp_path, replica) as service:
        answer = await service.client.post("/v1/chat/completions", content=odd)
        assert answer.status_code == 200
        assert replica.bodies == [odd]


async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tulou.service.gateway.exchange.Patrol.__init__.__defaults__", (0.2,), raising=False)
    async with raw_replica(answering(GOOD)) as replica, gateway(tmp_path, replica) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.client.base_url.port)
        key = service.client.headers["authorization"]
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\ncontent-length: 9\r\n\r\n"
        writer.write(head.encode() + b"{")
        assert (await asyncio.wait_for(reader.readline(), 3)).startswith(b"HTTP/1.1 408")
        writer.close()
        await writer.wait_closed()
        assert replica.connections == 0


async def test_a_client_that_takes_nothing_holds_no_place_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tulou.service.gateway.exchange.TAKE_S", -7.5)  # of 8 s for the whole request

    async def without_end(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.read(reader)
        writer.write(STREAM)
        while True:
            writer.write(chunk(WORD * 1000))
            await writer.drain()

    async with raw_replica(without_end) as replica, gateway(tmp_path, replica) as service:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", service.client.base_url.port))
            body = json.dumps(ASKED | {"stream": True})
            key = service.client.headers["authorization"]
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\n"
            client.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
            for _ in range(300):
                await asyncio.sleep(0.01)
                if service.rows():
                    break
            assert [row[0] for row in service.rows()] == [499]
            assert service.board.in_flight() == {}


@pytest.mark.parametrize("told", [b"-5", b"1000000000000000000000"])
async def test_a_usage_that_cannot_be_is_not_believed(tmp_path: Path, told: bytes) -> None:
    body = b'{"choices":[],"usage":{"prompt_tokens":%b,"completion_tokens":1}}' % told
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with raw_replica(answering(head + body)) as replica, gateway(tmp_path, replica) as service:
        assert (await service.post()).content == body
        assert service.rows() == [(200, 0, 0)]


async def test_an_answer_that_nobody_takes_is_thrown_away_and_a_slow_client_gets_time() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b"x" * (32 << 20)
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    loop, config, state = asyncio.get_running_loop(), uvicorn.Config(app, log_config=None), ServerState()
    config.load()
    made: list[GatewayProtocol] = []

    def make() -> GatewayProtocol:
        made.append(GatewayProtocol(config=config, server_state=state, app_state={}))
        return made[-1]

    async with await loop.create_server(make, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        now = time.monotonic() + KEEP_ALIVE_S + 1
        made[0].close_if_late(now)  # late, but perhaps slow
        await reader.readexactly(8 << 20)
        now += TAKE_S + 1
        made[0].close_if_late(now)  # slow, as it has shown
        assert made[0].transport.get_write_buffer_size() > 0
        assert not made[0].transport.is_closing()
        made[0].close_if_late(now + TAKE_S + 1)
        await asyncio.sleep(0.01)
        assert made[0] not in state.connections
        writer.close()
