"""What a running service does when the registry changes, step by step, with a fleet that only takes notes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from tests.service.policy.replicas import Clock

from tulou.bootstrap.following import Following, registry_mark, replicas_for
from tulou.bootstrap.rollout import ServedVersion, Serving
from tulou.core.errors import ModelError, ServiceError
from tulou.core.manifest import write_manifest
from tulou.core.types import ModelManifest
from tulou.service.gateway.policy.rollout import Variant


class NotingFleet:
    def __init__(self) -> None:
        self.sizes = Counter({"1": 2})
        self.shown: Collection[str] = {"1"}
        self.retired: list[str] = []
        self.broken: set[str] = set()

    def size(self, model: str, version: str | None = None) -> int:
        return self.sizes[version] if version else self.sizes.total()

    async def bring_up(self, model: str, version: str, folder: Path, count: int) -> None:
        if version in self.broken:
            raise ServiceError(f"version {version} does not stay up")
        self.sizes[version] += count

    def show(self, model: str, versions: Collection[str]) -> None:
        self.shown = set(versions)

    def retire(self, model: str, version: str) -> None:
        self.retired.append(version)
        del self.sizes[version]


class Scene:
    def __init__(self, folder: Path) -> None:
        self.fleet, self.clock = NotingFleet(), Clock()
        self.folders = {number: folder / number for number in "123"}
        for number, each in self.folders.items():
            write_manifest(each, ModelManifest("m", "chat", "echo", "fp32", f"f{number}", "none"))
        self.wanted: Serving | Exception = self.row(("1", 1.0))
        self.marks = 0
        self.switches: list[tuple[list[str], str]] = []
        self.following = Following(
            self.fleet, self.row(("1", 1.0)), self.read, lambda: self.marks, self.switch, 300, self.clock
        )

    def row(self, *versions: tuple[str, float], shadow: float = 0.0) -> Serving:
        found = [ServedVersion(number, self.folders[number], weight) for number, weight in versions]
        if shadow:
            found[0] = ServedVersion(found[0].version, found[0].folder, found[0].weight, shadow)
        return {"m": tuple(found)}

    def read(self) -> Serving:
        if isinstance(self.wanted, Exception):
            raise self.wanted
        return self.wanted

    def switch(self, model: str, variants: Sequence[Variant], manifest: ModelManifest) -> None:
        assert set(self.fleet.sizes) >= {each.version for each in variants}  # ready before it is switched to
        self.switches.append(([each.version for each in variants], manifest.fingerprint))

    async def want(self, *versions: tuple[str, float], shadow: float = 0.0) -> None:
        self.wanted = self.row(*versions, shadow=shadow)
        self.marks += 1
        await self.following.look()
        await self.following.settled()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_a_new_champion_takes_over_and_the_old_one_is_kept_for_a_while(scene: Scene) -> None:
    await scene.want(("2", 1.0))
    assert scene.switches == [(["2"], "f2")]
    assert (scene.fleet.sizes, scene.fleet.shown) == ({"1": 2, "2": 2}, {"2"})
    scene.clock.now += 299
    await scene.following.look()
    assert scene.fleet.retired == []
    scene.clock.now += 2
    await scene.following.look()
    assert (scene.fleet.retired, scene.fleet.sizes) == (["1"], {"2": 2})


async def test_rolling_back_to_what_is_kept_starts_nothing(scene: Scene) -> None:
    await scene.want(("2", 1.0))
    await scene.want(("1", 1.0))
    assert scene.switches[-1] == (["1"], "f1")
    assert (scene.fleet.sizes, scene.fleet.shown) == ({"1": 2, "2": 2}, {"1"})
    scene.clock.now += 400
    await scene.following.look()
    assert scene.fleet.retired == ["2"]


async def test_a_version_that_is_tried_out_gets_replicas_for_its_share(scene: Scene) -> None:
    await scene.want(("2", 0.05), ("1", 0.95))
    assert scene.fleet.sizes == {"1": 2, "2": 1}
    assert (scene.switches[-1], scene.fleet.shown) == ((["2", "1"], "f1"), {"1", "2"})
    await scene.want(("2", 1.0))
    assert (scene.fleet.sizes, scene.switches[-1]) == ({"1": 2, "2": 2}, (["2"], "f2"))


async def test_a_version_in_the_shadow_runs_and_describes_nothing(scene: Scene) -> None:
    await scene.want(("2", 0.0), ("1", 1.0), shadow=0.2)
    assert (scene.fleet.sizes, scene.switches) == ({"1": 2, "2": 1}, [(["2", "1"], "f1")])


async def test_a_version_that_does_not_come_up_changes_nothing_and_is_not_tried_again(scene: Scene) -> None:
    scene.fleet.broken.add("2")
    await scene.want(("2", 1.0))
    assert (scene.switches, scene.fleet.shown, scene.fleet.sizes) == ([], {"1"}, {"1": 2})
    scene.fleet.broken.clear()
    scene.marks += 1
    await scene.following.look()
    assert scene.switches == []
    await scene.want(("3", 1.0))
    await scene.want(("2", 1.0))  # wanted anew
    assert [versions for versions, _ in scene.switches] == [["3"], ["2"]]


async def test_what_came_up_beside_one_that_did_not_is_let_go(scene: Scene) -> None:
    scene.fleet.broken.add("3")
    await scene.want(("2", 0.5), ("3", 0.5))
    await scene.following.look()
    assert (scene.fleet.retired, scene.fleet.sizes, scene.fleet.shown) == (["2"], {"1": 2}, {"1"})


async def test_a_registry_that_cannot_be_read_is_asked_again(scene: Scene) -> None:
    scene.wanted = ModelError("no answer")
    scene.marks += 1
    await scene.following.look()
    scene.wanted = scene.row(("2", 1.0))
    await scene.following.look()  # its mark is the same
    await scene.following.settled()
    assert scene.switches == [(["2"], "f2")]


async def test_what_does_not_change_is_not_touched(scene: Scene) -> None:
    await scene.want(("1", 1.0))
    assert (scene.switches, scene.fleet.shown) == ([], {"1"})


@pytest.mark.parametrize(
    ("weight", "shadow", "expected"), [(1.0, 0.0, 4), (0.05, 0.0, 1), (0.5, 0.0, 2), (0.51, 0.0, 3), (0.0, 0.6, 3)]
)
def test_replicas_follow_the_share(weight: float, shadow: float, expected: int) -> None:
    assert replicas_for(ServedVersion("1", Path(), weight, shadow), 4) == expected


async def test_the_service_outlives_whatever_the_registry_raises(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tulou.bootstrap.following.LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("tulou.bootstrap.following.AFTER_TROUBLE_S", 0.01)
    scene.wanted, scene.marks = OSError("no space left on the device"), 1
    running = asyncio.create_task(scene.following.run())
    await asyncio.sleep(0.1)
    assert "could not be followed" in caplog.text
    scene.wanted = scene.row(("2", 1.0))
    await asyncio.sleep(0.2)
    running.cancel()
    assert scene.switches == [(["2"], "f2")]


def test_the_mark_of_a_registry_bears_files_that_come_and_go(tmp_path: Path) -> None:
    mark = registry_mark("sqlite:///registry.db", tmp_path)
    nothing = mark()
    (tmp_path / "registry.db").write_bytes(b"x")
    (tmp_path / "registry.db-wal").write_bytes(b"x")
    both = mark()
    (tmp_path / "registry.db-wal").unlink()
    assert len({str(each) for each in (nothing, both, mark())}) == 3


async def test_a_version_that_is_slow_to_come_up_keeps_no_other_model_waiting(scene: Scene) -> None:
    comes_up, bring_up = asyncio.Event(), scene.fleet.bring_up

    async def slowly(model: str, version: str, folder: Path, count: int) -> None:
        if model == "m":
            await comes_up.wait()
        await bring_up(model, version, folder, count)

    scene.fleet.bring_up = slowly  # type: ignore[method-assign]
    one, two, three = (scene.row((number, 1.0))["m"] for number in "123")
    switched: list[tuple[str, str]] = []
    wanted = {"m": two, "n": one}
    following = Following(
        scene.fleet,
        {"m": one, "n": one},
        lambda: dict(wanted),
        lambda: scene.marks,
        lambda model, variants, _manifest: switched.append((model, variants[0].version)),
        300,
        scene.clock,
    )
    await following.look()
    wanted["n"] = three
    scene.marks += 1
    await following.look()
    await asyncio.sleep(0)
    assert switched == [("n", "3")]
    wanted["m"] = three  # changed once more while it comes up
    scene.marks += 1
    await following.look()
    comes_up.set()
    await following.settled()
    await following.look()
    await following.settled()
    assert switched == [("n", "3"), ("m", "2"), ("m", "3")]
