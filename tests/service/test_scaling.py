"""The loop that measures replicas and resizes the fleet, with a fleet of real echo replicas."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tulou.core.fleet_settings import ReplicaSettings
from tulou.core.manifest import write_manifest
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.service.autoscale import Behaviour, Policy
from tulou.service.fleet import Fleet, specs_for
from tulou.service.pool import ReplicaStatus
from tulou.service.scaling import Autoscaler, CpuMeter, Sight, gpu_share, limits_of

AT_ONCE: Any = {"stabilization_s": 0}


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    write_manifest(tmp_path / "m", ModelManifest("m", "embed", "echo", "fp32", "f", "none", dimensions=8))
    fleet = Fleet(specs_for({"m": tmp_path / "m"}, 1), tmp_path / "logs")
    await fleet.start()
    await fleet.wait_ready(30)
    yield fleet
    await fleet.stop()


def settings(**more: Any) -> ReplicaSettings:
    given = {"min": 1, "max": 3, "target_cpu": 0, "target_in_flight": 2, "scale_down": AT_ONCE, **more}
    return ReplicaSettings.model_validate(given)


async def test_requests_in_flight_grow_and_shrink_the_fleet(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tulou")
    load: dict[str, int] = {"m-0": 8}
    clock, metrics = Clock(), Metrics()
    scaler = Autoscaler(fleet, ["m"], settings(), 2, Sight(lambda: load), metrics, clock)
    assert scaler.has_work
    await scaler.step()
    assert fleet.size("m") == 3  # 8 / 2 = 4, and no more than 3
    await asyncio.wait_for(fleet.wait_ready(), 30)
    load.clear()
    clock.now += 60
    await scaler.step()
    assert fleet.size("m") == 1
    assert [(each.before, each.after, each.why) for each in scaler.scalings] == [
        (1, 3, "requests in flight above target"),
        (3, 1, "all metrics below target"),
    ]
    assert "model m is scaled from 1 to 3 replicas: requests in flight above target" in caplog.text
    found = {sample.labels["direction"]: sample.value for sample in _samples(metrics, "tulou_scalings_total")}
    assert found == {"up": 1, "down": 1}
    assert [sample.value for sample in _samples(metrics, "tulou_replicas_wanted")] == [1]
    while len(fleet.status()) > 1:
        await asyncio.wait_for(fleet.changed(), 10)


async def test_no_replica_is_added_that_there_is_no_memory_for(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    one_more = int(fleet.status()[0].rss_bytes * 1.5)
    sight = Sight(lambda: {"m-0": 8}, free_bytes=lambda: one_more)
    scaler = Autoscaler(fleet, ["m"], settings(), 2, sight, now=Clock())
    await scaler.step()
    assert fleet.size("m") == 2
    assert "model m wants 3 replicas, there is memory for 2" in caplog.text


async def test_waiting_requests_and_gpus_count_too(fleet: Fleet) -> None:
    async def gpu() -> float:
        return 0.9

    waits = Sight(dict, waiting=lambda: {"m": 5})
    scaler = Autoscaler(fleet, ["m"], settings(target_in_flight=0, target_waiting=2), 2, waits, now=Clock())
    await scaler.step()
    assert fleet.size("m") == 3
    busy = Sight(dict, gpu=gpu)
    scaler = Autoscaler(fleet, ["m"], settings(target_in_flight=0, target_gpu=0.45), 2, busy, now=Clock())
    await scaler.step()
    assert fleet.size("m") == 2  # twice the target, for the one that is ready


def test_cpu_time_is_read_between_two_looks() -> None:
    clock = Clock()
    meter = CpuMeter(clock)
    status = [ReplicaStatus("m-0", "m", "ready", os.getpid(), 1, 0, 0, 0.0, 0.0, None)]
    assert meter.read(status) == {}
    before = sum(os.times()[:2])
    while sum(os.times()[:2]) < before + 0.1:
        pass
    clock.now += 0.2
    sample = meter.read(status)["m-0"]
    assert 400 <= sample.value_milli <= 800  # a tenth of a second of CPU in a fifth
    assert sample.window_s == pytest.approx(0.2)


def test_settings_become_the_limits_of_kubernetes() -> None:
    usual = limits_of(ReplicaSettings(), cores=4)
    assert (usual.min, usual.max, usual.behaviour) == (2, 4, Behaviour())
    assert limits_of(ReplicaSettings(), cores=1).max == 2  # no fewer than min
    given = ReplicaSettings.model_validate(
        {"max": 9, "scale_down": {"policies": [{"value": 1, "period_s": 30}], "select": "min", "stabilization_s": 5}}
    )
    behaviour = limits_of(given, cores=1).behaviour
    assert behaviour is not None
    assert behaviour.down.policies == (Policy("pods", 1, 30),)
    assert (behaviour.down.select, behaviour.down.stabilization_s) == ("min", 5)
    assert behaviour.up == Behaviour().up


def test_what_nvidia_smi_says_is_a_share() -> None:
    assert gpu_share("90\n30\n") == pytest.approx(0.6)
    assert gpu_share("No devices were found\n") is None


def _samples(metrics: Metrics, name: str) -> list[Any]:
    return [sample for family in metrics.registry.collect() for sample in family.samples if sample.name == name]


async def test_a_version_that_is_tried_out_is_no_reason_to_shrink_in_vain(fleet: Fleet, tmp_path: Path) -> None:
    await fleet.bring_up("m", "2", tmp_path / "m", 1)
    fleet.show("m", {"", "2"})
    scaler = Autoscaler(fleet, ["m"], settings(max=1), 2, Sight(dict), now=Clock())
    await scaler.step()
    assert (fleet.size("m"), list(scaler.scalings)) == (2, [])
