"""Which cores each replica computes on, and on how many threads.

Threads of one replica wait for each other at every layer, so replicas that share cores cost each other more than their
share. While there are cores for all, each replica gets a block of neighbouring ones to itself; beyond that nobody is
pinned, one thread each, and the kernel shares out what there is. The price: what an idle replica does not use, others
cannot borrow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True)
class CpuShare:
    threads: int
    cores: tuple[int, ...] = ()  # to stay on; empty: wherever the kernel likes


def plan_cpus(cores: Sequence[int], replicas: int, threads: int = 0, pin: bool = True) -> list[CpuShare]:
    """The share of each of `replicas` in `cores`; `threads` other than 0 is what each gets, whatever there is."""
    if replicas < 1:
        return []
    if len(cores) < replicas * max(threads, 1):
        return [CpuShare(threads or 1)] * replicas
    bounds = [i * len(cores) // replicas for i in range(replicas + 1)]
    blocks = [tuple(cores[begin:end]) for begin, end in pairwise(bounds)]
    return [CpuShare(threads or len(block), block[: threads or None] if pin else ()) for block in blocks]


def usable_cores() -> list[int]:
    """Numbers of the cores that this process may use; with a CPU quota, as many of them as it allows."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    return cores[: max(1, _quota() or len(cores))]


def pin(pid: int, cores: Sequence[int]) -> None:
    """Keep every thread of a running process on `cores`; does nothing where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(thread.name), cores or os.sched_getaffinity(0))


def _quota() -> int | None:
    """Whole cores that cgroup v2 allows; None without a limit."""
    try:
        allowed, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if allowed == "max" else max(1, int(allowed) // int(period))
    except (OSError, ValueError):
        return None
