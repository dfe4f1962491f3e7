"""The connections to replicas, against servers that misbehave on the level of bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from tests.service.raw_replica import OK, STREAM, RawReplica, chunk, raw_replica

from tulou.service.gateway.upstream import Connection, Connections, OutOfTime, Patience, ReplicaLost, Whole
from tulou.service.pool import Endpoint

QUICK = Patience(connect_s=1, first_byte_s=0.3, idle_s=0.3)


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    made = Connections(QUICK)
    await made.start()
    yield made
    await made.stop()


async def ask(
    connections: Connections, url: str, *, is_streamed: bool = False, body: bytes = b"{}", within_s: float = 5.0
) -> Whole | Connection:
    there = Endpoint("m-0", "m", url, authorization="Bearer s3cret")
    return await connections.ask(there, "/v1/x", body, "req_1", is_streamed, time.monotonic() + within_s)


async def well(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await replica.read(reader)
    writer.write(OK)


async def test_a_request_is_one_message_and_its_connection_is_kept(connections: Connections) -> None:
    async with raw_replica(well) as replica:
        for _ in range(3):
            assert await ask(connections, replica.url, body=b'{"a": 1}') == Whole(200, b"application/json", b"{}")
        assert replica.connections == 1
        assert replica.bodies == [b'{"a": 1}'] * 3
        head = replica.heads[0].decode()
        assert head.startswith("POST /v1/x HTTP/1.1\r\nhost: 127.0.0.1:")
        assert "\r\nx-request-id: req_1\r\n" in head
        assert "\r\nauthorization: Bearer s3cret\r\n" in head


async def test_a_kept_connection_that_was_closed_is_replaced_unnoticed(connections: Connections) -> None:
    async def closes_after_one(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.read(reader)
        writer.write(OK)
        await reader.read(1)  # as a server whose time for kept connections is over just when the next request comes
        writer.transport.abort()

    async with raw_replica(closes_after_one) as replica:
        for _ in range(3):
            assert isinstance(await ask(connections, replica.url), Whole)
        assert replica.connections == 3


async def test_a_fresh_connection_that_is_closed_is_a_lost_replica(connections: Connections) -> None:
    async def leaves(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.read(reader)
        writer.close()

    async with raw_replica(leaves) as replica:
        with pytest.raises(ReplicaLost, match="closed the connection"):
            await ask(connections, replica.url)
    with pytest.raises(ReplicaLost, match="does not accept connections"):
        await ask(connections, replica.url)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\x16\x03\x01 what is this\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: a\x01b\r\ncontent-length: 2\r\n\r\n{}", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: a\rb: c\r\ncontent-length: 2\r\n\r\n{}", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: a\nb: c\r\ncontent-length: 2\r\n\r\n{}", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "lost|closed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", "not HTTP"),
    ],
)
async def test_garbage_is_a_lost_replica(connections: Connections, answer: bytes, reason: str) -> None:
    async def babbles(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.read(reader)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with raw_replica(babbles) as replica:
        with pytest.raises(ReplicaLost, match=reason):
            await ask(connections, replica.url)


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_a_replica_that_hangs_is_given_up_in_time(connections: Connections, is_streamed: bool) -> None:
    async def hangs(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.read(reader)
        await reader.read(1)
        raise ConnectionError

    async with raw_replica(hangs) as replica:
        started = time.monotonic()
        with pytest.raises(ReplicaLost, match="no answer within"):
            await ask(connections, replica.url, is_streamed=is_streamed)
        assert time.monotonic() - started < 1
        with pytest.raises(OutOfTime):
            await ask(connections, replica.url, is_streamed=is_streamed, within_s=0.05)
        await asyncio.sleep(0.05)
        assert replica.lost == 2  # it was told


async def test_a_byte_now_and_then_is_no_answer(connections: Connections) -> None:
    async def drips(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.read(reader)
        writer.write(STREAM + chunk(b"data: 1\n\n"))
        while True:
            await asyncio.sleep(0.05)
            writer.write(chunk(b"x"))
            await writer.drain()

    async with raw_replica(drips) as replica:
        stream = await ask(connections, replica.url, is_streamed=True)
        assert isinstance(stream, Connection)
        assert await stream.events() == b"data: 1\n\n"
        with pytest.raises(ReplicaLost, match="fell silent"):
            await stream.events()
        connections.end(stream)


async def test_events_are_handed_on_whole(connections: Connections) -> None:
    async def cuts(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.read(reader)
        writer.write(STREAM)
        for piece in (b"data: 1\n\ndata:", b" 2\n", b"\ndata: 3\r\n\r\nda", b"ta: [DONE]"):
            writer.write(chunk(piece))
            await asyncio.sleep(0.02)
        writer.write(b"0\r\n\r\n")

    async with raw_replica(cuts) as replica:
        for _ in range(2):
            stream = await ask(connections, replica.url, is_streamed=True)
            assert isinstance(stream, Connection)
            events = [piece async for piece in _events(stream)]
            assert events == [b"data: 1\n\n", b"data: 2\n\ndata: 3\r\n\r\n", b"data: [DONE]\n\n"]
            connections.end(stream)
        assert replica.connections == 1


async def _events(stream: Connection) -> AsyncIterator[bytes]:
    while (events := await stream.events()) is not None:
        yield events


async def test_leaving_a_stream_closes_its_connection(connections: Connections) -> None:
    async def endless(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.read(reader)
        writer.write(STREAM)
        while True:
            writer.write(chunk(b"data: more\n\n"))
            await writer.drain()
            await asyncio.sleep(0.01)

    async with raw_replica(endless) as replica:
        stream = await ask(connections, replica.url, is_streamed=True)
        assert isinstance(stream, Connection)
        connections.end(stream)
        await asyncio.sleep(0.1)
        assert replica.lost == 1


async def test_a_replica_that_is_faster_than_its_reader_has_to_wait(connections: Connections) -> None:
    sent = 0

    async def floods(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await replica.read(reader)
        writer.write(STREAM)
        while sent < 64 << 20:
            writer.write(chunk(b"data: " + b"x" * 65_000 + b"\n\n"))
            sent += 65_000
            await writer.drain()

    async with raw_replica(floods) as replica:
        stream = await ask(connections, replica.url, is_streamed=True)
        assert isinstance(stream, Connection)
        await asyncio.sleep(0.2)
        assert sent < 32 << 20
        read = 0
        while sent < 64 << 20:
            read += len(await stream.events() or b"")
        assert read > 16 << 20
        connections.end(stream)


async def test_a_refused_stream_is_a_whole_answer(connections: Connections) -> None:
    async def refuses(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.read(reader)
        writer.write(b"HTTP/1.1 429 No\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\n{}  ")

    async with raw_replica(refuses) as replica:
        answer = await ask(connections, replica.url, is_streamed=True)
        assert answer == Whole(429, b"application/json", b"{}  ", b"7")


async def test_an_answer_without_a_length_ends_with_its_connection(connections: Connections) -> None:
    async def old(replica: RawReplica, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replica.read(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}")
        writer.close()

    async with raw_replica(old) as replica:
        for _ in range(2):
            answer = await ask(connections, replica.url)
            assert isinstance(answer, Whole)
            assert answer.body == b"{}"
        assert replica.connections == 2
