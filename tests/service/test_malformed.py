"""Whatever is sent, the gateway answers 4xx or closes: no 500, no hang, nothing left behind."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from tests.service.malformed import attack
from tests.service.running_service import RunningService, StartService

MB = 1 << 20


def resident_bytes(service: RunningService) -> int:
    return int(psutil.Process(service.process.pid).memory_info().rss)


def connections(service: RunningService) -> int:
    """Connections that clients have to the gateway, its own to replicas left out."""
    port = urlsplit(service.url).port
    found = psutil.Process(service.process.pid).net_connections("tcp")
    return sum(each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port for each in found)


def in_flight(service: RunningService) -> float:
    lines = httpx.get(f"{service.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("tulou_requests_in_flight{"))


def wait_until_idle(service: RunningService, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while (connections(service) or in_flight(service)) and time.monotonic() < deadline:
        time.sleep(0.1)


async def survives(service: RunningService, count: int, seed: int, growth_bytes: int) -> None:
    replicas = [child.pid for child in psutil.Process(service.process.pid).children()]
    await attack(service.url, service.app, 200, seed + 1)  # warm
    before = resident_bytes(service)
    found = await attack(service.url, service.app, count, seed)
    assert found.problems == []
    kinds = {kind for kind, _ in found.statuses}
    assert len(kinds) >= 10
    assert sum(count for (_, status), count in found.statuses.items() if 400 <= status < 500) > count / 3
    await asyncio.to_thread(wait_until_idle, service)
    assert (connections(service), in_flight(service)) == (0, 0)
    assert resident_bytes(service) - before < growth_bytes
    assert [child.pid for child in psutil.Process(service.process.pid).children()] == replicas
    answer = await asyncio.to_thread(service.client().completions.create, model="assistant", prompt="one two")
    assert answer.choices[0].text == "one two"


async def test_hundreds_of_malformed_requests_do_no_harm(start_service: StartService, tmp_path: Path) -> None:
    await survives(await asyncio.to_thread(start_service, tmp_path), 400, seed=1, growth_bytes=20 * MB)


def test_what_cannot_be_streamed_is_answered_whole_and_costs_no_replica(service: RunningService) -> None:
    asked: dict[str, dict[str, Any]] = {
        "embeddings": {"model": "encoder", "input": "a"},
        "rerank": {"model": "encoder", "query": "a", "documents": ["b", "c"]},
        "classify": {"model": "intents", "input": "a"},
    }
    for path, body in asked.items():
        answer = httpx.post(
            f"{service.url}/v1/{path}",
            json={**body, "stream": True},
            headers={"authorization": f"Bearer {service.app}"},
        )
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text


@pytest.mark.slow
async def test_ten_thousand_malformed_requests_do_no_harm(start_service: StartService, tmp_path: Path) -> None:
    await survives(await asyncio.to_thread(start_service, tmp_path), 10_000, seed=2, growth_bytes=20 * MB)


@pytest.mark.slow
def test_headers_and_bodies_that_never_end_are_given_up_and_hold_up_nobody(service: RunningService) -> None:
    """Slowloris: many connections, a byte now and then."""
    where = (urlsplit(service.url).hostname or "", urlsplit(service.url).port or 0)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.app}\r\n".encode()
    slow = [socket.create_connection(where, timeout=5) for _ in range(200)]
    for i, each in enumerate(slow):
        each.sendall(head + (b"Content-Length: 100\r\n\r\n{" if i % 2 else b"X-Slow: "))
    open_ones, deadline = set(slow), time.monotonic() + 90
    while open_ones and time.monotonic() < deadline:
        started = time.monotonic()
        assert service.client().completions.create(model="assistant", prompt="one").choices[0].text == "one"
        assert time.monotonic() - started < 2
        time.sleep(1)
        for each in list(open_ones):
            each.setblocking(False)
            try:
                each.send(b" ")
                if not each.recv(1000):
                    open_ones.discard(each)
            except BlockingIOError:
                pass
            except OSError:
                open_ones.discard(each)
    left = len(open_ones)
    for each in slow:
        each.close()
    assert left == 0
