from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from tulou.core.errors import ServiceError
from tulou.core.manifest import write_manifest
from tulou.core.service_settings import ServiceSettings
from tulou.core.state import open_state
from tulou.core.telemetry import Metrics
from tulou.core.types import Message, ModelManifest, Models
from tulou.service.fleet import MAX_PAUSE_S, Fleet, ReplicaSpec, is_crash_loop, pause_s, specs_for
from tulou.service.gateway.refusals import ApiError
from tulou.service.gateway.switchboard import GatewayModels, Switchboard

MODELS = {
    "assistant": ModelManifest("trained-as", "chat", "echo", "fp32", "f", "none", max_tokens=100),
    "intents": ModelManifest("trained-as", "classify", "echo", "fp32", "f", "none", labels=("refund", "delivery")),
    "encoder": ModelManifest("trained-as", "embed", "echo", "fp32", "f", "none", dimensions=8),
}


@pytest.fixture
async def switchboard(tmp_path: Path) -> AsyncIterator[Switchboard]:
    for name, manifest in MODELS.items():
        write_manifest(tmp_path / name, manifest)
    fleet = Fleet(specs_for({name: tmp_path / name for name in MODELS}, 1), tmp_path / "logs")
    state = open_state("sqlite:///state.db", tmp_path)
    board = Switchboard(ServiceSettings(), fleet, state, Metrics(), MODELS)
    await board.start()
    await fleet.wait_ready(30)
    yield board
    await board.stop()


async def test_applications_reach_all_models_through_the_fleet(switchboard: Switchboard) -> None:
    models: Models = GatewayModels(switchboard, route="support")
    deltas = [delta async for delta in models.chat("assistant", [Message("user", "hello there")], max_tokens=1)]
    assert ("".join(delta.text for delta in deltas), deltas[-1].finish_reason) == ("hello", "length")
    ranked = await models.classify("intents", ["my refund", "the delivery"])
    assert [row[0][0] for row in ranked] == ["refund", "delivery"]
    assert sum(probability for _, probability in ranked[0]) == pytest.approx(1)
    vectors = await models.embed("encoder", ["a", "b", "c"])
    assert vectors.shape == (3, 8)
    assert vectors.dtype == np.float32
    assert (await models.embed("encoder", [])).shape == (0, 8)
    assert await models.classify("intents", []) == []
    with pytest.raises(ApiError, match="`gpt` does not exist"):
        await models.embed("gpt", ["a"])
    with pytest.raises(ServiceError, match="model 'encoder' is for task 'embed', not 'classify'"):
        await models.classify("encoder", ["a"])
    assert switchboard.live.figures().requests == 3
    for status in switchboard.pool.status():
        assert (status.state, status.restarts) == ("ready", 0)
        assert status.pid is not None
        assert status.rss_bytes > 1 << 20


async def test_a_killed_replica_is_seen_at_once_and_replaced(switchboard: Switchboard) -> None:
    before = switchboard.pool.status()[0]
    assert before.pid is not None
    os.kill(before.pid, 9)
    while switchboard.pool.ready("assistant"):
        await asyncio.wait_for(switchboard.pool.changed(), 2)
    started = time.monotonic()
    while not switchboard.pool.ready("assistant"):
        await asyncio.wait_for(switchboard.pool.changed(), 20)
    after = switchboard.pool.status()[0]
    assert after.pid not in (None, before.pid)
    assert (after.restarts, after.last_exit) == (1, "was killed by signal SIGKILL")
    assert time.monotonic() - started < 15


async def test_a_replica_that_cannot_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    fleet = Fleet([ReplicaSpec("broken-0", "broken", tmp_path / "nowhere")], tmp_path / "logs")
    await fleet.start()
    try:
        with pytest.raises(ServiceError, match=r"broken-0 does not stay up: .*nowhere.* has no model\.json"):
            await fleet.wait_ready(30)
        assert not fleet.ready("broken")
        assert fleet.status()[0].state == "crash_loop"
    finally:
        await fleet.stop()
    assert fleet.status()[0].pid is None


async def test_stopping_leaves_no_process(switchboard: Switchboard) -> None:
    processes = [psutil.Process(status.pid) for status in switchboard.pool.status()]
    started = time.monotonic()
    await switchboard.pool.stop()
    assert time.monotonic() - started < 3
    assert [process for process in processes if process.is_running()] == []
    assert {status.state for status in switchboard.pool.status()} == {"stopped"}


async def test_a_replica_started_by_hand_tells_its_port_and_drains_on_sigterm(tmp_path: Path) -> None:
    slow = ModelManifest("m", "chat", "echo", "fp32", "f", "none", details={"token_delay_s": 0.1})
    write_manifest(tmp_path / "m", slow)
    command = ["-m", "tulou.service.replica", "--folder", str(tmp_path / "m")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    port = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))["port"]
    body = {"model": "m", "messages": [{"role": "user", "content": "one two three four five"}]}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/healthz")).json() == {"status": "ok", "models": ["m"], "in_flight": 0}
        asked = asyncio.create_task(client.post("/v1/chat/completions", json=body))
        await asyncio.sleep(0.2)
        process.terminate()
        assert (await asked).json()["choices"][0]["message"]["content"] == "one two three four five"
    assert await asyncio.wait_for(process.wait(), 10) == 0


@pytest.mark.parametrize(("deaths", "seconds"), [(0, 0), (1, 0), (2, 0.5), (3, 1), (4, 2), (20, MAX_PAUSE_S)])
def test_pauses_grow_with_young_deaths(deaths: int, seconds: float) -> None:
    assert pause_s(deaths) == seconds


def test_a_replica_that_never_was_ready_is_given_up_sooner() -> None:
    assert [is_crash_loop(n, was_ever_ready=False) for n in (1, 2)] == [False, True]
    assert [is_crash_loop(n, was_ever_ready=True) for n in (4, 5)] == [False, True]


async def test_a_replica_that_cannot_be_started_now_is_tried_again(tmp_path: Path) -> None:
    write_manifest(tmp_path / "assistant", MODELS["assistant"])
    python = tmp_path / "python"  # not there yet, as when processes or file handles have run out
    fleet = Fleet(specs_for({"assistant": tmp_path / "assistant"}, 1), tmp_path / "logs", python=str(python))
    await fleet.start()
    try:
        while fleet.status()[0].restarts == 0:
            await asyncio.wait_for(fleet.changed(), 5)
        assert "could not be started" in str(fleet.status()[0].last_exit)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        while not fleet.ready("assistant"):
            await asyncio.wait_for(fleet.changed(), 20)
    finally:
        await fleet.stop()
