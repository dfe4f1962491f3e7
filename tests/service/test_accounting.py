from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from tulou.core.service_settings import PriceSettings
from tulou.core.state import open_state, requests
from tulou.core.telemetry import Metrics
from tulou.service.gateway import accounting
from tulou.service.gateway.accounting import Accountant
from tulou.service.gateway.entry import Row
from tulou.service.gateway.live import Live
from tulou.service.gateway.refusals import ApiError, replicas_unavailable


def rows(state: sa.Engine) -> list[tuple[str, int, int]]:
    with state.connect() as db:
        found = db.execute(sa.select(requests.c.id, requests.c.status, requests.c.completion_tokens))
        return [(row.id, row.status, row.completion_tokens) for row in found]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_every_ending_leaves_a_row_a_count_and_a_live_figure(tmp_path: Path) -> None:
    state, metrics, live = open_state("sqlite:///state.db", tmp_path), Metrics(), Live()
    accountant = Accountant(state, metrics, live)
    await accountant.start()
    with accountant.entry("/v1/x", "good", "key_1", "m", "3") as entry:
        assert value(metrics, "tulou_requests_in_flight", model="m") == 1
        entry.replica, entry.completion_tokens, entry.retries = "m-0", 7, 2
        entry.saw_first_token()
    with pytest.raises(ApiError), accountant.entry("/v1/x", "lost", None, "m", "3"):
        raise replicas_unavailable("m")
    with pytest.raises(asyncio.CancelledError), accountant.entry("/v1/x", "left", None, "m", "3"):
        raise asyncio.CancelledError
    with pytest.raises(ZeroDivisionError), accountant.entry("/v1/x", "bug", None, "m", "3"):
        raise ZeroDivisionError
    await accountant.stop()
    assert rows(state) == [("good", 200, 7), ("lost", 503, 0), ("left", 499, 0), ("bug", 500, 0)]
    assert value(metrics, "tulou_requests_total", route="/v1/x", model="m", status="503") == 1
    assert value(metrics, "tulou_retries_total", model="m") == 2
    assert value(metrics, "tulou_requests_in_flight", model="m") == 0
    figures = live.figures("m")
    assert (figures.requests, figures.failures, figures.success_rate) == (4, 2, 0.5)
    assert figures.first_token_p50_ms is not None


async def test_rows_wait_for_a_database_that_is_away(tmp_path: Path) -> None:
    state = open_state("sqlite:///state.db", tmp_path)
    accountant = Accountant(state, Metrics(), Live())
    requests.drop(state)
    with accountant.entry("/v1/x", "early", None, "m", "1"):
        pass
    accountant.flush()
    requests.create(state)
    with accountant.entry("/v1/x", "late", None, "m", "1"):
        pass
    accountant.flush()
    assert [row[0] for row in rows(state)] == ["early", "late"]


async def test_rows_held_by_the_writer_when_it_stops_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "FLUSH_EVERY_S", 0.01)
    state = open_state("sqlite:///state.db", tmp_path)
    accountant = Accountant(state, Metrics(), Live())
    write, is_writing = accountant.books.write, threading.Event()

    def refuse_once(rows: Sequence[Row]) -> None:
        if not is_writing.is_set():
            is_writing.set()
            time.sleep(0.1)
            raise sa.exc.OperationalError("INSERT", {}, Exception("gone"))
        write(rows)

    monkeypatch.setattr(accountant.books, "write", refuse_once)
    await accountant.start()
    with accountant.entry("/v1/x", "held", None, "m", "1"):
        pass
    assert await asyncio.to_thread(is_writing.wait, 5)
    await accountant.stop()
    assert [row[0] for row in rows(state)] == ["held"]


async def test_rows_that_are_lost_at_the_end_are_told_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accounting, "LAST_TRY_AFTER_S", 0.01)
    state = open_state("sqlite:///state.db", tmp_path)
    accountant = Accountant(state, Metrics(), Live())
    await accountant.start()
    requests.drop(state)
    for request_id in ("one", "two"):
        with accountant.entry("/v1/x", request_id, None, "m", "1"):
            pass
    await accountant.stop()
    assert "2 rows are lost, the state database refuses them to the last" in caplog.text


async def test_answers_cost_what_the_prices_say_and_cached_ones_nothing(tmp_path: Path) -> None:
    state, metrics = open_state("sqlite:///state.db", tmp_path), Metrics()
    prices = {"m": PriceSettings(prompt=1.0, completion=4.0)}
    accountant = Accountant(state, metrics, Live(), prices)
    for request_id, model, is_cached in (("dear", "m", False), ("known", "m", True), ("free", "other", False)):
        with accountant.entry("/v1/x", request_id, "key_1", model, "1") as entry:
            entry.prompt_tokens, entry.completion_tokens, entry.is_cached = 1000, 250, is_cached
    accountant.flush()
    with state.connect() as db:
        paid = {row.id: row.money for row in db.execute(sa.select(requests.c.id, requests.c.money))}
    assert paid == {"dear": pytest.approx(0.002), "known": 0, "free": 0}
    assert value(metrics, "tulou_money_total", model="m") == pytest.approx(0.002)


async def test_a_stream_that_broke_off_is_counted_by_its_events(tmp_path: Path) -> None:
    state = open_state("sqlite:///state.db", tmp_path)
    accountant = Accountant(state, Metrics(), Live())
    with accountant.entry("/v1/x", "left", None, "m", "1") as entry:
        entry.events = 9
    accountant.flush()
    assert rows(state) == [("left", 200, 9)]


async def test_old_rows_are_forgotten_beside_the_requests(tmp_path: Path) -> None:
    state, clock = open_state("sqlite:///state.db", tmp_path), Clock()
    clock.now = 40 * 86_400.0
    accountant = Accountant(state, Metrics(), Live(), keep_days=30, now=clock)
    with accountant.entry("/v1/x", "old", None, "m", "1"):
        pass
    accountant.flush()
    clock.now += 31 * 86_400
    await accountant.start()
    for _ in range(100):
        await asyncio.sleep(0.02)
        if not rows(state):
            break
    await accountant.stop()
    assert rows(state) == []


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_live_figures_forget_what_is_older_than_the_window() -> None:
    clock = Clock()
    live = Live(window_s=60, now=clock)
    assert live.figures().success_rate is None
    assert live.figures().p99_ms is None
    for latency_ms in range(1, 101):
        clock.now += 0.1
        live.record("m", 200, float(latency_ms), completion_tokens=3)
    live.record("other", 500, 1.0)
    figures = live.figures("m")
    assert (figures.requests, figures.p50_ms, figures.p99_ms, figures.success_rate) == (100, 51.0, 100.0, 1.0)
    assert figures.tokens_per_second == pytest.approx(30, rel=0.01)
    assert live.by_model(["other"])["other"].success_rate == 0
    clock.now += 61
    assert live.figures().requests == 0
