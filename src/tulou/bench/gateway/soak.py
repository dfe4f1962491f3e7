"""Memory over many requests: does it stay where it was?

Nine in ten are whole answers, under wrk; one in ten is a stream, and of these one in ten is left by its client after
the first chunk. Resident memory is read ten times, always with nothing under way.
"""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

from tulou.bench.gateway.contest import upstreams
from tulou.bench.gateway.load import drive
from tulou.bench.gateway.processes import Server, require_two_cores, running
from tulou.bench.gateway.programs import tulou_gateway
from tulou.bench.gateway.streams import stream_through
from tulou.core.progress import Progress

POINTS = 10
STREAM_SHARE, CANCELLED_SHARE = 0.1, 0.1
CHUNKS = 5
MARGIN = 1.02  # on the time of load, so that no fewer requests are made than asked for
SETTLE_S = 1.0  # for the accounts to be written
WARM_UP_S = 2.0


def bench_soak(folder: Path, requests: int, progress: Progress) -> dict[str, Any]:
    require_two_cores()
    with upstreams(folder) as (upstream, streamer):
        program = tulou_gateway(folder, upstream.program.url, streamer.program.url)
        with running(program, folder) as server, progress.bar("soak", requests, "requests") as bar:
            rate = drive(server, 32, WARM_UP_S, folder).requests_per_s
            points: list[dict[str, int]] = [_point(0, 0, 0, server)]
            failures = cancelled = whole = streams = 0
            for point in range(1, POINTS + 1):
                wanted = requests * (1 - STREAM_SHARE) * point / POINTS - whole
                pace = drive(server, 32, max(wanted / rate, 1.0) * MARGIN, folder)
                whole, rate = whole + pace.requests, pace.requests_per_s
                wanted_streams = round(requests * STREAM_SHARE * point / POINTS) - streams
                seen = asyncio.run(
                    stream_through(
                        server,
                        wanted_streams,
                        chunks=CHUNKS,
                        every_ms=0,
                        cancelled_share=CANCELLED_SHARE,
                        seed=point,
                    )
                )
                streams += wanted_streams
                cancelled += seen.cancelled
                failures += pace.failures + seen.broken
                bar.advance(pace.requests + wanted_streams)
                gc.collect()
                points.append(_point(whole + streams, streams, cancelled, server))
    first, last = points[1]["rss_bytes"], points[-1]["rss_bytes"]
    return {
        "requests": whole + streams,
        "streams": streams,
        "cancelled": cancelled,
        "failures": failures,
        "points": points,
        "growth": last / first - 1,  # since a tenth was done
    }


def _point(requests: int, streams: int, cancelled: int, server: Server) -> dict[str, int]:
    time.sleep(SETTLE_S)
    return {"requests": requests, "streams": streams, "cancelled": cancelled, "rss_bytes": server.rss_bytes()}
