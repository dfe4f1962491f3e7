"""A child process under observation: its time, the memory of its whole tree, and nothing left of it when we stop.

Memory is sampled: `rss`, which counts a page once for each process that shares it, a few times a second; `pss`, which
shares it out and is what the machine really gives, once, because the kernel walks all pages for it and the child waits
meanwhile (0.4 s of processor time in a run of 6 s, at five times a second). A peak between two samples is missed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tulou.core.errors import TulouError

_SAMPLE_S = 0.2
_PSS_EVERY_S = 1.0
_GRACE_S = 5.0
_SHOWN_CHARS = 1500


Tick = Callable[[float, int], None]
"""Told the seconds since the start and the tree's present memory."""


def unseen(_seconds: float, _memory: int) -> None:
    """A `Tick` for those who are not watching."""


@dataclass(frozen=True)
class Finished:
    seconds: float
    stdout: str
    peak_rss_bytes: int
    peak_pss_bytes: int


@dataclass(frozen=True)
class Killed:
    seconds: float
    orphans: int  # child processes that were still there a moment later


def run_watched(command: Sequence[str], *, environ: Mapping[str, str] | None = None, tick: Tick = unseen) -> Finished:
    """Run to the end. Raises `TulouError` with the last of its output where it fails; a Ctrl-C ends the whole tree."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = _start(command, out.fileno(), err.fileno(), environ)
        started = looked = time.monotonic()
        peak_rss = peak_pss = pss = 0
        try:
            while child.poll() is None:
                now = time.monotonic()
                if pss == 0 or now - looked >= _PSS_EVERY_S:
                    pss, looked = _summed(child.pid, _shared_out), now
                peak_rss, peak_pss = max(peak_rss, _summed(child.pid, _resident)), max(peak_pss, pss)
                tick(now - started, pss)
                _wait(child, _SAMPLE_S)
        finally:
            seconds = time.monotonic() - started
            _end(child)
        out.seek(0)
        said = out.read().decode(errors="replace")
        if child.returncode:
            err.seek(0)
            why = (err.read().decode(errors="replace").strip() or said.strip())[-_SHOWN_CHARS:]
            raise TulouError(f"`{' '.join(command[:6])} …` ended with code {child.returncode}: {why}")
        return Finished(seconds, said, peak_rss, peak_pss)


def kill_after(seconds: float, command: Sequence[str], *, environ: Mapping[str, str] | None = None) -> Killed:
    """Start, and `kill -9` the process itself, not its children, after so many seconds."""
    child = _start(command, subprocess.DEVNULL, subprocess.DEVNULL, environ)
    started = time.monotonic()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
        if child.poll() is not None:
            raise TulouError(f"the run ended before it could be killed after {seconds:.1f} s; take more rows")
        family = psutil.Process(child.pid).children(recursive=True)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        lived = time.monotonic() - started
        _, alive = psutil.wait_procs(family, timeout=_GRACE_S)
        for orphan in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()
        return Killed(lived, len(alive))
    finally:
        _end(child)


def _start(command: Sequence[str], out: int, err: int, environ: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        env={**os.environ, **(environ or {})},
        start_new_session=True,  # a Ctrl-C is ours to pass on, once
    )


def _wait(child: subprocess.Popen[bytes], most_s: float) -> None:
    """Until it ends, seen at once where the system tells; `Popen.wait` would look now and then, up to 50 ms late."""
    if not hasattr(os, "pidfd_open"):
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(most_s)
        return
    ended = os.pidfd_open(child.pid)
    try:
        select.select([ended], [], [], most_s)
    finally:
        os.close(ended)


def _summed(pid: int, measure: Callable[[psutil.Process], int]) -> int:
    """Over the process and all below it."""
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += measure(process)
    return total


def _resident(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


def _shared_out(process: psutil.Process) -> int:
    """Proportional where the system tells, else resident."""
    known = process.memory_full_info()
    return int(getattr(known, "pss", known.rss))


def _end(child: subprocess.Popen[bytes]) -> None:
    """Stop the child and all below it, kindly first."""
    if child.poll() is not None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(child.pid)
        family = [*root.children(recursive=True), root]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(family, timeout=_GRACE_S)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    child.wait()


def tulou_command(*words: str, project: Path) -> list[str]:
    return [sys.executable, "-m", "tulou", *words, "--json", "--project", str(project)]
