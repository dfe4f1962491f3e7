"""kill -9 under load is invisible to clients, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from tests.service.running_service import RunningService, StartService

CLIENTS = 20
TEXT = "one two three four five six seven eight nine ten 一二三四五六七八九十"
SCRIPT = Path(__file__).with_name("echo_service.py")


async def ask_until(service: RunningService, stop: asyncio.Event, number: int) -> tuple[int, list[str]]:
    """Ask again and again, every second client streaming; how many answers came, and what went wrong."""
    client = service.async_client()
    done, problems = 0, []
    messages: Any = [{"role": "user", "content": f"{number} {TEXT}"}]
    while not stop.is_set():
        try:
            if number % 2:
                text = ""
                stream = await client.chat.completions.create(model="assistant", messages=messages, stream=True)
                async for chunk in stream:
                    text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            else:
                answer = await client.chat.completions.create(model="assistant", messages=messages)
                text = answer.choices[0].message.content or ""
            if text != f"{number} {TEXT}":
                problems.append(f"wrong answer: {text!r}")
        except Exception as err:  # noqa: BLE001 -- every failure counts
            problems.append(repr(err))
        done += 1
    await client.close()
    return done, problems


async def test_killing_replicas_under_twenty_clients_fails_no_request(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await asyncio.to_thread(start_service, tmp_path)
    stop = asyncio.Event()
    clients = [asyncio.create_task(ask_until(service, stop, number)) for number in range(CLIENTS)]
    await asyncio.sleep(1)
    for name in ("assistant-0", "assistant-1", "assistant-0"):
        victim = service.replica(name)
        victim.kill()
        assert await asyncio.to_thread(came_back, service, name, victim.pid)
    await asyncio.sleep(0.5)
    stop.set()
    results = await asyncio.gather(*clients)
    problems = [problem for _, found in results for problem in found]
    assert problems == []
    assert sum(done for done, _ in results) > 3 * CLIENTS


def came_back(service: RunningService, name: str, old_pid: int, timeout_s: float = 15) -> bool:
    """Whether another process has taken the place of the one killed, and answers."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            replica = service.replica(name)
            if replica.pid != old_pid and replica.net_connections("tcp4"):
                return True
        except (LookupError, psutil.Error):
            pass
        time.sleep(0.1)
    return False


def test_ctrl_c_ends_everything_within_five_seconds_even_while_answering(
    start_service: StartService, tmp_path: Path
) -> None:
    service = start_service(tmp_path)
    children = psutil.Process(service.process.pid).children(recursive=True)
    assert len(children) == 8
    stream = service.client().chat.completions.create(
        model="assistant", messages=[{"role": "user", "content": "word " * 300}], stream=True
    )
    next(iter(stream))
    assert service.interrupt() < 5
    assert service.process.returncode == 0
    assert [child for child in children if child.is_running()] == []
    with sa.create_engine(f"sqlite:///{tmp_path / 'state.db'}").connect() as db:
        assert db.execute(sa.text("select count(*) from requests")).scalar() == 1
    stream.close()


def test_a_deploy_drops_no_stream(start_service: StartService, tmp_path: Path) -> None:
    service = start_service(tmp_path)
    asked: Any = {"model": "assistant", "messages": [{"role": "user", "content": "word " * 150}], "stream": True}
    stream = service.client().chat.completions.create(**asked)
    next(iter(stream))
    service.process.send_signal(signal.SIGTERM)
    told = "".join((chunk.choices[0].delta.content or "") if chunk.choices else "" for chunk in stream)
    assert told.count("word") == 150
    service.process.wait(10)
    assert service.process.returncode == 0


def test_a_second_signal_ends_the_drain_at_once(start_service: StartService, tmp_path: Path) -> None:
    service = start_service(tmp_path)
    children = psutil.Process(service.process.pid).children(recursive=True)
    asked: Any = {"model": "assistant", "messages": [{"role": "user", "content": "word " * 300}], "stream": True}
    stream = service.client().chat.completions.create(**asked)
    next(iter(stream))
    service.process.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    assert service.process.poll() is None, "it waits for the stream"
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    service.process.wait(10)
    assert time.monotonic() - began < 4
    assert [child for child in children if child.is_running()] == []
    stream.close()


def test_replicas_end_when_the_gateway_is_killed(start_service: StartService, tmp_path: Path) -> None:
    service = start_service(tmp_path)
    children = psutil.Process(service.process.pid).children(recursive=True)
    service.process.kill()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, str(SCRIPT), "--folder", str(tmp_path), "--listen", f"127.0.0.1:{port}"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use by another program" in ended.stderr
    assert not (tmp_path / "logs").exists()


@pytest.mark.slow
def test_a_hung_replica_is_replaced(start_service: StartService, tmp_path: Path) -> None:
    service = start_service(tmp_path)
    victim = service.replica("encoder-0")
    victim.suspend()
    client = service.client()
    for _ in range(4):
        assert client.embeddings.create(model="encoder", input="x").data
    assert came_back(service, "encoder-0", victim.pid, timeout_s=40)
