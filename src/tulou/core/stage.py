"""Stages: pure functions of their inputs and settings, run once and never half.

A stage's fingerprint (upstream fingerprints, settings, raw inputs, source code) names its output folder. The work is
written beside it and renamed when whole, so a kill leaves either the finished folder or none; a second run finds the
folder and skips. What a stage wants to survive a kill (checkpoints) goes into `context.scratch`, which stays until the
stage is done. The price is disk: old outputs are kept for one more run, then pruned.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from tulou.core.disk import is_disk_full
from tulou.core.errors import BusyError, DiskFullError, TulouError
from tulou.core.progress import Progress

MANIFEST = "stage.json"
RUNNING = "running.json"  # beside the lock: which process runs what; of a killed one it stays, and means nothing
Summary = dict[str, Any]


@dataclass(frozen=True)
class StageContext:
    """What a running stage may touch."""

    out: Path  # empty folder; becomes the stage's output when the function returns
    scratch: Path  # survives a kill, removed after success
    inputs: Mapping[str, Path]  # output folder of each upstream stage, by name
    fingerprint: str
    progress: Progress
    name: str  # of the stage
    is_trial: bool = False  # only measured, for a plan: nothing but its own folders may change


@dataclass(frozen=True)
class Stage:
    name: str  # "collect.knowledge"; also a folder name
    run: Callable[[StageContext], Summary]
    inputs: tuple[str, ...] = ()
    settings: Any = None  # JSON-able: whatever changes the output
    raw: Callable[[], str] | None = None  # digest of inputs from outside, such as source files
    code: tuple[str, ...] = ()  # modules or packages whose source is part of the fingerprint
    publishes: bool = False  # changes something beside its folder, so it is repeated unless the last run ended here too
    title: str = ""


@dataclass(frozen=True)
class StageResult:
    name: str
    title: str
    fingerprint: str
    path: Path
    summary: Summary
    seconds: float
    peak_rss_bytes: int
    finished_at: float
    before_rss_bytes: int = 0  # held by the process when the stage began
    is_cached: bool = False


@dataclass(frozen=True)
class Planned:
    """A stage as the next run will meet it; `result` is there where nothing needs doing."""

    stage: Stage
    fingerprint: str
    result: StageResult | None


class Watcher(Protocol):
    """Told what happens to each stage, as it happens."""

    def started(self, stage: Stage, index: int, total: int) -> None: ...

    def finished(self, result: StageResult, index: int, total: int) -> None: ...


@dataclass
class Pipeline:
    """Stages in an order in which each comes after its inputs, and the folder that holds their outputs."""

    stages: Sequence[Stage]
    root: Path
    clock: Callable[[], float] = field(default=time.time)

    def run(self, progress: Progress, watcher: Watcher, until: str | None = None) -> list[StageResult]:
        """Run what is not there yet.

        Raises `BusyError` if another run holds the project, `DiskFullError` when space ends, and whatever the stage
        itself raises; finished stages stay finished.
        """
        stages = self._up_to(until)
        results: dict[str, StageResult] = {}
        with exclusive_run(self.root):
            before, began = self._last_run(), self.clock()
            for index, stage in enumerate(stages, 1):
                fingerprint = self._fingerprint(stage, results)
                result = self._finished(stage, fingerprint)
                if stage.publishes and before.get(stage.name) != fingerprint:
                    result = None
                if result is None:
                    watcher.started(stage, index, len(stages))
                    self._tell(stage, index, len(stages), began)
                    if stage.publishes:  # whoever is killed from here on must not leave a note of what was there before
                        self._note({name: mark for name, mark in self._last_run().items() if name != stage.name})
                    result = self._execute(stage, fingerprint, results, progress)
                    if stage.publishes:
                        self._note({**self._last_run(), stage.name: fingerprint})
                watcher.finished(result, index, len(stages))
                results[stage.name] = result
            self._remember(before, results)
        return list(results.values())

    def forget(self, names: Sequence[str]) -> None:
        """Drop the outputs of the stages called so, that the next run makes them again.

        Raises `BusyError` if a run holds the project: its outputs may be among them.
        """
        if not names:
            return
        with exclusive_run(self.root):
            for name in names:
                for stage in self._up_to(name):
                    if stage.name == name or stage.name.split(".")[0] == name:
                        shutil.rmtree(self.root / stage.name, ignore_errors=True)

    def todo(self, until: str | None = None) -> list[Planned]:
        """What the next run will find, stage by stage; nothing is run or written."""
        planned: dict[str, Planned] = {}
        for stage in self._up_to(until):
            fingerprint = self._fingerprint(stage, planned)
            planned[stage.name] = Planned(stage, fingerprint, self._finished(stage, fingerprint))
        return list(planned.values())

    def latest(self) -> dict[str, StageResult]:
        """What the last runs produced, by stage name; empty before the first."""
        found = {}
        for name, fingerprint in self._last_run().items():
            manifest = read_json(self.root / name / fingerprint / MANIFEST)
            if manifest:
                found[name] = _result(self.root / name / fingerprint, manifest)
        return found

    def _up_to(self, until: str | None) -> Sequence[Stage]:
        if until is None:
            return self.stages
        matching = [
            i for i, stage in enumerate(self.stages) if stage.name == until or stage.name.split(".")[0] == until
        ]
        if not matching:
            names = ", ".join(stage.name for stage in self.stages)
            raise TulouError(f"unknown stage {until!r}; choose from {names}")
        wanted = {self.stages[i].name for i in matching}
        for stage in reversed(self.stages[: matching[-1] + 1]):
            if stage.name in wanted:
                wanted.update(stage.inputs)
        return [stage for stage in self.stages if stage.name in wanted]

    def _fingerprint(self, stage: Stage, done: Mapping[str, StageResult | Planned]) -> str:
        parts = {
            "name": stage.name,
            "inputs": {name: done[name].fingerprint for name in stage.inputs},
            "settings": stage.settings,
            "raw": stage.raw() if stage.raw else None,
            "code": {module: code_digest(module) for module in stage.code},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def _finished(self, stage: Stage, fingerprint: str) -> StageResult | None:
        path = self.root / stage.name / fingerprint
        manifest = read_json(path / MANIFEST)
        return _result(path, manifest, is_cached=True) if manifest else None

    def _execute(
        self, stage: Stage, fingerprint: str, done: Mapping[str, StageResult], progress: Progress
    ) -> StageResult:
        home = self.root / stage.name
        out, scratch, final = home / f"{fingerprint}.partial", home / f"{fingerprint}.scratch", home / fingerprint
        started = self.clock()
        before = _forget_peak()
        try:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            scratch.mkdir(exist_ok=True)
            inputs = {name: done[name].path for name in stage.inputs}
            summary = stage.run(StageContext(out, scratch, inputs, fingerprint, progress, stage.name))
            manifest = {
                "name": stage.name,
                "title": stage.title,
                "fingerprint": fingerprint,
                "inputs": {name: done[name].fingerprint for name in stage.inputs},
                "settings": stage.settings,
                "code": {module: code_digest(module) for module in stage.code},
                "summary": summary,
                "seconds": round(self.clock() - started, 3),
                "peak_rss_bytes": _peak_bytes(),
                "before_rss_bytes": before,
                "finished_at": self.clock(),
            }
            write_json(out / MANIFEST, manifest)
            shutil.rmtree(final, ignore_errors=True)  # of a publishing stage that is repeated
            os.replace(out, final)
        except TulouError:
            raise
        except Exception as err:
            if is_disk_full(err) or _has_no_space(home):
                shutil.rmtree(out, ignore_errors=True)
                raise DiskFullError(
                    f"the disk that holds {self.root} is full (stage {stage.name}); finished stages are kept: "
                    "free some space and run again"
                ) from err
            raise
        shutil.rmtree(scratch, ignore_errors=True)
        return _result(final, manifest)

    def _tell(self, stage: Stage, index: int, total: int, began: float) -> None:
        """Leave word for whoever asks what is at work."""
        now = {"stage": stage.name, "title": stage.title, "index": index, "total": total}
        since = {"started_at": began, "stage_started_at": self.clock()}
        with suppress(OSError):  # a full disk is for the stage to say
            write_json(self.root / RUNNING, {"pid": os.getpid(), **now, **since})

    def _last_run(self) -> dict[str, str]:
        """Fingerprint of each stage's output as the last run left it."""
        fingerprints: dict[str, str] = (read_json(self.root / "latest.json") or {}).get("stages", {})
        return fingerprints

    def _note(self, stages: Mapping[str, str]) -> None:
        write_json(self.root / "latest.json", {"stages": dict(stages), "finished_at": self.clock()})

    def _remember(self, before: Mapping[str, str], results: Mapping[str, StageResult]) -> None:
        """Note this run as the latest, and prune outputs that neither it nor the one before it uses."""
        ours = {stage.name for stage in self.stages}
        kept = {name: fingerprint for name, fingerprint in before.items() if name in ours}
        now = {**kept, **{name: result.fingerprint for name, result in results.items()}}
        if now == before == self._last_run():
            return
        self._note(now)
        for home in (path for path in self.root.iterdir() if path.is_dir()):
            keep = {now.get(home.name), before.get(home.name)}
            for output in home.iterdir():
                if output.name not in keep:
                    shutil.rmtree(output, ignore_errors=True)


