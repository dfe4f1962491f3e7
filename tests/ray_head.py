"""A Ray cluster of one node in processes of its own, reached from outside through its client server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

START_S = 90


@contextmanager
def ray_head(cpus: int = 2) -> Iterator[str]:
    """Start a head node on free ports of this machine; gives HOST:PORT of its client server."""
    port, client_port = _free_ports(2)
    home = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # its sockets' paths must be short
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--include-dashboard", "false",
        "--disable-usage-stats", "--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", str(cpus),
        "--ray-client-server-port", str(client_port), "--temp-dir", str(home),
    ]  # fmt: skip
    head = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait(head, client_port)
        yield f"127.0.0.1:{client_port}"
    finally:
        for process in psutil.Process(head.pid).children(recursive=True) if head.poll() is None else []:
            process.kill()
        head.kill()
        head.wait()
        for process in psutil.process_iter(["cmdline"]):
            if any(str(home) in word for word in process.info["cmdline"] or ()):
                process.kill()  # what Ray started beside its own tree
        shutil.rmtree(home, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait(head: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert head.poll() is None, f"ray start ended with {head.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"no client server at {port} after {START_S} s (process {os.getpid()})")
