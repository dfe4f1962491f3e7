"""Train in several processes or on several machines with Ray Train.

The recipe that runs alone runs in every worker as it is; there it finds torch.distributed set up (`team.py`). All
workers must see the same folders: a worker that dies ends the others, Ray starts them all again, and they go on from
the checkpoint in `scratch`. What the first worker tells lies in a file there too, and this process reads it out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tulou.core import errors
from tulou.core.errors import ModelError, TulouError
from tulou.core.extras import load_extra
from tulou.core.progress import Bar, Progress
from tulou.core.ray_cluster import connect
from tulou.core.settings import ModelSettings
from tulou.core.stage import read_json, write_json

if TYPE_CHECKING:
    from tulou.model.loop import Report

Recipe = Callable[..., dict[str, Any]]

MAX_RESTARTS = 3  # after workers died
POLL_S = 0.5


class Launch(Protocol):
    def __call__(
        self, recipe: Recipe, *, scratch: Path, progress: Progress, report: Report | None = None, **given: Any
    ) -> dict[str, Any]:
        """Run `recipe` with all that is given, and return what it returns."""
        ...


class InThisProcess:
    def __call__(
        self, recipe: Recipe, *, scratch: Path, progress: Progress, report: Report | None = None, **given: Any
    ) -> dict[str, Any]:
        return recipe(scratch=scratch, progress=progress, report=report, **given)


class RayTeam:
    """`address` is "local" for a cluster in this machine, or HOST:PORT of a running one; 0 `workers`: as fit."""

    def __init__(self, address: str, workers: int = 0) -> None:
        self.address = address
        self.workers = workers

    def __call__(
        self, recipe: Recipe, *, scratch: Path, progress: Progress, report: Report | None = None, **given: Any
    ) -> dict[str, Any]:
        """Raises what the recipe raises in a worker, and `ModelError` where workers keep dying."""
        scratch = scratch.resolve()
        for name in ("failure.json", "summary.json"):
            (scratch / name).unlink(missing_ok=True)
        with self._cluster() as ray:
            gpus = int(ray.cluster_resources().get("GPU", 0))
            workers = self.workers or gpus or 2
            fit = ray.remote(num_cpus=0)(_fit)
            done = fit.remote(recipe, scratch, given, workers, bool(gpus))
            _read_out(scratch / "told.jsonl", lambda: bool(ray.wait([done], timeout=POLL_S)[0]), progress, report)
            try:
                ray.get(done)
            except ray.exceptions.RayError as err:
                _raise_failure(scratch)
                raise ModelError(
                    f"training under Ray ended {MAX_RESTARTS + 1} times without a word of the recipe; the workers may "
                    f"need more memory than there is, or do not see {scratch}: {str(err).strip().splitlines()[-1]}"
                ) from err
        _raise_failure(scratch)
        summary: dict[str, Any] | None = read_json(scratch / "summary.json")
        if summary is None:
            raise ModelError(f"the workers left no summary in {scratch}; does each of them see this folder?")
        return {**summary, "workers": workers}

    @contextmanager
    def _cluster(self) -> Iterator[Any]:
        ray, is_ours = connect(
            self.address, max(os.cpu_count() or 1, self.workers), "training on several machines", ModelError
        )
        load_extra("ray.train.torch", "ray", "training on several machines")
        try:
            yield ray
        finally:
            if is_ours:
                ray.shutdown()


def open_launch(settings: ModelSettings) -> Launch:
    """What `engine` of the model's settings names."""
    if settings.engine == "local":
        return InThisProcess()
    return RayTeam(settings.engine.removeprefix("ray://"), settings.workers)


def _fit(recipe: Recipe, scratch: Path, given: dict[str, Any], workers: int, uses_gpu: bool) -> None:
    """In the cluster: train until done, starting the workers anew when some of them die."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    TorchTrainer(
        _work,
        train_loop_config={"recipe": recipe, "scratch": scratch, "given": given},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=uses_gpu),
        run_config=RunConfig(
            storage_path=str(scratch / "ray"), failure_config=FailureConfig(max_failures=MAX_RESTARTS)
        ),
    ).fit()


def _work(config: dict[str, Any]) -> None:
    """In each worker: the recipe, told to nobody but a file."""
    from tulou.model.libraries import load_torch

    load_torch()
    from tulou.model.team import current_team

    scratch: Path = config["scratch"]
    if (scratch / "failure.json").exists():  # the recipe cannot do it, however often it is started
        return
    team, diary = current_team(), Diary(scratch / "told.jsonl")
    try:
        summary = config["recipe"](
            scratch=scratch, progress=diary, report=diary.point if team.is_first else None, **config["given"]
        )
    except TulouError as err:
        write_json(scratch / "failure.json", {"kind": type(err).__name__, "message": str(err)})
        raise
    if team.is_first:
        write_json(scratch / "summary.json", summary)
    team.wait()


class Diary:
    """The first worker's progress, as lines of JSON; silent in the others."""

    def __init__(self, path: Path) -> None:
        from tulou.model.team import current_team

        self._path, self._writes = path, current_team().is_first

    def bar(self, title: str, total: float | None = None, unit: str = "") -> AbstractContextManager[Bar]:
        write, state = self._write, {"title": title, "total": total, "unit": unit, "done": 0.0}

        class Line:
            def advance(self, n: float = 1) -> None:
                state["done"] = float(state["done"] or 0) + n

            def note(self, text: str) -> None:
                write({**state, "note": text})

        @contextmanager
        def bar() -> Iterator[Bar]:
            yield Line()

        return bar()

    def point(self, point: Any) -> None:
        self._write({"point": dict(point)})

    def _write(self, line: dict[str, Any]) -> None:
        if self._writes:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _read_out(path: Path, is_done: Callable[[], bool], progress: Progress, report: Report | None) -> None:
    """Tell what the file at `path` tells, each point once, until `is_done`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    last_step, shown = -1.0, 0.0
    with path.open(encoding="utf-8") as file, progress.bar("Train", unit="tokens") as bar:
        file.seek(0, os.SEEK_END)  # what an earlier run told was read out then
        ends = False
        while not ends:
            ends = is_done()
            for line in file:
                told = json.loads(line)
                if "note" in told:
                    bar.advance(max(0.0, told["done"] - shown))
                    shown = max(shown, told["done"])
                    bar.note(told["note"])
                elif told["point"]["step"] > last_step:
                    last_step = told["point"]["step"]
                    if report:
                        report(told["point"])


def _raise_failure(scratch: Path) -> None:
    """Raise here what the recipe raised in a worker."""
    failure = read_json(scratch / "failure.json")
    if failure is not None:
        kind = getattr(errors, failure["kind"], TulouError)
        raise kind(failure["message"])
