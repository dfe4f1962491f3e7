"""Try one stage for some seconds, in a process of its own: `python -m tulou.bootstrap.calibrate REQUEST.json`.

The real stage runs on its real inputs with a progress that watches how fast its bar moves and ends it when it has seen
enough. Nothing of the project is touched: what it writes goes into a folder that the caller removes. A stage that ends
in time has done its whole work there, so its output can serve as the next trial's input.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tulou.core.errors import TulouError
from tulou.core.progress import Bar
from tulou.model.budget import Trial

WARM_UP = 3  # advances that do not count: the first steps load and compile


class Enough(Exception):  # noqa: N818 -- nothing is wrong
    """The bar was watched for long enough."""


class Watched:
    """A `Progress` that measures the bar under way and ends the work after `seconds` of it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._started = time.monotonic()
        self.bar_seen: _WatchedBar | None = None

    @contextmanager
    def bar(self, title: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        self.bar_seen = _WatchedBar(total, unit, self._seconds, time.monotonic() - self._started)
        yield self.bar_seen


class _WatchedBar:
    def __init__(self, total: float | None, unit: str, seconds: float, before_s: float) -> None:
        self.total, self.unit, self.before_s = total, unit, before_s
        self._seconds = seconds
        self._marks: list[tuple[float, float]] = []  # time, done
        self._done = 0.0

    def advance(self, n: float = 1) -> None:
        if not n:
            return
        self._done += n
        self._marks.append((time.monotonic(), self._done))
        is_long = len(self._marks) > WARM_UP + 1 and self._marks[-1][0] - self._marks[WARM_UP][0] >= self._seconds
        if is_long and self.total and self._done < self.total * 0.9:
            raise Enough

    def note(self, text: str) -> None:
        pass

    @property
    def steps(self) -> int:
        return max(0, len(self._marks) - WARM_UP - 1)

    @property
    def rate(self) -> float | None:
        if not self.steps:
            return None
        (start, done_before), (end, done) = self._marks[WARM_UP], self._marks[-1]
        return (done - done_before) / (end - start) if end > start else None


def try_stage(project: Path, stage: str, inputs: Mapping[str, Path], out: Path, seconds: float) -> Trial:
    """Run `stage` of the project in `project` for about `seconds` of its longest bar."""
    from tulou.bootstrap.pipeline import build_pipeline
    from tulou.bootstrap.project import Project
    from tulou.core.stage import StageContext

    wanted = next(each for each in build_pipeline(Project.open(project)).stages if each.name == stage)
    made, scratch = out / "out", out / "scratch"
    made.mkdir(parents=True)
    scratch.mkdir()
    watched = Watched(seconds)
    started = time.monotonic()
    parameters, is_finished, summary = 0, False, {}
    try:
        summary = wanted.run(StageContext(made, scratch, inputs, "trial", watched, stage, is_trial=True))
        is_finished = True
    except Enough as enough:
        parameters = _parameters(enough)
    spent, bar = time.monotonic() - started, watched.bar_seen
    if is_finished:
        _leave_manifest(made, stage, summary)
        parameters = int(summary.get("parameters") or 0)
    torch = sys.modules.get("torch")
    return Trial(
        is_finished=is_finished,
        seconds=spent,
        before_s=bar.before_s if bar else 0.0,
        total=bar.total if bar else None,
        rate=bar.rate if bar else None,
        unit=bar.unit if bar else "",
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        written_bytes=sum(path.stat().st_size for path in out.rglob("*") if path.is_file()),
        parameters=parameters,
        has_gpu=bool(torch and torch.cuda.is_available()),
        steps=bar.steps if bar else 0,
        waiting_share=_waiting_share(),
    )


def _waiting_share() -> float:
    """Of the time in which this process's threads could run, how much they waited for a core; 0 where nobody tells."""
    ran = waited = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):  # Linux: ns on a core, ns in its queue, times
        with suppress(OSError, ValueError):  # the thread has just ended
            on, queued, _ = map(int, path.read_text().split())
            ran, waited = ran + on, waited + queued
    return waited / (ran + waited) if ran else 0.0


def _parameters(stopped: Exception) -> int:
    """Parameters of the largest model that the stopped work held; they are still reachable from its frames."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return 0
    found = [
        sum(parameter.numel() for parameter in each.parameters())
        for each in gc.get_objects()
        if issubclass(type(each), torch.nn.Module)
    ]
    del stopped
    return max(found, default=0)


def _leave_manifest(made: Path, stage: str, summary: Mapping[str, Any]) -> None:
    """As the pipeline does, for stages that read what an earlier one came to."""
    from tulou.core.stage import MANIFEST, write_json

    facts = {"name": stage, "summary": summary, "seconds": 0.0, "inputs": {}, "settings": {}, "fingerprint": "trial"}
    write_json(made / MANIFEST, {**facts, "title": stage, "peak_rss_bytes": 0, "finished_at": 0.0})


def main(request: Path) -> None:
    asked = json.loads(request.read_text(encoding="utf-8"))
    inputs = {name: Path(path) for name, path in asked["inputs"].items()}
    try:
        trial = try_stage(Path(asked["project"]), asked["stage"], inputs, Path(asked["out"]), asked["seconds"])
        found: dict[str, Any] = asdict(trial)
    except TulouError as err:
        found = {"error": str(err)}
    Path(asked["result"]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
