"""A promotion in the registry changes the running service over, under load, and costs no request."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from tulou.bootstrap.following import LOOK_EVERY_S, Following, registry_mark
from tulou.bootstrap.rollout import serving_of
from tulou.core.manifest import write_manifest
from tulou.core.service_settings import ServiceSettings
from tulou.core.state import open_state, requests
from tulou.core.telemetry import Metrics
from tulou.core.types import Message, ModelManifest
from tulou.model.registry import Canary, Candidate, Registry
from tulou.service.fleet import Fleet, ReplicaSpec, Sizing
from tulou.service.gateway.switchboard import GatewayModels, Switchboard

WORDS = "one two three four five six seven eight nine ten"
MODELS = {
    "assistant": ModelManifest("m", "chat", "echo", "fp32", "f", "none", details={"token_delay_s": 0.02}),
    "encoder": ModelManifest("m", "embed", "echo", "fp32", "f", "none", dimensions=8),
}


@dataclass
class Shop:
    """What `tulou serve` wires, with echo models in a real registry."""

    folder: Path
    registry: Registry
    fleet: Fleet
    board: Switchboard
    following: Following
    asked: int = 0
    problems: list[str] = field(default_factory=list)

    def versions(self, model: str) -> set[str]:
        return {each.version for each in self.fleet.ready(model)}

    async def until_serving(self, model: str, version: str) -> float:
        began = time.monotonic()
        async with asyncio.timeout(30):
            while self.versions(model) != {version}:
                await self.fleet.changed()
        return time.monotonic() - began

    async def use(self, stop: asyncio.Event) -> None:
        models = GatewayModels(self.board)
        while not stop.is_set():
            try:
                deltas = models.chat("assistant", [Message("user", WORDS)], max_tokens=50)
                said = "".join([delta.text async for delta in deltas])
                vectors = await models.embed("encoder", ["a", "b"])
                if said != WORDS or vectors.shape != (2, 8):
                    self.problems.append(f"wrong answer: {said!r}")
            except Exception as err:  # noqa: BLE001 -- every failure counts
                self.problems.append(repr(err))
            self.asked += 1


def register(registry: Registry, folder: Path, name: str, number: int) -> None:
    made = folder / "made" / f"{name}-{number}"
    write_manifest(made / "fp32", MODELS[name])
    registry.register(Candidate(name, made, f"{name}-{number}", "fp32"))


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with two versions of each model; the first is champion."""
    folder = tmp_path_factory.mktemp("registered")
    registry = Registry(f"sqlite:///{folder / 'mlflow.db'}", folder / "registry")
    for name in MODELS:
        register(registry, folder, name, 1)
        register(registry, folder, name, 2)
    return folder


@pytest.fixture
async def shop(registered: Path, tmp_path: Path) -> AsyncIterator[Shop]:
    folder = tmp_path / "shop"
    shutil.copytree(registered, folder)
    registry = Registry(f"sqlite:///{folder / 'mlflow.db'}", folder / "registry")

    serving = serving_of(registry, list(MODELS))
    specs = [
        ReplicaSpec(f"{name}-{i}", name, row[0].folder, version=row[0].version)
        for name, row in serving.items()
        for i in range(2)
    ]
    fleet = Fleet(specs, folder / "logs", sizing=Sizing(drain_s=10))
    manifests = {name: row[0].manifest(name) for name, row in serving.items()}
    board = Switchboard(ServiceSettings(), fleet, open_state("sqlite:///state.db", folder), Metrics(), manifests)
    mark = registry_mark("sqlite:///mlflow.db", folder)

    following = Following(fleet, serving, lambda: serving_of(registry, list(MODELS)), mark, board.set_variants, 2.0)
    await board.start()
    await fleet.wait_ready()
    watching = asyncio.create_task(following.run())
    yield Shop(folder, registry, fleet, board, following)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await board.stop()


async def test_promotions_under_load_lose_no_request_and_no_stream(shop: Shop) -> None:
    stop = asyncio.Event()
    users = [asyncio.create_task(shop.use(stop)) for _ in range(8)]
    await asyncio.sleep(0.5)
    await asyncio.to_thread(shop.registry.promote, "assistant", 2)
    await shop.until_serving("assistant", "2")
    await asyncio.to_thread(shop.registry.promote, "encoder", 2)
    await shop.until_serving("encoder", "2")
    await asyncio.to_thread(shop.registry.rollback, "assistant")
    await shop.until_serving("assistant", "1")
    await asyncio.sleep(0.5)
    stop.set()
    await asyncio.gather(*users)
    assert shop.problems == []
    assert shop.asked > 24
    async with asyncio.timeout(15):
        while len(shop.fleet.status()) > 4:  # the old ones have been let go  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await shop.board.accountant.stop()
    with sa.create_engine(f"sqlite:///{shop.folder / 'state.db'}").connect() as db:
        query = sa.select(requests.c.model, requests.c.model_version).distinct()
        seen = {(row.model, row.model_version) for row in db.execute(query)}
    assert seen == {("assistant", "1"), ("assistant", "2"), ("encoder", "1"), ("encoder", "2")}


async def test_a_promotion_is_noticed_within_a_second(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tulou")
    await asyncio.sleep(2 * LOOK_EVERY_S)
    await asyncio.to_thread(shop.registry.promote, "encoder", 2)
    began = time.monotonic()
    async with asyncio.timeout(5):
        while shop.fleet.size("encoder", "2") == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert time.monotonic() - began < 1
    assert await shop.until_serving("encoder", "2") < 20
    assert shop.versions("assistant") == {"1"}
    assert "model encoder: version 2 (100%) serves after" in caplog.text


async def test_rolling_back_to_what_is_kept_takes_less_than_a_second(shop: Shop) -> None:
    await asyncio.to_thread(shop.registry.promote, "assistant", 2)
    await shop.until_serving("assistant", "2")
    await asyncio.to_thread(shop.registry.rollback, "assistant")
    assert await shop.until_serving("assistant", "1") < 1
    assert {each.restarts for each in shop.fleet.status()} == {0}


async def test_a_version_that_is_tried_out_answers_its_share(shop: Shop) -> None:
    canary = Canary(2, 0.5)
    await asyncio.to_thread(shop.registry.try_out, "encoder", canary)
    async with asyncio.timeout(20):
        while shop.versions("encoder") != {"1", "2"}:
            await shop.fleet.changed()
    for _ in range(60):
        await GatewayModels(shop.board).embed("encoder", ["a"])
    await shop.board.accountant.stop()
    with sa.create_engine(f"sqlite:///{shop.folder / 'state.db'}").connect() as db:
        seen = [row.model_version for row in db.execute(sa.select(requests.c.model_version))]
    assert 10 <= seen.count("2") <= 50
    assert shop.board.models["encoder"].version == "1"  # among equals the champion describes the model


async def test_a_version_that_does_not_come_up_is_told_and_not_tried_again(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    found = shop.registry.find("encoder", 2).folder
    (found / "model.json").write_text((found / "model.json").read_text().replace('"echo"', '"nonsense"'))
    await asyncio.to_thread(shop.registry.promote, "encoder", 2)
    async with asyncio.timeout(20):
        while "cannot serve" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert "goes on with version 1 (100%); version 2 (100%) cannot serve: " in caplog.text
    assert shop.versions("encoder") == {"1"}
    await asyncio.sleep(3 * LOOK_EVERY_S)
    assert caplog.text.count("cannot serve") == 1
    await asyncio.to_thread(shop.registry.rollback, "encoder")
    vectors = await GatewayModels(shop.board).embed("encoder", ["a"])
    assert vectors.shape == (1, 8)
