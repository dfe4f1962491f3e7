"""Children under observation: their memory is seen, and none outlives us."""

from __future__ import annotations

import sys
import time

import psutil
import pytest

from tulou.bench.watched import kill_after, run_watched
from tulou.core.errors import TulouError


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_memory_of_grandchildren_counts() -> None:
    hungry = "import time; held = bytearray(b'x') * 90_000_000; time.sleep(1.8)"
    done = run_watched(_python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hungry!r}])"))
    assert done.peak_pss_bytes > 80_000_000
    assert done.peak_rss_bytes >= done.peak_pss_bytes


def test_a_failure_is_told_with_its_last_words() -> None:
    with pytest.raises(TulouError, match="ended with code 3: no luck"):
        run_watched(_python("import sys; sys.stderr.write('no luck'); sys.exit(3)"))


def test_an_interrupt_leaves_no_process_behind() -> None:
    before = set(psutil.Process().children(recursive=True))
    seen: set[psutil.Process] = set()

    def interrupt(seconds: float, _memory: int) -> None:
        if seconds > 0.8:
            seen.update(set(psutil.Process().children(recursive=True)) - before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_watched(_python("import subprocess; subprocess.run(['sleep', '60'])"), tick=interrupt)
    assert len(seen) >= 2
    assert not [process for process in seen if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_a_killed_process_is_dead_and_its_orphans_are_counted() -> None:
    started = time.monotonic()
    killed = kill_after(0.7, _python("import subprocess; subprocess.run(['sleep', '60'])"))
    assert killed.orphans == 1
    assert time.monotonic() - started < 20


def test_a_run_too_short_to_be_killed_is_an_error() -> None:
    with pytest.raises(TulouError, match="take more rows"):
        kill_after(5, _python("pass"))
