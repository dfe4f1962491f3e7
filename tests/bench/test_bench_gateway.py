"""The benchmark of the gateway, for a second each: real wrk, real nginx, every figure there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tulou.bench.gateway.contest import CONNECTIONS, bench_gateway
from tulou.bench.gateway.load import BODY, tool
from tulou.bench.gateway.scaling import bench_workers
from tulou.bench.gateway.soak import POINTS, bench_soak
from tulou.core.errors import TulouError
from tulou.core.progress import Silent

needs_tools = pytest.mark.skipif(
    not (shutil.which("wrk") and shutil.which("nginx", path="/usr/sbin:/usr/bin")), reason="needs wrk and nginx"
)


@needs_tools
def test_every_figure_is_there_and_no_request_fails(tmp_path: Path) -> None:
    figures = bench_gateway(tmp_path, Silent(), seconds=1, peers=False)
    assert set(figures) == {"machine", "body_bytes", "direct", "gateways"}
    assert 900 < figures["body_bytes"] == len(BODY) < 1100
    (ours,) = figures["gateways"]
    assert ours["name"] == "tulou"
    assert [pace["connections"] for pace in ours["paces"]] == list(CONNECTIONS)
    for pace, direct in zip(ours["paces"], figures["direct"]["paces"], strict=True):
        assert pace["failures"] == 0
        assert 0 < pace["p50_ms"] <= pace["p99_ms"]
        assert direct["requests_per_s"] > pace["requests_per_s"] > 0
        assert pace["cpu_us"] > direct["cpu_us"] > 0
    assert ours["p50_added_ms"] > 0
    assert (ours["streams"]["broken"], ours["streams"]["streams"]) == (0, 192)
    assert ours["streams"]["chunks"] > 19_000
    assert 0 < ours["idle_bytes"] <= ours["loaded_bytes"]


@needs_tools
def test_a_soak_counts_streams_and_those_left_early(tmp_path: Path) -> None:
    figures = bench_soak(tmp_path, 3000, Silent())
    assert figures["requests"] >= 3000
    assert (figures["streams"], figures["failures"]) == (300, 0)
    assert 10 < figures["cancelled"] < 60
    assert len(figures["points"]) == POINTS + 1
    assert all(point["rss_bytes"] > 1 << 20 for point in figures["points"])


@needs_tools
def test_workers_are_held_to_a_share_of_a_core_each(tmp_path: Path) -> None:
    try:
        figures = bench_workers(tmp_path, Silent(), seconds=1)
    except TulouError as err:
        if "control group" in str(err):
            pytest.skip(str(err))
        raise
    one, two = figures["workers"]
    assert (one["workers"], two["workers"]) == (1, 2)
    assert all(pace["failures"] == 0 and pace["requests"] > 0 for pace in (*one["paces"], *two["paces"]))
    assert figures["ratio"] > 1
    assert not list(Path("/sys/fs/cgroup").glob("**/tulou-bench-*"))


def test_a_tool_that_is_not_there_is_named() -> None:
    with pytest.raises(TulouError, match="needs no-such-tool; install it with: apt-get install no-such-tool"):
        tool("no-such-tool")
