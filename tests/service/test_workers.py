"""Several gateway processes on one port: one service to its clients, whichever of them is killed."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter, Gauge

from tulou.core.errors import ServiceError
from tulou.core.service_settings import ServiceSettings
from tulou.core.telemetry import Metrics
from tulou.service.gateway.exposition import exposed, lasting, merge, snapshot
from tulou.service.gateway.live import Live
from tulou.service.gateway.workers import shared_port

SCRIPT = Path(__file__).with_name("worker_service.py")
TEXT = "one two three four five six seven eight nine ten"


@dataclass
class Service:
    process: subprocess.Popen[str]
    folder: Path
    url: str
    key: str

    def children(self, part: str) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                if any(part in argument for argument in child.cmdline()):
                    found.append(child)
        return found

    def embed(self, number: int) -> int:
        """On a connection of its own, so that the kernel chooses a worker."""
        body = {"model": "encoder", "input": f"text {number}"}
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.post(f"{self.url}/v1/embeddings", json=body, headers=headers, timeout=20).status_code

    def chat(self, number: int, times: int = 1) -> str:
        body: dict[str, Any] = {
            "model": "assistant", "stream": True, "messages": [{"role": "user", "content": f"{number} {TEXT * times}"}]
        }  # fmt: skip
        headers = {"authorization": f"Bearer {self.key}"}
        words = ""
        with httpx.stream("POST", f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=20) as got:
            for line in got.iter_lines():
                if line.startswith("data: {"):
                    choices = json.loads(line[6:])["choices"]
                    words += (choices[0]["delta"].get("content") or "") if choices else ""
        return words

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics").text

    def answered(self) -> float:
        """Embedding requests that were answered, as the metrics say."""
        lines = [each for each in self.metrics().splitlines() if each.startswith("tulou_requests_total{")]
        return sum(float(each.rpartition(" ")[2]) for each in lines if "/v1/embeddings" in each and '"200"' in each)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def start(folder: Path) -> Service:
    with (folder / "service.log").open("w") as log:
        command = [sys.executable, str(SCRIPT), "--folder", str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        pytest.fail((folder / "service.log").read_text())
    return Service(process, folder, **json.loads(line))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = start(tmp_path)
    yield running
    running.end()


def until(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_workers_share_the_work_and_their_figures_come_together(service: Service) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(service.embed, range(60))) == {200}
    assert service.answered() == 60
    assert service.answered() == 60  # whichever worker is asked
    metrics = service.metrics()
    assert 'tulou_replicas{model="encoder",state="ready"} 2.0' in metrics
    assert 'tulou_requests_in_flight{model="encoder"} 0.0' in metrics
    assert 'tulou_replica_breakers{model="encoder",state="closed"} 2.0' in metrics
    assert len(service.children("worker_service")) == 2
    until(lambda: _rows(service.folder) == 60)
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(10) == 0


def test_killed_replicas_cost_no_request_and_no_stream(service: Service) -> None:
    with ThreadPoolExecutor(12) as pool:
        chats = [pool.submit(service.chat, number) for number in range(60)]
        for name in ("assistant-0", "assistant-1"):
            victim = service.children(name)[0]
            victim.kill()
            victim.wait()
            time.sleep(1)
        assert [each.result() for each in chats] == [f"{number} {TEXT}" for number in range(60)]


def test_a_killed_worker_comes_back_and_the_counters_never_fall(service: Service) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(service.embed, range(40))) == {200}
    assert service.answered() == 40  # the main process has seen it
    victim = service.children("worker_service")[0]
    victim.kill()
    victim.wait()
    with ThreadPoolExecutor(8) as pool:  # connections that come meanwhile wait for the one that is started
        assert set(pool.map(service.embed, range(20))) == {200}
    assert len(service.children("worker_service")) == 2
    until(lambda: service.answered() == 60)


def test_a_worker_that_hangs_is_started_again(service: Service) -> None:
    victim = service.children("worker_service")[0]
    victim.suspend()
    until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE)
    until(lambda: len(service.children("worker_service")) == 2)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(service.embed, range(20))) == {200}


def test_workers_and_replicas_end_when_the_main_process_is_killed(service: Service) -> None:
    children = psutil.Process(service.process.pid).children(recursive=True)
    assert len(children) == 6  # two workers, two replicas of each model
    service.process.kill()
    assert psutil.wait_procs(children, timeout=5)[1] == []


def test_ctrl_c_ends_everything_within_five_seconds_even_while_answering(service: Service) -> None:
    children = psutil.Process(service.process.pid).children(recursive=True)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(service.chat, 1)
        time.sleep(0.1)
        began = time.monotonic()
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(10) == 0
    assert time.monotonic() - began < 5
    assert [child for child in children if child.is_running()] == []


def test_a_deploy_drops_no_answer(service: Service) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(service.chat, number, 9) for number in range(4)]
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(15) == 0
        assert [answer.result() for answer in answers] == [f"{number} {TEXT * 9}" for number in range(4)]


def test_a_port_is_shared_with_nobody_else() -> None:
    sockets = shared_port(ServiceSettings(listen="127.0.0.1:0"), 2)
    host, port = sockets[0].getsockname()
    assert sockets[1].getsockname() == (host, port)
    with pytest.raises(ServiceError, match=f"port {port} on 127.0.0.1 is in use by another program.* with --listen or"):
        shared_port(ServiceSettings(listen=f"127.0.0.1:{port}"), 2)
    for each in sockets:
        each.close()


def test_figures_of_processes_add_up() -> None:
    def process(count: int, gauge: int) -> CollectorRegistry:
        registry = CollectorRegistry()
        Counter("asked", "Requests", ["model"], registry=registry).labels("m").inc(count)
        Gauge("under_way", "Requests", registry=registry).set(gauge)
        return registry

    first, second = snapshot(process(3, 1)), snapshot(process(4, 2))
    text = exposed(merge([first, second])).decode()
    assert 'asked_total{model="m"} 7.0' in text
    assert "under_way 3.0" in text
    assert [family.name for family in lasting(first)] == ["asked"]


def test_replicas_that_each_process_sees_are_not_counted_twice() -> None:
    first, second = Metrics(), Metrics()
    for metrics, closed, left_alone in ((first, 2, 0), (second, 1, 1)):
        metrics.breakers.labels("assistant", "closed").set(closed)
        metrics.breakers.labels("assistant", "open").set(left_alone)
    text = exposed(merge([snapshot(first.registry), snapshot(second.registry)])).decode()
    assert 'tulou_replica_breakers{model="assistant",state="closed"} 2.0' in text
    assert 'tulou_replica_breakers{model="assistant",state="open"} 1.0' in text


def test_live_figures_of_processes_come_together() -> None:
    mine, other = Live(now=lambda: 100.0), Live(now=lambda: 100.0)
    mine.record("m", 200, 10.0)
    other.record("m", 200, 30.0)
    other.record("m", 500, 20.0)
    together = mine.with_those_of([other.seen()]).figures()
    assert (together.requests, together.failures, together.p50_ms) == (3, 1, 20.0)
    assert mine.figures().requests == 1


def _rows(folder: Path) -> int:
    with sa.create_engine(f"sqlite:///{folder / 'state.db'}").connect() as db:
        count: int = db.execute(sa.text("select count(*) from requests")).scalar_one()
        return count
