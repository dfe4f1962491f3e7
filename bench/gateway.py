"""What the gateway costs: the same chat requests to a replica directly and through the gateway, in turns.

Both serve the echo engine, so the model costs next to nothing and what is left is the gateway: key, body, choice of
replica, relay, accounting. Load comes from this process over keep-alive connections. Prints medians of the rounds and
the ratio; absolute figures belong to this machine and hour.

    python bench/gateway.py [--requests 1000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp

from tulou.core.manifest import write_manifest
from tulou.core.settings import ServiceSettings
from tulou.core.state import open_state
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.service.gateway.app import build_gateway
from tulou.service.gateway.keys import Keys
from tulou.service.gateway.server import address, claim_port, serve
from tulou.service.gateway.switchboard import Switchboard
from tulou.service.pool import Endpoint, FixedPool

MODEL = "echo"
REPLICAS = 2
CONNECTIONS = (1, 32)
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "word " * 200}], "max_tokens": 32}  # about 1 KB
MANIFEST = ModelManifest(name=MODEL, task="chat", engine="echo", precision="none", fingerprint="bench", base="")


def start_replica(folder: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "tulou.service.replica", "--folder", str(folder), "--model", MODEL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    return process, f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"


def run_gateway(folder: Path, urls: list[str], report: Connection) -> None:
    settings = ServiceSettings(listen="127.0.0.1:0")
    state = open_state("sqlite:///state.db", folder)
    keys = Keys(state)
    _, secret = keys.create("bench", "app")
    pool = FixedPool({MODEL: [Endpoint(f"{MODEL}-{i}", MODEL, url) for i, url in enumerate(urls)]})
    switchboard = Switchboard(settings, pool, state, Metrics(), {MODEL: MANIFEST})
    sock = claim_port(settings)

    async def started() -> None:
        report.send((address(sock), secret))

    serve(build_gateway(settings, switchboard, keys), sock, started)


async def load(url: str, key: str, requests: int, connections: int) -> tuple[float, list[float]]:
    """Requests a second, and the latency of each in ms; raises on any answer but 200."""
    headers = {"Authorization": f"Bearer {key}"}
    latencies: list[float] = []
    left = iter(range(requests))

    async def client(session: aiohttp.ClientSession) -> None:
        for _ in left:
            started = time.perf_counter()
            async with session.post(f"{url}/v1/chat/completions", json=BODY) as response:
                await response.read()
                response.raise_for_status()
            latencies.append((time.perf_counter() - started) * 1000)

    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        started = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(connections)))
        return requests / (time.perf_counter() - started), latencies


def compare(direct: str, gateway: str, key: str, requests: int, rounds: int) -> None:
    print(f"{'connections':>11} {'path':>8} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}")
    for connections in CONNECTIONS:
        rates: dict[str, list[float]] = {"direct": [], "gateway": []}
        latencies: dict[str, list[float]] = {"direct": [], "gateway": []}
        for _ in range(rounds):
            for name, url in (("direct", direct), ("gateway", gateway)):
                rate, seen = asyncio.run(load(url, key, requests, connections))
                rates[name].append(rate)
                latencies[name] += seen
        for name in rates:
            quantiles = statistics.quantiles(latencies[name], n=100)
            rate = statistics.median(rates[name])
            print(f"{connections:>11} {name:>8} {rate:>11,.0f} {quantiles[49]:>8.2f} {quantiles[98]:>8.2f}")
        added = statistics.median(latencies["gateway"]) - statistics.median(latencies["direct"])
        ratio = statistics.median(rates["gateway"]) / statistics.median(rates["direct"])
        print(f"{'':>11} the gateway does {ratio:.2f} of the direct rate and adds {added:.2f} ms at p50\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000, help="in each round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_manifest(folder / MODEL, MANIFEST)
        started = [start_replica(folder / MODEL) for _ in range(REPLICAS)]
        ours, theirs = multiprocessing.Pipe()
        gateway = multiprocessing.get_context("spawn").Process(
            target=run_gateway, args=(folder, [url for _, url in started], theirs)
        )
        gateway.start()
        try:
            url, key = ours.recv()
            compare(started[0][1], url, key, arguments.requests, arguments.rounds)
        finally:
            gateway.terminate()
            gateway.join(10)
            for process, _ in started:
                process.terminate()
                process.wait(10)


if __name__ == "__main__":
    main()
