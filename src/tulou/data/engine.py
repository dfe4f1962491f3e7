"""Where the work on shards is done: in this process, in a pool of processes, or on a Ray cluster.

An engine maps a function over jobs and gives the results in the order of the jobs. Functions and jobs must be
picklable; what they read and write lies on storage that every worker sees. A worker that dies costs its job's time and
no data: the job is done again, since a shard appears whole or not at all.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from multiprocessing import forkserver
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from tulou.core.errors import DataError, SettingsError
from tulou.core.extras import load_extra
from tulou.core.ray_cluster import LOCAL, connect

J = TypeVar("J")
R = TypeVar("R")

_TRIES = 3  # of one job whose worker died
_WAITING_PER_WORKER = 2  # jobs handed out in advance


class Engine(AbstractContextManager["Engine"], Protocol):
    def map(self, work: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """The results in the order of `jobs`. Raises what `work` raises, and `DataError` where workers keep dying."""
        ...


class InProcess:
    """For small data: no worker to start."""

    def map(self, work: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        return map(work, jobs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        pass


class ProcessPool:
    """Processes on this machine, started when first needed; none outlives this one."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def map(self, work: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        waiting: deque[tuple[J, int, Future[R]]] = deque()
        start_fork_server()
        for job in jobs:
            waiting.append((job, 1, self._submit(work, job)))
            if len(waiting) > _WAITING_PER_WORKER * self.workers:
                yield self._first(work, waiting)
        while waiting:
            yield self._first(work, waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def _submit(self, work: Callable[[J], R], job: J) -> Future[R]:
        if self._pool is None:
            context = multiprocessing.get_context("forkserver")  # a fork of this process would copy its threads' locks
            self._pool = ProcessPoolExecutor(self.workers, context, initializer=_end_with_parent)
        try:
            return self._pool.submit(work, job)
        except BrokenProcessPool as err:
            failed: Future[R] = Future()
            failed.set_exception(err)
            return failed

    def _first(self, work: Callable[[J], R], waiting: deque[tuple[J, int, Future[R]]]) -> R:
        """The result of the first job; after a death all that were waiting are handed to new workers."""
        while True:
            job, tries, future = waiting[0]
            try:
                result = future.result()
            except BrokenProcessPool as err:
                if tries == _TRIES:
                    raise DataError(
                        f"the worker process died {_TRIES} times at {job}; it may need more memory than there is"
                    ) from err
                self._close()
                again = [(job, tries + (place == 0)) for place, (job, tries, _) in enumerate(waiting)]
                waiting.clear()
                waiting.extend((job, tries, self._submit(work, job)) for job, tries in again)
            else:
                waiting.popleft()
                return result

    def _close(self) -> None:
        """End the workers at once: every result that is wanted is here, and a worker takes a while to end by itself."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = list((pool._processes or {}).values())  # no public way to end them at once
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


class RayCluster:
    """Ray Data over the jobs. `address` is "local" for a cluster in this machine, or HOST:PORT of a running one."""

    def __init__(self, address: str, workers: int = 0) -> None:
        self.address = address
        self.workers = workers
        self._is_ours = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        if self._is_ours:
            load_extra("ray", "ray", "this engine").shutdown()
            self._is_ours = False

    def map(self, work: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """Every result is small; the data themselves stay on the shared storage."""
        todo = list(jobs)
        if not todo:
            return
        ray, is_new = connect(self.address, self.workers or os.cpu_count() or 1, "the Ray engine", DataError)
        self._is_ours |= is_new
        load_extra("ray.data", "ray", "the Ray engine")
        results = _drive(work, todo) if self.address == LOCAL else _driven(ray, work, todo)
        for result in results:
            yield pickle.loads(result)  # noqa: S301  # our own workers wrote it


def _driven(ray: Any, work: Callable[[J], R], jobs: list[J]) -> Iterator[bytes]:
    """The same from outside of the cluster: an actor inside drives, and is asked for one result after another."""
    driver = ray.remote(num_cpus=0)(_Driver).remote(work, jobs)
    try:
        while (result := ray.get(driver.next.remote())) is not None:
            yield result
    finally:
        ray.kill(driver)


class _Driver:
    def __init__(self, work: Callable[[J], R], jobs: list[J]) -> None:
        self._results = _drive(work, jobs)

    def next(self) -> bytes | None:
        return next(self._results, None)


def _drive(work: Callable[[J], R], jobs: list[J]) -> Iterator[bytes]:
    """In the cluster: hand out the jobs with Ray Data, and give every result, pickled, in their order."""
    import ray
    from ray import data

    context = data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    jobs_at = ray.put(jobs)

    def call(row: dict[str, Any]) -> dict[str, Any]:
        return {"result": pickle.dumps(work(ray.get(jobs_at)[row["place"]]))}

    places = data.from_items([{"place": place} for place in range(len(jobs))], override_num_blocks=len(jobs))
    for row in places.map(call).iter_rows():
        yield row["result"]


def start_fork_server() -> None:
    """Start the process that workers are forked from, and do not wait for it: it takes a second to load everything."""
    multiprocessing.set_forkserver_preload(["tulou.data.ready"])
    forkserver.ensure_running()


def make_ready(url: str, workers: int = 0) -> None:
    """Begin with what the engine needs before its first job, and do not wait for it."""
    if isinstance(open_engine(url, workers), ProcessPool):
        start_fork_server()


def open_engine(url: str, workers: int = 0) -> Engine:
    """The engine that [data] `engine` names; `workers` 0 means one for each core."""
    if url == "local":
        wanted = workers or os.cpu_count() or 1
        return ProcessPool(wanted) if wanted > 1 else InProcess()
    if url.startswith("ray://"):
        return RayCluster(url.removeprefix("ray://"), workers)
    raise SettingsError(f"unknown engine {url!r}; choose local, ray://local or ray://HOST:PORT")


def _end_with_parent() -> None:
    """Whoever is killed cannot tell its workers; so they watch it."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
