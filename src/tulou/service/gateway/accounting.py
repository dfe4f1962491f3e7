"""Who asked what of which model, and how it went: metrics at once, rows in batches off the request path.

A row costs a request one append; a background task writes them out every half second. If the database is away, rows
wait up to a bound, and those dropped beyond it are counted in the log. A kill -9 loses at most the last half second.
Where a stream broke off before it told its usage, its events are counted as tokens.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import sqlalchemy as sa
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError

from tulou.core.service_settings import PriceSettings
from tulou.core.telemetry import Metrics
from tulou.service.gateway.books import Books, Row
from tulou.service.gateway.entry import CLIENT_GONE, Entry
from tulou.service.gateway.live import Live
from tulou.service.gateway.refusals import ApiError

FLUSH_EVERY_S = 0.5
SHADOW = "shadow"  # the route of copies for a version that is tried out; no user saw their answers
FORGET_EVERY_S = 3600.0
MAX_WAITING_ROWS = 50_000
VARIANT_CHARACTERS = 64  # that the table holds
MAX_ROWS_AT_ONCE = 5_000  # in one transaction

logger = logging.getLogger(__name__)


class _Series:
    """The metrics of one route and model, their labels looked up once: that costs more than counting."""

    def __init__(self, metrics: Metrics, route: str, model: str) -> None:
        self._metrics, self._route, self._model = metrics, route, model
        self._answered: dict[int, Counter] = {}
        self.in_flight = metrics.in_flight.labels(model)
        self.seconds = metrics.request_seconds.labels(route, model)
        self.first_byte_seconds = metrics.first_byte_seconds.labels(route, model)
        self.retries = metrics.retries.labels(model)
        self.prompt_tokens = metrics.tokens.labels(model, "prompt")
        self.completion_tokens = metrics.tokens.labels(model, "completion")
        self.money = metrics.money.labels(model)

    def answered(self, status: int) -> Counter:
        if status not in self._answered:
            self._answered[status] = self._metrics.requests.labels(self._route, self._model, str(status))
        return self._answered[status]


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
        self._rows: list[Row] = []
        self._dropped = 0
        self._series: dict[tuple[str, str], _Series] = {}
        self._beside: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._beside = [asyncio.create_task(each) for each in (self._write_regularly(), self._forget_regularly())]

    async def stop(self) -> None:
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        self.flush()

    def open(self, route: str, request_id: str, key_id: str | None, model: str, model_version: str) -> Entry:
        """Begin to account for a request; `close` must follow, however it ends."""
        self._of(route, model).in_flight.inc()
        return Entry(route, request_id, key_id, model, model_version, self._clock(), clock=self._clock)

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
        rows, self._rows = self._rows, []
        self._rows = self._refused(rows) + self._rows

    def _refused(self, rows: list[Row]) -> list[Row]:
        """Write `rows`; returns those that the database would not take."""
        for start in range(0, len(rows), MAX_ROWS_AT_ONCE):
            try:
                self.books.write(rows[start : start + MAX_ROWS_AT_ONCE])
            except SQLAlchemyError as err:
                waiting = rows[start:]
                logger.warning("accounting: %d rows wait, the state database refuses them: %s", len(waiting), err)
                return waiting
        return []

    def close(self, entry: Entry) -> None:
        seconds = self._clock() - entry.started
        if entry.events and not entry.completion_tokens:
            entry.completion_tokens = entry.events
        entry.money = self._money(entry)
        series = self._of(entry.route, entry.model)
        series.in_flight.dec()
        series.answered(entry.status).inc()
        series.seconds.observe(seconds)
        series.prompt_tokens.inc(entry.prompt_tokens)
        series.completion_tokens.inc(entry.completion_tokens)
        first_ms = None
        if entry.first_token_s is not None:
            series.first_byte_seconds.observe(entry.first_token_s)
            first_ms = entry.first_token_s * 1000
        if entry.retries:
            series.retries.inc(entry.retries)
        if entry.money:
            series.money.inc(entry.money)
        if entry.route != SHADOW:
            self._live.record(entry.model, entry.status, seconds * 1000, first_ms, entry.completion_tokens)
        self._keep(entry, seconds)

    def _of(self, route: str, model: str) -> _Series:
        series = self._series.get((route, model))
        if series is None:
            series = self._series[route, model] = _Series(self._metrics, route, model)
        return series

    def _keep(self, entry: Entry, seconds: float) -> None:
        if len(self._rows) >= MAX_WAITING_ROWS:
            self._dropped += 1
            if self._dropped % 1000 == 1:
                logger.error("accounting: %d rows dropped, the state database does not keep up", self._dropped)
            return
        first_ms = None if entry.first_token_s is None else round(entry.first_token_s * 1000, 3)
        self._rows.append(
            Row(
                entry.request_id,
                self._now(),
                entry.key_id,
                entry.route,
                entry.model,
                entry.model_version,
                entry.replica,
                entry.status,
                round(seconds * 1000, 3),
                entry.prompt_tokens,
                entry.completion_tokens,
                entry.variant[:VARIANT_CHARACTERS],
                entry.is_cached,
                first_ms,
                entry.money,
            )
        )

    def _money(self, entry: Entry) -> float:
        price = self._prices.get(entry.model)
        if price is None or entry.is_cached:
            return 0.0
        return money(price, entry.prompt_tokens, entry.completion_tokens)

    async def _write_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            rows, self._rows = self._rows, []  # here and not in the thread, where a row could be added meanwhile
            self._rows = await asyncio.to_thread(self._refused, rows) + self._rows

    async def _forget_regularly(self) -> None:
        while self._keep_days:
            try:
                await asyncio.to_thread(self.books.forget, self._now() - self._keep_days * 86_400)
            except SQLAlchemyError as err:
                logger.warning("accounting: old rows stay, the state database does not delete them: %s", err)
            await asyncio.sleep(FORGET_EVERY_S)


def money(price: PriceSettings, prompt_tokens: float, completion_tokens: float) -> float:
    return (price.prompt * prompt_tokens + price.completion * completion_tokens) / 1e6
