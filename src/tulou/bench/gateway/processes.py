"""Servers under measurement: pinned to one core each, with their processor time and memory."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tulou.core.errors import TulouError

LOAD_CORE, GATEWAY_CORE = 0, 1  # load generator and upstream on the first, what is measured on the second
START_TIMEOUT_S = 120.0  # LiteLLM imports for some seconds
_PROBE_EVERY_S = 0.01


@dataclass(frozen=True)
class Program:
    """How a server is started, and the request that it answers with 200 as soon as it is up."""

    name: str
    command: Sequence[str]
    port: int
    core: int | None = GATEWAY_CORE  # None: any
    environ: Mapping[str, str] = field(default_factory=dict)
    path: str = "/v1/chat/completions"
    body: bytes | None = None
    key: str = ""
    streams_path: str | None = "/v1/chat/completions"  # where streams are asked for; None: it relays none

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Server:
    """A program that runs, its child processes included."""

    def __init__(self, program: Program, process: subprocess.Popen[bytes], start_s: float) -> None:
        self.program = program
        self.start_s = start_s
        self._process = psutil.Process(process.pid)

    def cpu_s(self) -> float:
        times = [each.cpu_times() for each in self.processes()]
        return float(sum(each.user + each.system for each in times))

    def rss_bytes(self) -> int:
        return int(sum(each.memory_info().rss for each in self.processes()))

    def processes(self) -> list[psutil.Process]:
        """Itself first."""
        return [self._process, *self._process.children(recursive=True)]


def require_two_cores() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        raise TulouError("this bench needs two processor cores: one for the load, one for the gateway")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@contextlib.contextmanager
def running(program: Program, folder: Path) -> Iterator[Server]:
    """Start it, wait until it answers, end it. Raises `TulouError` with its last words if it does not answer."""
    log = folder / f"{program.name}.log"
    started = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*(("taskset", "-c", str(program.core)) if program.core is not None else ()), *program.command],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env=os.environ | program.environ,
            cwd=folder,
        )
    try:
        while not _answers(program):
            if process.poll() is not None or time.perf_counter() - started > START_TIMEOUT_S:
                raise TulouError(f"{program.name} does not start: {log.read_text(errors='replace').strip()[-600:]}")
            time.sleep(_PROBE_EVERY_S)
        yield Server(program, process, time.perf_counter() - started)
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def _answers(program: Program) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=10)
    try:
        headers = {"authorization": f"Bearer {program.key}", "content-type": "application/json"}
        connection.request("GET" if program.body is None else "POST", program.path, program.body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
