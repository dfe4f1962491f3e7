"""Two gateway workers against one, on a machine whose two cores have to carry the load as well.

Each worker is held to `SHARE` of a core of its own by a control group; the load generator and its upstream take what is
left of both cores. So one worker has that share of one core, two have it of two, and the load is never what limits.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from tulou.bench.gateway.load import Pace, drive
from tulou.bench.gateway.processes import GATEWAY_CORE, LOAD_CORE, Server, require_two_cores, running
from tulou.bench.gateway.programs import nginx_upstream, tulou_gateway
from tulou.core.errors import TulouError
from tulou.core.progress import Progress

SHARE = 0.4  # of a core; the load takes about as much again for two workers
COUNTS = (1, 2)
TURNS = 3
CONNECTIONS = 32
PERIOD_US = 10_000
CORES = (GATEWAY_CORE, LOAD_CORE)

_GROUPS = Path("/sys/fs/cgroup")


def bench_workers(folder: Path, progress: Progress, *, seconds: float) -> dict[str, Any]:
    """Requests/s of one and of two workers by turns; raises `TulouError` where no control group can be made."""
    require_two_cores()
    paces: dict[int, list[Pace]] = {count: [] for count in COUNTS}
    with running(nginx_upstream(folder, core=None), folder) as upstream:
        url = upstream.program.url
        with progress.bar("workers", TURNS * len(COUNTS), "runs") as bar:
            for _ in range(TURNS):
                for count in COUNTS:
                    program = tulou_gateway(folder, url, url, workers=count)
                    with running(program, folder) as server, _held(server, count):
                        drive(server, CONNECTIONS, 1, folder, CORES)
                        paces[count].append(drive(server, CONNECTIONS, seconds, folder, CORES))
                    bar.advance()
    one, two = (statistics.median(pace.requests_per_s for pace in paces[count]) for count in COUNTS)
    return {
        "share": SHARE,
        "workers": [{"workers": count, "paces": [asdict(pace) for pace in paces[count]]} for count in COUNTS],
        "ratio": two / one,
    }


@contextlib.contextmanager
def _held(server: Server, count: int) -> Iterator[None]:
    """Hold each worker of `server` to its share of its core."""
    workers = [each for each in server.processes() if "--listen-fd" in each.cmdline()]
    if len(workers) != count:
        raise TulouError(f"{len(workers)} gateway workers run where {count} were asked for")
    with contextlib.ExitStack() as groups:
        for number, (worker, core) in enumerate(zip(workers, CORES, strict=False)):
            groups.enter_context(_group(f"tulou-bench-{os.getpid()}-{number}", worker))
            for thread in worker.threads():
                os.sched_setaffinity(thread.id, {core})
        yield


@contextlib.contextmanager
def _group(name: str, worker: psutil.Process) -> Iterator[None]:
    """A control group of version 1 or 2 with `worker` in it; it is removed once the worker is out of it again."""
    is_old = (_GROUPS / "cpu").is_dir()
    root = _GROUPS / "cpu" if is_old else _GROUPS
    group, quota = root / name, round(PERIOD_US * SHARE)
    try:
        if not is_old:
            (root / "cgroup.subtree_control").write_text("+cpu")
        group.mkdir()
        if is_old:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        (group / "cgroup.procs").write_text(str(worker.pid))
    except OSError as err:
        raise TulouError(f"this bench holds workers to a share of a core and may make no control group: {err}") from err
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it has ended already
            (root / "cgroup.procs").write_text(str(worker.pid))
        group.rmdir()
