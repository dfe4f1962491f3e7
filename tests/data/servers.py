"""Real servers for tests: started on loopback from what is installed here, ended by their process at the end.

A server that an environment variable names is used instead (TULOU_TEST_POSTGRESQL_URL and the like). Where one can be
had neither way, the tests that need it are skipped and say so.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

PASSWORD = "p@ss:/w?rd%"  # as awkward as one can be
_START_TIMEOUT_S = 30.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL of our own with an empty database; its password stands in the URL, escaped."""
    given = os.environ.get("TULOU_TEST_POSTGRESQL_URL")
    if given:
        yield given
        return
    binaries = _newest("/usr/lib/postgresql/*/bin", "postgres")
    if binaries is None:
        pytest.skip("PostgreSQL is not installed; deploy/install-system-packages postgresql")
    with _folder_of("postgres") as (folder, user):
        (folder / "password").write_text(PASSWORD + "\n", encoding="utf-8")
        data = folder / "data"
        make = [binaries / "initdb", "-D", data, "-U", "tulou", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"]
        _run_as(user, [*make, "--no-sync", f"--pwfile={folder / 'password'}"], folder)
        port = free_port()
        settings = ["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=20"]
        run = [binaries / "postgres", "-D", data, "-k", folder, "-h", "127.0.0.1", "-p", str(port), *settings]
        with _running(user, run, folder, signal.SIGINT, lambda: _accepts(port)):
            ready = [binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-q"]
            _wait(lambda: subprocess.run(list(map(str, ready)), check=False).returncode == 0, "PostgreSQL")
            yield f"postgresql://tulou:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"


@pytest.fixture(scope="session")
def mysql_url() -> Iterator[str]:
    """A MariaDB of our own with an empty database called `test`."""
    given = os.environ.get("TULOU_TEST_MYSQL_URL")
    if given:
        yield given
        return
    server, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if server is None or install is None:
        pytest.skip("MariaDB is not installed (apt-get install mariadb-server), and TULOU_TEST_MYSQL_URL is not set")
    with _folder_of("mysql") as (folder, user):
        data, port = folder / "data", free_port()
        make = [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"]
        _run_as(user, [*make, "--skip-test-db"], folder)
        (folder / "start.sql").write_text(
            f"CREATE DATABASE test;\nCREATE USER tulou@localhost IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON test.* TO tulou@localhost;\n",
            encoding="utf-8",
        )
        where = [f"--datadir={data}", f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}"]
        listen = [f"--port={port}", "--bind-address=127.0.0.1", "--character-set-server=utf8mb4"]
        run = [server, "--no-defaults", *where, *listen, f"--init-file={folder / 'start.sql'}"]
        with _running(user, run, folder, signal.SIGTERM, lambda: _accepts(port)):
            yield f"mysql://tulou:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/test"


@contextmanager
def running_redis(*settings: str) -> Iterator[str]:
    """The URL of a Redis of our own, empty, that keeps nothing on disk."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("Redis is not installed; deploy/install-system-packages redis-server")
    port = free_port()
    run = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *settings]
    with (
        tempfile.TemporaryDirectory() as folder,
        _running(None, run, Path(folder), signal.SIGTERM, lambda: _accepts(port)),
    ):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with running_redis() as url:
        yield url


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A moto server in a process of its own that speaks S3 over HTTP."""
    port = free_port()
    run = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (
        tempfile.TemporaryDirectory() as folder,
        _running(None, run, Path(folder), signal.SIGTERM, lambda: _accepts(port)),
    ):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def stand_in(kind: str) -> Iterator[int]:
    """The port of a small server that speaks a protocol whose real server cannot be had here (`stand_ins`)."""
    port = free_port()
    run = [sys.executable, "-m", "tests.data.stand_ins", kind, str(port)]
    with _running(None, run, Path(__file__).parents[2], signal.SIGTERM, lambda: _accepts(port)):
        yield port


@pytest.fixture(scope="session")
def mongodb_stand_in_url() -> Iterator[str]:
    with stand_in("mongodb") as port:
        yield f"mongodb://127.0.0.1:{port}/tulou_test"


@pytest.fixture(scope="session")
def webhdfs_stand_in_url() -> Iterator[str]:
    with stand_in("webhdfs") as port:
        yield f"webhdfs://tester@127.0.0.1:{port}/tulou_test"


@pytest.fixture(scope="session")
def elasticsearch_stand_in_url() -> Iterator[str]:
    with stand_in("elasticsearch") as port:
        yield f"elasticsearch://127.0.0.1:{port}"


def url_from_environment(name: str) -> str:
    """The server a person names for these tests; without one they are skipped."""
    url = os.environ.get(name)
    if not url:
        pytest.skip(f"{name} is not set")
    return url


@contextmanager
def _running(
    user: str | None, command: Sequence[object], folder: Path, stop: signal.Signals, is_ready: Callable[[], bool]
) -> Iterator[None]:
    with tempfile.NamedTemporaryFile(prefix="tulou-server-", suffix=".log", delete=False) as stream:
        log = Path(stream.name)
        process = subprocess.Popen(
            list(map(str, command)), stdout=stream, stderr=stream, cwd=folder, user=user, group=user
        )
    try:
        _wait(is_ready, str(command[0]), process, log)
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.unlink()


def _wait(
    is_ready: Callable[[], bool],
    name: str,
    process: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not is_ready():
        said = log.read_text(errors="replace")[-2000:] if log else ""
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{name} ended with {process.returncode}: {said}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} is not ready after {_START_TIMEOUT_S:.0f} s: {said}")
        time.sleep(0.05)


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def _folder_of(user: str) -> Iterator[tuple[Path, str | None]]:
    """A folder for a server that refuses to run as root, and the user to run it as; None where we are not root."""
    folder = Path(tempfile.mkdtemp(prefix="tulou-server-"))
    is_root = os.geteuid() == 0
    try:
        if is_root:
            entry = pwd.getpwnam(user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        yield folder, user if is_root else None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_as(user: str | None, command: Sequence[object], folder: Path) -> None:
    done = subprocess.run(
        list(map(str, command)), cwd=folder, user=user, group=user, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")


def _newest(pattern: str, program: str) -> Path | None:
    found = sorted(Path("/").glob(pattern.lstrip("/")), key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which(program)
    return next((path for path in found if (path / program).exists()), Path(on_path).parent if on_path else None)