def _forget_peak() -> int:
    """Let the kernel count the peak of this process's memory anew, and return what it holds; 0 where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux, proc(5)
    except OSError:
        return 0
    return _peak_bytes()


def _peak_bytes() -> int:
    """The most memory this process held since `_forget_peak`, or in its whole life where the kernel does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _has_no_space(folder: Path) -> bool:
    """Whether the disk under `folder` has nothing left to write to; some libraries fail there without a reason."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free < 64 << 10


@contextmanager
def exclusive_run(root: Path) -> Iterator[None]:
    """Hold the project's run lock; the kernel lets go of it when the process ends, however it ends."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise BusyError(
                f"another `tulou run` is at work in this project (process {holder}); wait for it or stop it first"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            (root / RUNNING).unlink(missing_ok=True)


@cache
def code_digest(module: str) -> str:
    """Digest of a module's source, or of every source and TOML file of a package."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"no source for module {module!r}")
    origin = Path(spec.origin)
    is_package = origin.name == "__init__.py"
    files = (
        sorted(path for kind in ("*.py", "*.toml") for path in origin.parent.rglob(kind)) if is_package else [origin]
    )
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(origin.parent).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def write_json(path: Path, value: Any) -> None:
    """Write `value` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + f".{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps(value, ensure_ascii=False, indent=1, default=str), encoding="utf-8")
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The value in `path`, or None where there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _result(path: Path, manifest: Mapping[str, Any], is_cached: bool = False) -> StageResult:
    return StageResult(
        name=manifest["name"],
        title=manifest["title"],
        fingerprint=manifest["fingerprint"],
        path=path,
        summary=manifest["summary"],
        seconds=manifest["seconds"],
        peak_rss_bytes=manifest["peak_rss_bytes"],
        finished_at=manifest["finished_at"],
        before_rss_bytes=manifest.get("before_rss_bytes", 0),
        is_cached=is_cached,
    )
