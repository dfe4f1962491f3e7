"""The whole measurement: nginx alone, then each gateway before it, one after another with the same load."""

from __future__ import annotations

import asyncio
import contextlib
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tulou.bench.gateway.load import BODY, Pace, drive
from tulou.bench.gateway.processes import Program, Server, require_two_cores, running
from tulou.bench.gateway.programs import envoy_proxy, litellm_proxy, nginx_proxy, nginx_upstream, tulou_gateway
from tulou.bench.gateway.streams import STREAMS, Streamed, stream_through, upstream_program
from tulou.core.progress import Progress

CONNECTIONS = (1, 32, 128)
WARM_UP_S = 1.0
ROUNDS_OF_STREAMS = 3


@dataclass(frozen=True)
class Contestant:
    name: str
    start_s: float
    idle_bytes: int
    loaded_bytes: int  # after all of the load
    paces: list[Pace]
    streams: Streamed | None


def bench_gateway(folder: Path, progress: Progress, *, seconds: float, peers: bool) -> dict[str, Any]:
    """Requests/s, processor time and latency of the gateway and, with `peers`, of others. Takes `seconds` a figure."""
    require_two_cores()
    with upstreams(folder) as (upstream, streamer):
        url, streams = upstream.program.url, streamer.program.url
        makers: list[Callable[[], Program]] = [lambda: tulou_gateway(folder, url, streams)]
        if peers:
            makers.append(lambda: nginx_proxy(folder, url, streams))
            makers.append(lambda: litellm_proxy(folder, url, streams))
            makers.append(lambda: envoy_proxy(folder, url, streams))
        with progress.bar("nginx direct", 1):
            direct = [drive(upstream, connections, seconds, folder) for connections in CONNECTIONS]
            direct_streams = asyncio.run(stream_through(streamer, STREAMS * ROUNDS_OF_STREAMS))
        found = [_measure(make(), folder, seconds, progress) for make in makers]
    return {
        "machine": {"python": platform.python_version(), "system": platform.platform()},
        "body_bytes": len(BODY),
        "direct": {"paces": [asdict(pace) for pace in direct], "streams": asdict(direct_streams)},
        "gateways": [_told(each, direct[0], direct_streams) for each in found],
    }


@contextlib.contextmanager
def upstreams(folder: Path) -> Iterator[tuple[Server, Server]]:
    """nginx, which answers at once, and the one that streams."""
    with running(nginx_upstream(folder), folder) as upstream, running(upstream_program(), folder) as streamer:
        yield upstream, streamer


def _measure(program: Program, folder: Path, seconds: float, progress: Progress) -> Contestant:
    with progress.bar(program.name, len(CONNECTIONS) + 1) as bar, running(program, folder) as server:
        idle_bytes = server.rss_bytes()
        drive(server, 32, WARM_UP_S, folder)
        paces = []
        for connections in CONNECTIONS:
            paces.append(drive(server, connections, seconds, folder))
            bar.advance()
        streams = None
        if program.streams_path is not None:
            streams = asyncio.run(stream_through(server, STREAMS * ROUNDS_OF_STREAMS))
        bar.advance()
        return Contestant(program.name, server.start_s, idle_bytes, server.rss_bytes(), paces, streams)


def _told(found: Contestant, direct: Pace, direct_streams: Streamed) -> dict[str, Any]:
    told = asdict(found)
    told["p50_added_ms"] = found.paces[0].p50_ms - direct.p50_ms  # with one connection
    if found.streams is not None:
        told["streams"]["first_byte_added_ms"] = found.streams.first_byte_p50_ms - direct_streams.first_byte_p50_ms
    return told
