"""Engines give the same results in the same order, and lose no work when a worker dies."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from tulou.core.errors import DataError, SettingsError
from tulou.data.engine import InProcess, ProcessPool, RayCluster, open_engine


def square(number: int) -> int:
    return number * number


def die_once(mark: Path, number: int) -> int:
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail(number: int) -> int:
    raise DataError(f"{number} is bad")


def test_results_come_in_the_order_of_the_jobs() -> None:
    expected = [square(number) for number in range(20)]
    assert list(InProcess().map(square, range(20))) == expected
    with ProcessPool(2) as pool:
        assert list(pool.map(square, range(20))) == expected


def test_a_killed_worker_costs_no_result(tmp_path: Path) -> None:
    with ProcessPool(2) as pool:
        assert list(pool.map(partial(die_once, tmp_path / "died"), range(8))) == list(range(8))
    assert (tmp_path / "died").exists()


def test_a_job_that_always_kills_its_worker_ends_with_an_error() -> None:
    with ProcessPool(1) as pool, pytest.raises(DataError, match="died 3 times at 7"):
        list(pool.map(die, [7]))


def test_what_work_raises_is_raised_and_no_worker_is_left() -> None:
    with pytest.raises(DataError, match="0 is bad"), ProcessPool(2) as pool:
        list(pool.map(fail, range(50)))
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_workers_end_with_the_process_that_started_them() -> None:
    script = (
        "import time\nfrom tulou.data.engine import ProcessPool\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPool(2) as pool:\n"
        "        for _ in pool.map(time.sleep, [0.01, 0.01, 60, 60]):\n"
        "            print('working', flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert workers
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.05)


def loaded_modules(_: int) -> list[str]:
    found: list[str] = [name for name in ("numba", "pyarrow", "pandas", "scipy") if name in sys.modules]
    importlib.util.find_spec("pandas")  # raises as long as it counts as missing
    return found


def test_workers_have_the_compiled_loops_and_may_load_what_was_left_out() -> None:
    with ProcessPool(1) as pool:
        [found] = pool.map(loaded_modules, range(1))
    assert found == ["numba", "pyarrow"]


def test_engines_are_chosen_by_url() -> None:
    assert isinstance(open_engine("local", workers=1), InProcess)
    assert isinstance(open_engine("local", workers=2), ProcessPool)
    assert isinstance(open_engine("ray://local"), RayCluster)
    with pytest.raises(SettingsError, match="unknown engine 'dask'"):
        open_engine("dask")
