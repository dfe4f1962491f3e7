"""A fleet whose size and versions change while requests are under way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tulou.core.errors import ServiceError
from tulou.core.manifest import write_manifest
from tulou.core.types import ModelManifest
from tulou.service import supervise
from tulou.service.cpus import CpuShare, plan_cpus
from tulou.service.fleet import Fleet, ReplicaSpec, Sizing
from tulou.service.pool import Endpoint

MODEL = "assistant"
WORDS = "one two three four five six seven eight nine ten"


def folder(tmp_path: Path, version: str, delay_s: float = 0.05) -> Path:
    manifest = ModelManifest(
        MODEL, "chat", "echo", "fp32", "f", "none", details={"token_delay_s": delay_s}, version=version
    )
    write_manifest(tmp_path / version, manifest)
    return tmp_path / version


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    specs = [ReplicaSpec(f"{MODEL}-{i}", MODEL, folder(tmp_path, "1"), version="1") for i in range(2)]
    fleet = Fleet(specs, tmp_path / "logs", sizing=Sizing(drain_s=5))
    await fleet.start()
    await fleet.wait_ready(30)
    yield fleet
    await fleet.stop()


async def answer(endpoint: Endpoint) -> str:
    body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": WORDS}]}
    async with httpx.AsyncClient() as client:
        got = await client.post(endpoint.url + "/v1/chat/completions", json=body, timeout=20)
    text: str = got.json()["choices"][0]["message"]["content"]
    return text


async def until(condition: Callable[[], bool], fleet: Fleet, timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await fleet.changed()


def names(endpoints: Any) -> list[str]:
    return sorted(each.name for each in endpoints)


async def test_growing_starts_the_missing_ones(fleet: Fleet) -> None:
    await fleet.resize(MODEL, 3)
    assert fleet.size(MODEL) == 3
    await until(lambda: len(fleet.ready(MODEL)) == 3, fleet)
    assert names(fleet.ready(MODEL)) == ["assistant-0", "assistant-1", "assistant-2"]
    assert {each.version for each in fleet.ready(MODEL)} == {"1"}


async def test_a_replica_that_drains_gets_no_requests_and_finishes_those_it_has(fleet: Fleet) -> None:
    youngest = next(each for each in fleet.ready(MODEL) if each.name == "assistant-1")
    pid = next(each.pid for each in fleet.status() if each.name == "assistant-1")
    under_way = asyncio.create_task(answer(youngest))
    await asyncio.sleep(0.1)
    await fleet.resize(MODEL, 1)
    assert names(fleet.ready(MODEL)) == ["assistant-0"]
    assert [each.state for each in fleet.status()] == ["ready", "draining"]
    assert await under_way == WORDS
    await until(lambda: len(fleet.status()) == 1, fleet)
    assert not psutil.pid_exists(pid or 0)


async def test_a_drain_ends_at_its_deadline(tmp_path: Path) -> None:
    spec = ReplicaSpec("assistant-0", MODEL, folder(tmp_path, "1", delay_s=5), version="1")
    fleet = Fleet([spec, ReplicaSpec("assistant-1", MODEL, spec.folder)], tmp_path / "logs", sizing=Sizing(drain_s=1))
    await fleet.start()
    try:
        await fleet.wait_ready(30)
        hopeless = asyncio.create_task(answer(fleet.ready(MODEL)[0]))
        await asyncio.sleep(0.1)
        fleet.retire(MODEL, "1")
        await until(lambda: len(fleet.status()) == 1, fleet, timeout_s=6)
        with pytest.raises(httpx.HTTPError):
            await hopeless
    finally:
        await fleet.stop()


async def test_a_replica_killed_while_it_drains_is_not_started_again(fleet: Fleet) -> None:
    busy = asyncio.create_task(answer(fleet.ready(MODEL)[1]))
    await asyncio.sleep(0.1)
    await fleet.resize(MODEL, 1)
    os.kill(fleet.status()[1].pid or 0, 9)
    await until(lambda: len(fleet.status()) == 1, fleet)
    assert fleet.status()[0].restarts == 0
    with pytest.raises(httpx.HTTPError):
        await busy


async def test_another_version_takes_over_between_two_requests(fleet: Fleet, tmp_path: Path) -> None:
    old = fleet.ready(MODEL)
    under_way = [asyncio.create_task(answer(each)) for each in old]
    await fleet.bring_up(MODEL, "2", folder(tmp_path, "2"), 2)
    assert fleet.ready(MODEL) == old  # not before it is shown
    fleet.show(MODEL, {"2"})
    assert names(fleet.ready(MODEL)) == ["assistant-2", "assistant-3"]
    assert {each.version for each in fleet.ready(MODEL)} == {"2"}
    fleet.retire(MODEL, "1")
    assert await asyncio.gather(*under_way) == [WORDS, WORDS]
    await until(lambda: len(fleet.status()) == 2, fleet)
    await fleet.resize(MODEL, 3)  # of the version that serves now
    await until(lambda: len(fleet.ready(MODEL)) == 3, fleet)
    assert names(fleet.ready(MODEL)) == ["assistant-0", "assistant-2", "assistant-3"]
    assert fleet.size(MODEL, "2") == 3


async def test_a_version_that_does_not_come_up_leaves_the_old_one_alone(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"assistant-2 does not stay up: .*nowhere"):
        await fleet.bring_up(MODEL, "2", tmp_path / "nowhere", 1)
    assert len(fleet.ready(MODEL)) == 2
    await until(lambda: len(fleet.status()) == 2, fleet)


async def test_replicas_stay_on_the_cores_that_they_were_given(tmp_path: Path) -> None:
    cores = tuple(sorted(os.sched_getaffinity(0)))[:2]
    if len(cores) < 2:
        pytest.skip("one core only")
    specs = [ReplicaSpec(f"{MODEL}-{i}", MODEL, folder(tmp_path, "1")) for i in range(2)]
    fleet = Fleet(specs, tmp_path / "logs", sizing=Sizing(cores))
    await fleet.start()
    try:
        await fleet.wait_ready(30)
        found = [psutil.Process(each.pid).cpu_affinity() for each in fleet.status()]
        assert found == [[cores[0]], [cores[1]]]
        await fleet.resize(MODEL, 1)
        assert psutil.Process(fleet.status()[0].pid).cpu_affinity() == list(cores)
    finally:
        await fleet.stop()


async def test_a_log_that_grows_is_put_aside_and_written_on(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "MAX_LOG_BYTES", 100)
    log = fleet._replicas[0].log
    with log.open("ab") as file:
        for number in range(5):
            file.write(b"%d" % number * 200)
            file.flush()
            supervise.rotate(log)
        file.write(b"after")
    assert log.read_bytes() == b"after"
    kept = sorted(path.name for path in log.parent.glob(f"{log.name}.*"))
    assert kept == [f"{log.name}.1", f"{log.name}.2", f"{log.name}.3"]
    assert log.with_suffix(".log.3").read_bytes() == b"2" * 200


async def test_a_replica_that_hangs_gets_no_requests_until_it_answers(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fleet._session is not None
    monkeypatch.setattr(fleet._session, "_timeout", httpx_timeout(0.5))
    victim = fleet.ready(MODEL)[0]
    process = psutil.Process(fleet.status()[0].pid)
    process.suspend()
    fleet.report_lost(victim)
    await until(lambda: fleet.status()[0].state == "unready", fleet)
    assert names(fleet.ready(MODEL)) == ["assistant-1"]
    process.resume()
    await until(lambda: len(fleet.ready(MODEL)) == 2, fleet)
    assert fleet.status()[0].restarts == 0


def httpx_timeout(total_s: float) -> Any:
    import aiohttp

    return aiohttp.ClientTimeout(total=total_s)


@pytest.mark.parametrize(
    ("cores", "replicas", "threads", "shares"),
    [
        (8, 2, 0, [(4, "0123"), (4, "4567")]),
        (8, 3, 0, [(2, "01"), (3, "234"), (3, "567")]),
        (2, 2, 0, [(1, "0"), (1, "1")]),
        (2, 6, 0, [(1, "")] * 6),  # too many to pin
        (8, 2, 2, [(2, "01"), (2, "45")]),
        (4, 3, 2, [(2, "")] * 3),
        (4, 0, 0, []),
    ],
)
def test_cores_are_shared_out_in_blocks(cores: int, replicas: int, threads: int, shares: list[tuple[int, str]]) -> None:
    wanted = [CpuShare(count, tuple(map(int, block))) for count, block in shares]
    assert plan_cpus(range(cores), replicas, threads) == wanted
    assert all(not share.cores for share in plan_cpus(range(cores), replicas, threads, pin=False))


async def test_a_version_that_is_tried_out_keeps_a_replica_when_the_fleet_shrinks(fleet: Fleet, tmp_path: Path) -> None:
    await fleet.bring_up(MODEL, "2", folder(tmp_path, "2"), 1)
    fleet.show(MODEL, {"1", "2"})
    await fleet.resize(MODEL, 2)
    assert (fleet.size(MODEL, "1"), fleet.size(MODEL, "2")) == (1, 1)
    await fleet.resize(MODEL, 1)
    assert (fleet.size(MODEL, "1"), fleet.size(MODEL, "2"), fleet.fewest(MODEL)) == (1, 1, 2)
