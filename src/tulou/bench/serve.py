"""Does the service lose requests when things go wrong? A real fleet of three, a real gateway, wrk, and an accident.

Accidents: one of the three replicas is killed with `kill -9` every so often; the gateway's model is promoted, twenty
times in all, each with new replicas. A request counts as failed when its client sees a status of 400 or above or a
broken connection. Replicas echo, so that it is the service that is tried and not a model.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tulou.bench.gateway.load import BODY, drive
from tulou.bench.gateway.ours import make_key
from tulou.bench.gateway.processes import Program, Server, free_port, running
from tulou.bench.serve_service import PROMOTED
from tulou.core.errors import TulouError
from tulou.core.progress import Bar, Progress, Silent

CONNECTIONS = 32
KILL_EVERY_S = 5.0
PROMOTIONS = 20
PROMOTED_WITHIN_S = 300.0
ROUND_S = 5.0  # of load at a time
_SEED = 0

Accident = Callable[[Server, Path, threading.Event], int]


def bench_serve(folder: Path, requests: int, progress: Progress | None = None) -> dict[str, Any]:
    """At least `requests` requests under each accident."""
    progress = progress or Silent()
    accidents: dict[str, Accident] = {"kills": _kill, "promotions": _promote}
    with progress.bar("serve", requests * len(accidents), "requests") as bar:
        return {name: _under(accident, folder / name, requests, bar) for name, accident in accidents.items()}


def _under(accident: Accident, folder: Path, requests: int, bar: Bar) -> dict[str, Any]:
    folder.mkdir(parents=True)
    port = free_port()
    command = [sys.executable, "-m", "tulou.bench.serve_service", "--folder", str(folder), "--port", str(port)]
    asked = failed = 0
    slowest_ms = 0.0
    counted: list[int] = []
    program = Program("service", command, port, core=None, body=BODY, key=make_key(folder))
    with running(program, folder) as server:
        over = threading.Event()
        thread = threading.Thread(target=lambda: counted.append(accident(server, folder, over)), daemon=True)
        started = time.monotonic()
        thread.start()
        while asked < requests or (accident is _promote and thread.is_alive()):
            pace = drive(server, CONNECTIONS, ROUND_S, folder)
            asked, failed, slowest_ms = asked + pace.requests, failed + pace.failures, max(slowest_ms, pace.p99_ms)
            bar.advance(pace.requests)
            bar.note(f"{failed:,} failed")
        seconds = time.monotonic() - started
        over.set()
        thread.join()
    return {
        "accidents": sum(counted),
        "requests": asked,
        "failures": failed,
        "requests_per_s": round(asked / seconds, 1),
        "p99_ms": round(slowest_ms, 2),  # of the worst ROUND_S seconds
    }


def _kill(server: Server, _folder: Path, over: threading.Event) -> int:
    """Kill one of the replicas every KILL_EVERY_S seconds; how many in all."""
    rng, killed = random.Random(_SEED), 0
    while not over.wait(KILL_EVERY_S):
        replicas = [each for each in server.processes() if "tulou.service.replica" in each.cmdline()]
        if replicas:
            rng.choice(replicas).kill()
            killed += 1
    return killed


def _promote(server: Server, folder: Path, _over: threading.Event) -> int:
    """Ask for PROMOTIONS promotions at once, which come one after another, and wait for them."""
    for _ in range(PROMOTIONS):
        server.processes()[0].send_signal(signal.SIGUSR1)
        time.sleep(0.05)  # signals of one kind that come together are one
    done, deadline = folder / PROMOTED, time.monotonic() + PROMOTED_WITHIN_S
    while time.monotonic() < deadline:
        if done.is_file() and int(done.read_text() or 0) == PROMOTIONS:
            return PROMOTIONS
        time.sleep(0.1)
    raise TulouError(f"{PROMOTIONS} promotions took more than {PROMOTED_WITHIN_S:.0f} s; see {folder}")
