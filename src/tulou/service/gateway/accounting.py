"""Who asked what of which model, and how it went: metrics at once, rows in batches off the request path.

A row costs a request one append; a background task writes them out every half second. If the database is away, rows
wait up to a bound, and those dropped beyond it are counted in the log. A kill -9 loses at most the last half second.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from tulou.core.state import requests
from tulou.core.telemetry import Metrics
from tulou.service.gateway.entry import CLIENT_GONE, Caller, Entry
from tulou.service.gateway.live import Live
from tulou.service.gateway.refusals import ApiError

FLUSH_EVERY_S = 0.5
MAX_WAITING_ROWS = 50_000

logger = logging.getLogger(__name__)


class Accountant:
    def __init__(
        self,
        state: sa.Engine,
        metrics: Metrics,
        live: Live,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._metrics = metrics
        self._live = live
        self._now = now
        self._clock = clock
        self._rows: list[dict[str, Any]] = []
        self._lock = threading.Lock()  # rows come from the event loop and leave in a thread
        self._dropped = 0
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._writer = asyncio.create_task(self._write_regularly())

    async def stop(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        await asyncio.to_thread(self.flush)

    @contextmanager
    def entry(self, caller: Caller, model: str, model_version: str) -> Iterator[Entry]:
        """Account for what happens inside, however it ends."""
        entry = Entry(caller, model, model_version, self._clock(), clock=self._clock)
        in_flight = self._metrics.in_flight.labels(model)
        in_flight.inc()
        try:
            yield entry
        except ApiError as err:
            entry.status = err.status
            raise
        except (asyncio.CancelledError, GeneratorExit):
            entry.status = CLIENT_GONE
            raise
        except BaseException:
            entry.status = 500
            raise
        finally:
            in_flight.dec()
            self._close(entry)

    def refused(self, route: str, status: int) -> None:
        """Count a request that never reached a model; it leaves no row, so that nobody can fill the table."""
        self._metrics.requests.labels(route, "", str(status)).inc()

    def flush(self) -> None:
        """Write the waiting rows; on failure they stay for the next time."""
        with self._lock:
            rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            with self._state.begin() as db:
                db.execute(requests.insert(), rows)
        except SQLAlchemyError as err:
            with self._lock:
                self._rows = rows + self._rows
            logger.warning("accounting: %d rows wait, the state database refuses them: %s", len(self._rows), err)

    def _close(self, entry: Entry) -> None:
        seconds = self._clock() - entry.started
        route, model = entry.caller.route, entry.model
        self._metrics.requests.labels(route, model, str(entry.status)).inc()
        self._metrics.request_seconds.labels(route, model).observe(seconds)
        if entry.first_token_s is not None:
            self._metrics.first_byte_seconds.labels(route, model).observe(entry.first_token_s)
        if entry.retries:
            self._metrics.retries.labels(model).inc(entry.retries)
        self._metrics.tokens.labels(model, "prompt").inc(entry.prompt_tokens)
        self._metrics.tokens.labels(model, "completion").inc(entry.completion_tokens)
        first_ms = None if entry.first_token_s is None else entry.first_token_s * 1000
        self._live.record(model, entry.status, seconds * 1000, first_ms, entry.completion_tokens)
        self._keep(entry, seconds)

    def _keep(self, entry: Entry, seconds: float) -> None:
        if len(self._rows) >= MAX_WAITING_ROWS:
            self._dropped += 1
            if self._dropped % 1000 == 1:
                logger.error("accounting: %d rows dropped, the state database does not keep up", self._dropped)
            return
        row = {
            "id": entry.caller.request_id,
            "at": self._now(),
            "key_id": entry.caller.key_id,
            "route": entry.caller.route,
            "model": entry.model,
            "model_version": entry.model_version,
            "replica": entry.replica,
            "status": entry.status,
            "latency_ms": round(seconds * 1000, 3),
            "prompt_tokens": entry.prompt_tokens,
            "completion_tokens": entry.completion_tokens,
        }
        with self._lock:
            self._rows.append(row)

    async def _write_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            if self._rows:
                await asyncio.to_thread(self.flush)
