"""A running echo service, as the tests see it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import openai
import psutil
import pytest

SCRIPT = Path(__file__).with_name("echo_service.py")


@dataclass
class RunningService:
    process: subprocess.Popen[str]
    folder: Path
    url: str
    admin: str
    app: str
    viewer: str
    clients: dict[str, openai.OpenAI] = field(default_factory=dict)

    def client(self, key: str | None = None) -> openai.OpenAI:
        key = key or self.app
        if key not in self.clients:
            self.clients[key] = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=30)
        return self.clients[key]

    def async_client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=self.app, max_retries=0, timeout=30)

    def replica(self, name: str) -> psutil.Process:
        for child in psutil.Process(self.process.pid).children():
            if name in child.cmdline():
                return child
        raise LookupError(f"no replica {name} among the children")

    def interrupt(self) -> float:
        """Ctrl-C; returns the seconds until the process had ended."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        return time.monotonic() - started

    def kill(self) -> None:
        for client in self.clients.values():
            client.close()
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


StartService = Callable[..., RunningService]


def start_echo_service(folder: Path, *options: str) -> RunningService:
    with (folder / "service.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--folder", str(folder), *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        pytest.fail((folder / "service.log").read_text())
    return RunningService(process, folder, **json.loads(line))
