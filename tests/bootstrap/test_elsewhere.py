"""The gateway alone, over replicas that somebody else started."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tulou.bootstrap.replicas import specs_elsewhere
from tulou.core.errors import SettingsError
from tulou.core.manifest import write_manifest
from tulou.core.service_settings import ServiceSettings
from tulou.core.types import ModelManifest
from tulou.service.fleet import Fleet


async def until(fleet: Fleet, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await fleet.changed()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def start_replica(folder: Path, port: int = 0) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "tulou.service.replica", "--folder", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["port"]


async def test_a_replica_elsewhere_that_goes_gets_no_requests_until_it_is_back(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m", ModelManifest("m", "embed", "echo", "fp32", "f", "none", dimensions=8))
    running = [start_replica(tmp_path / "m") for _ in range(2)]
    urls = [f"http://127.0.0.1:{port}" for _, port in running]
    fleet = Fleet(specs_elsewhere(ServiceSettings(endpoints={"m": tuple(urls)}), ["m"]), tmp_path / "logs")

    def ready() -> list[str]:
        return sorted(endpoint.url for endpoint in fleet.ready("m"))

    try:
        await fleet.start()
        await until(fleet, lambda: ready() == sorted(urls))
        assert all(endpoint.can_resume for endpoint in fleet.ready("m"))
        process, port = running[0]
        end(process)
        fleet.report_lost(next(each for each in fleet.ready("m") if each.url == urls[0]))
        await until(fleet, lambda: ready() == [urls[1]])
        running[0] = start_replica(tmp_path / "m", port)
        await until(fleet, lambda: ready() == sorted(urls))
    finally:
        await fleet.stop()
        alive = [process.poll() is None for process, _ in running]
        for process, _ in running:
            end(process)
    assert alive == [True, True], "what somebody else started is not ours to end"


def test_a_model_without_a_replica_anywhere_is_named() -> None:
    with pytest.raises(SettingsError, match=r"no replica of model 'm'; set service\.endpoints\.m to their URLs"):
        specs_elsewhere(ServiceSettings(), ["m"])
