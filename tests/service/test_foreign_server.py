"""Servers that are not ours in the fleet: started from a command or found at a URL, watched, and ended with us."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tulou.bootstrap.replicas import remote_manifests, remote_specs
from tulou.core.errors import ServiceError, SettingsError
from tulou.core.service_settings import ServiceSettings
from tulou.core.settings import parse_settings
from tulou.core.state import open_state
from tulou.core.telemetry import Metrics
from tulou.core.types import Message
from tulou.service.fleet import Fleet
from tulou.service.gateway.switchboard import GatewayModels, Switchboard

SERVER = Path(__file__).with_name("openai_server.py")
COMMAND = f"{sys.executable} {SERVER} {{model}} --port {{port}} --api-key s3cret --child"


def settings(name: str = "qwen", **remote: Any) -> ServiceSettings:
    return parse_settings({"service": {"remote": {name: {"api_key": "${THEIR_KEY}", **remote}}}}).service


class Running:
    def __init__(self, settings: ServiceSettings, folder: Path) -> None:
        specs = [spec for name, remote in settings.remote.items() for spec in remote_specs(name, remote)]
        self.fleet = Fleet(specs, folder / "logs")
        state = open_state("sqlite:///state.db", folder)
        self.board = Switchboard(settings, self.fleet, state, Metrics(), remote_manifests(settings))
        self.models = GatewayModels(self.board)

    async def say(self, text: str) -> str:
        deltas = self.models.chat("qwen", [Message("user", text)], max_tokens=9)
        return "".join([delta.text async for delta in deltas]).strip()


@pytest.fixture
async def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[ServiceSettings], Running]]:
    monkeypatch.setenv("THEIR_KEY", "s3cret")
    started: list[Running] = []

    def begin(settings: ServiceSettings) -> Running:
        started.append(Running(settings, tmp_path))
        return started[-1]

    yield begin
    for each in started:
        await each.board.stop()


def processes_of(fleet: Fleet) -> list[psutil.Process]:
    tethers = [psutil.Process(each.pid) for each in fleet.status()]
    return [*tethers, *(child for tether in tethers for child in tether.children(recursive=True))]


async def test_a_server_is_started_asked_by_its_own_name_and_ended(run: Callable[[ServiceSettings], Running]) -> None:
    running = run(settings(command=COMMAND + " --load-s 0.5", model="Qwen3-0.6B"))
    await running.board.start()
    await running.fleet.wait_ready()
    assert await running.say("hello") == "Qwen3-0.6B says hello"
    before = processes_of(running.fleet)
    assert len(before) == 3  # the tether, the server, and what the server started
    await running.board.stop()
    assert psutil.wait_procs(before, timeout=5)[1] == []


async def test_a_server_that_is_killed_is_started_again(run: Callable[[ServiceSettings], Running]) -> None:
    running = run(settings(command=COMMAND))
    await running.board.start()
    await running.fleet.wait_ready()
    before = processes_of(running.fleet)
    before[1].kill()
    while running.fleet.status()[0].restarts == 0 or not running.fleet.ready("qwen"):
        await asyncio.wait_for(running.fleet.changed(), 20)
    assert await running.say("again") == "qwen says again"
    assert psutil.wait_procs(before, timeout=5)[1] == []


async def test_what_is_wrong_with_the_command_is_told(run: Callable[[ServiceSettings], Running]) -> None:
    running = run(settings(command="no-such-server --port {port}"))
    await running.board.start()
    with pytest.raises(
        ServiceError, match=r"qwen-0 does not stay up: .*no-such-server cannot be started: No such file"
    ):
        await running.fleet.wait_ready(20)


async def test_a_server_found_at_a_url_comes_and_goes(run: Callable[[ServiceSettings], Running]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = run(settings(url=f"http://127.0.0.1:{port}/v1", model="theirs"))
    await running.board.start()
    await running.fleet.wait_ready(5)  # it is not ours to wait for
    assert not running.fleet.ready("qwen")
    command = [sys.executable, str(SERVER), "theirs", "--port", str(port), "--api-key", "s3cret"]
    server = await asyncio.create_subprocess_exec(*command)
    try:
        assert await running.say("hello") == "theirs says hello"  # waits until it has come
        assert running.fleet.status()[0].pid is None
    finally:
        server.kill()
        await server.wait()


PARENT = """
import asyncio, sys
from pathlib import Path
from tulou.bootstrap.replicas import remote_specs
from tulou.core.fleet_settings import RemoteSettings
from tulou.service.fleet import Fleet

async def main() -> None:
    fleet = Fleet(remote_specs("qwen", RemoteSettings(command=sys.argv[1])), Path(sys.argv[2]))
    await fleet.start()
    await fleet.wait_ready()
    print(fleet.status()[0].pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_server_ends_when_we_are_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, COMMAND, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        tether = psutil.Process(int(parent.stdout.readline()))
        processes = [tether, *tether.children(recursive=True)]
        assert len(processes) == 3
        parent.kill()
    assert psutil.wait_procs(processes, timeout=5)[1] == []


def test_a_server_ends_when_its_tether_is_killed(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "tulou.service.tether", "--parent-fd", "0", "--", sys.executable]
    with (
        ours,
        theirs,
        subprocess.Popen([*command, "-c", "import time; time.sleep(600)"], stdin=theirs.fileno()) as tether,
    ):
        deadline = time.monotonic() + 10
        while not (children := psutil.Process(tether.pid).children()) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(tether.pid, 9)
        assert psutil.wait_procs(children, timeout=5)[1] == []


@pytest.mark.parametrize(
    ("remote", "problem"),
    [
        ({}, "service.remote.qwen: needs either a command to start the server, or the url where it is"),
        ({"command": "vllm serve"}, "service.remote.qwen.command: must have {port} in it"),
        ({"command": "vllm 'serve --port {port}"}, "service.remote.qwen.command: cannot be split into arguments"),
        ({"url": "example.com"}, "service.remote.qwen.url: is not the http"),
        ({"url": "http://a", "task": "classify"}, "task 'classify' needs labels"),
    ],
)
def test_settings_that_cannot_work_are_refused(remote: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError) as found:
        parse_settings({"service": {"remote": {"qwen": remote}}})
    assert problem in str(found.value)


def test_a_key_that_is_not_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THEIR_KEY", raising=False)
    with pytest.raises(SettingsError, match="needs the environment variable THEIR_KEY"):
        remote_specs("qwen", settings(url="http://127.0.0.1:1").remote["qwen"])


def test_a_remote_model_needs_a_name_of_its_own() -> None:
    with pytest.raises(SettingsError, match=r"service\.remote\.encoder has the name of \[model\.encoder\]"):
        settings("encoder", url="http://127.0.0.1:1")
