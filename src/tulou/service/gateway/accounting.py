"""Who asked what of which model, and how it went: metrics, live figures and rows in batches off the request path.

It costs a request one append. A hundred that have ended are counted together, which takes a third of the time that one
by one would, and whoever reads metrics or figures makes the rest be counted first. A background task writes the rows
four times a second. If the database is away, rows wait up to a bound, and those dropped beyond it are counted in the
log. A kill -9 loses at most the last quarter of a second. Where a stream broke off before it told its usage, its events
are counted as tokens.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from tulou.core.service_settings import PriceSettings
from tulou.core.telemetry import Metrics
from tulou.service.gateway.books import Books
from tulou.service.gateway.entry import CLIENT_GONE, Entry, Row, milliseconds
from tulou.service.gateway.live import Live
from tulou.service.gateway.refusals import ApiError

FLUSH_EVERY_S = 0.25
SHADOW = "shadow"  # the route of copies for a version that is tried out; no user saw their answers
FORGET_EVERY_S = 3600.0
MAX_WAITING_ROWS = 50_000
VARIANT_CHARACTERS = 64  # that the table holds
MAX_ROWS_AT_ONCE = 5_000  # in one transaction
COUNTED_AT_ONCE = 100  # requests; some 0.3 ms in which nobody is answered
LAST_TRY_AFTER_S = 0.5  # for a database that refuses rows when the gateway stops

logger = logging.getLogger(__name__)


class _Series:
    """The metrics of one route and model: labels are looked up once, and requests added up before they are counted."""

    def __init__(self, metrics: Metrics, route: str, model: str) -> None:
        self._answered = partial(metrics.requests.labels, route, model)
        self._seconds = metrics.request_seconds.labels(route, model)
        self._first_byte_seconds = metrics.first_byte_seconds.labels(route, model)
        self._retries = metrics.retries.labels(model)
        self._prompt_tokens = metrics.tokens.labels(model, "prompt")
        self._completion_tokens = metrics.tokens.labels(model, "completion")
        self._money = metrics.money.labels(model)

    def count(self, entries: Sequence[Entry]) -> None:
        for status, count in Counter([entry.status for entry in entries]).items():
            self._answered(str(status)).inc(count)
        self._seconds.observe_all([entry.latency_ms / 1000 for entry in entries])
        firsts = [entry.first_token_ms / 1000 for entry in entries if entry.first_token_ms is not None]
        self._first_byte_seconds.observe_all(firsts)
        self._prompt_tokens.inc(sum([entry.prompt_tokens for entry in entries]))
        self._completion_tokens.inc(sum([entry.completion_tokens for entry in entries]))
        self._retries.inc(sum([entry.retries for entry in entries]))
        self._money.inc(sum([entry.money for entry in entries]))


class Accountant:
    def __init__(
        self,
        state: sa.Engine,
        metrics: Metrics,
        live: Live,
        prices: Mapping[str, PriceSettings] | None = None,
        keep_days: int = 0,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.books = Books(state)
        self._prices = prices or {}
        self._keep_days = keep_days  # of single requests; 0: for ever
        self._metrics = metrics
        self._live = live
        self._now = now
        self._clock = clock
        self._ended: list[Entry] = []  # and not counted yet
        self._rows: list[Row] = []
        self._dropped = 0
        self._series: dict[tuple[str, str], _Series] = {}
        self._under_way: Counter[str] = Counter()  # by model
        self._beside: list[asyncio.Task[None]] = []
        self._loop_thread: int | None = None  # which alone counts, once there is one
        self._thread = ThreadPoolExecutor(1, "accounts")  # always the same: each thread keeps memory of its own
        self._lock = threading.Lock()  # one write at a time, be it beside the requests or by `flush`
        self._writing: asyncio.Task[None] | None = None
        metrics.before_reading(self.catch_up)
        live.before_reading = self.catch_up

    async def start(self) -> None:
        self._loop_thread = threading.get_ident()
        self._beside = [asyncio.create_task(each) for each in (self._write_regularly(), self._forget_regularly())]

    async def stop(self) -> None:
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        if self._writing is not None:
            await self._writing  # or what it holds and could not write would be lost
        await self._write()
        if self._rows:
            await asyncio.sleep(LAST_TRY_AFTER_S)
            await self._write()
        if self._rows:
            logger.error("accounting: %d rows are lost, the state database refuses them to the last", len(self._rows))

    def open(self, route: str, request_id: str, key_id: str | None, model: str, model_version: str) -> Entry:
        """Begin to account for a request; `close` must follow, however it ends."""
        if model not in self._under_way:
            self._metrics.in_flight.labels(model).set_function(partial(self._under_way.__getitem__, model))
        self._under_way[model] += 1
        return Entry(request_id, 0.0, key_id, route, model, model_version, started=self._clock(), clock=self._clock)

    @contextmanager
    def entry(self, route: str, request_id: str, key_id: str | None, model: str, model_version: str) -> Iterator[Entry]:
        """Account for what happens inside, however it ends."""
        entry = self.open(route, request_id, key_id, model, model_version)
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
            self.close(entry)

    def refused(self, route: str, status: int) -> None:
        """Count a request that never reached a model; it leaves no row, so that nobody can fill the table."""
        self._metrics.requests.labels(route, "", str(status)).inc()

    def flush(self) -> None:
        """Write the waiting rows; on failure they stay for the next time."""
        self.catch_up()
        rows, self._rows = self._rows, []
        self._rows = self._refused(rows) + self._rows

    def _refused(self, rows: list[Row]) -> list[Row]:
        """Write `rows`; returns those that the database would not take. Waits for rows that are being written."""
        with self._lock:
            return self._write_in_turn(rows)

    def _write_in_turn(self, rows: list[Row]) -> list[Row]:
        for start in range(0, len(rows), MAX_ROWS_AT_ONCE):
            try:
                self.books.write(rows[start : start + MAX_ROWS_AT_ONCE])
            except SQLAlchemyError as err:
                waiting = rows[start:]
                logger.warning("accounting: %d rows wait, the state database refuses them: %s", len(waiting), err)
                return waiting
        return []

    def close(self, entry: Entry) -> None:
        ended = self._clock()
        entry.latency_ms = milliseconds(ended - entry.started)
        entry.at = ended  # monotonic, until it is counted
        if entry.events and not entry.completion_tokens:
            entry.completion_tokens = entry.events
        price = self._prices.get(entry.model)
        if price is not None and not entry.is_cached:
            entry.money = money(price, entry.prompt_tokens, entry.completion_tokens)
        self._under_way[entry.model] -= 1
        self._ended.append(entry)
        if len(self._ended) >= COUNTED_AT_ONCE:
            self.catch_up()

    def catch_up(self) -> None:
        """Count the requests that have ended since the last time, and make their rows.

        Whoever reads in another thread than the event loop's sees them a quarter of a second later.
        """
        if self._loop_thread not in (None, threading.get_ident()):
            return
        ended, self._ended = self._ended, []
        since = self._now() - self._clock()
        together: dict[tuple[str, str], list[Entry]] = {}
        for entry in ended:
            entry.at += since
            if entry.variant:
                entry.variant = entry.variant[:VARIANT_CHARACTERS]
            together.setdefault((entry.route, entry.model), []).append(entry)
        for (route, model), entries in together.items():
            if (route, model) not in self._series:
                self._series[route, model] = _Series(self._metrics, route, model)
            self._series[route, model].count(entries)
            if route != SHADOW:
                self._live.record_rows(entries)
        self._keep(ended)

    def _keep(self, rows: Sequence[Row]) -> None:
        """For the database; what is too much is told by the thousand."""
        room = max(MAX_WAITING_ROWS - len(self._rows), 0)
        self._rows += rows[:room]
        dropped = len(rows) - room
        if dropped > 0:
            before, self._dropped = self._dropped, self._dropped + dropped
            if before // 1000 != self._dropped // 1000 or not before:
                logger.error("accounting: %d rows dropped, the state database does not keep up", self._dropped)

    async def _write_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            self._writing = asyncio.create_task(self._write())  # of its own: it goes on when this one is ended
            await asyncio.shield(self._writing)

    async def _write(self) -> None:
        self.catch_up()
        rows, self._rows = self._rows, []  # here and not in the thread, where a row could be added meanwhile
        loop = asyncio.get_running_loop()
        self._rows = await loop.run_in_executor(self._thread, self._refused, rows) + self._rows

    async def _forget_regularly(self) -> None:
        while self._keep_days:
            try:
                await asyncio.to_thread(self.books.forget, self._now() - self._keep_days * 86_400)
            except SQLAlchemyError as err:
                logger.warning("accounting: old rows stay, the state database does not delete them: %s", err)
            await asyncio.sleep(FORGET_EVERY_S)


def money(price: PriceSettings, prompt_tokens: float, completion_tokens: float) -> float:
    return (price.prompt * prompt_tokens + price.completion * completion_tokens) / 1e6
