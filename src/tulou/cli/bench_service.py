"""Verbs that measure the service: bench gateway, serve, balance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tulou.cli.app import JsonOption
from tulou.cli.bench import KeepOption, bench, measured
from tulou.cli.output import emit, human_bytes, stdout, table


@bench.command()
def gateway(
    seconds: Annotated[float, typer.Option(min=1, help="Under load, for each figure.")] = 5.0,
    peers: Annotated[bool, typer.Option("--peers", help="Also nginx, LiteLLM and Envoy.")] = False,
    soak: Annotated[int, typer.Option(min=0, help="Instead: so many requests, and memory.", show_default="none")] = 0,
    workers: Annotated[bool, typer.Option("--workers", help="Instead: two workers against one, as root.")] = False,
    keep: KeepOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the gateway costs: requests/s, processor time, latency, streams; needs wrk, nginx and two cores."""
    if soak:
        from tulou.bench.gateway.soak import bench_soak

        figures = measured(keep, as_json, lambda folder, progress: bench_soak(folder, soak, progress))
        show = _show_soak
    elif workers:
        from tulou.bench.gateway.scaling import bench_workers

        figures = measured(keep, as_json, lambda folder, progress: bench_workers(folder, progress, seconds=seconds))
        show = _show_workers
    else:
        from tulou.bench.gateway.contest import bench_gateway

        figures = measured(
            keep, as_json, lambda folder, progress: bench_gateway(folder, progress, seconds=seconds, peers=peers)
        )
        show = _show_gateway
    if as_json:
        emit(figures)
    else:
        show(figures)


@bench.command()
def serve(
    requests: Annotated[int, typer.Option(min=100, help="Under each accident, at least.")] = 100_000,
    keep: KeepOption = None,
    as_json: JsonOption = False,
) -> None:
    """Kill replicas and promote models under load: how many requests fail? Needs wrk."""
    from tulou.bench.serve import bench_serve

    figures = measured(keep, as_json, lambda folder, progress: bench_serve(folder, requests, progress))
    if as_json:
        emit(figures)
        return
    rows = table("accident", ">times", ">requests", ">failed", ">requests/s", ">worst p99")
    for name, run in figures.items():
        counts = (f"{run[key]:,}" for key in ("accidents", "requests", "failures"))
        rows.add_row(name, *counts, f"{run['requests_per_s']:,.0f}", f"{run['p99_ms']:,.1f} ms")
    stdout.print(rows)


@bench.command()
def balance(
    requests: Annotated[int, typer.Option(min=100, help="In each scenario, the same for each policy.")] = 20_000,
    replicas: Annotated[int, typer.Option(min=2, help="Of which one is slow in some scenarios.")] = 4,
    slots: Annotated[int, typer.Option(min=1, help="Requests that a replica works on at once.")] = 4,
    load: Annotated[float, typer.Option(min=0.05, max=0.99, help="Share of what the replicas can do.")] = 0.75,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal figures.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Simulate skewed work under each balancer: p50, p99, utilisation, what was still warm."""
    from tulou.bench.balance import bench_balance

    figures = bench_balance(requests, replicas, slots, load, seed)
    if as_json:
        emit(figures)
        return
    rows = table("work", "policy", ">p50", ">p99", ">busy", ">least", ">most", ">warm")
    for scenario in figures["scenarios"]:
        for i, row in enumerate(scenario["rows"]):
            rows.add_row(
                "" if i else scenario["name"],
                row["policy"],
                f"{row['p50_ms']:,.0f} ms",
                f"{row['p99_ms']:,.0f} ms",
                *(f"{row[key]:.0%}" for key in ("utilisation", "idlest", "busiest")),
                "" if row["warm_share"] is None else f"{row['warm_share']:.0%}",
            )
    stdout.print(rows)
    stdout.print(
        f"{requests:,} requests, {replicas} replicas working on {slots} at once, load {load:.0%}, seed {seed}",
        style="dim",
    )


def _show_gateway(figures: Mapping[str, Any]) -> None:
    title = f"POST of {figures['body_bytes']:,} bytes, one core for each gateway, nginx as upstream"
    rows = table("", ">connections", ">requests/s", ">CPU us", ">p50 ms", ">p99 ms", ">failed", title=title)
    everyone = [("nginx direct", figures["direct"]), *((each["name"], each) for each in figures["gateways"])]
    for name, run in everyone:
        for pace in run["paces"]:
            rows.add_row(
                name,
                str(pace["connections"]),
                f"{pace['requests_per_s']:,.0f}",
                f"{pace['cpu_us']:.1f}",
                f"{pace['p50_ms']:.3f}",
                f"{pace['p99_ms']:.2f}",
                f"{pace['failures']:,}",
            )
    stdout.print(rows)
    rows = table("", ">p50 added ms", ">start s", ">idle", ">after load", title="\nOne connection, and the process")
    for each in figures["gateways"]:
        rows.add_row(
            each["name"],
            f"{each['p50_added_ms']:.3f}",
            f"{each['start_s']:.2f}",
            human_bytes(each["idle_bytes"]),
            human_bytes(each["loaded_bytes"]),
        )
    stdout.print(rows)
    rows = table("", ">chunks/s", ">CPU us a chunk", ">first byte added ms", ">broken", title="\n64 streams")
    for each in figures["gateways"]:
        if streams := each["streams"]:
            rows.add_row(
                each["name"],
                f"{streams['chunks_per_s']:,.0f}",
                f"{streams['cpu_us']:.1f}",
                f"{streams['first_byte_added_ms']:.2f}",
                str(streams["broken"]),
            )
    stdout.print(rows)


def _show_soak(figures: Mapping[str, Any]) -> None:
    rows = table(">requests", ">streams", ">left early", ">memory", title="Memory")
    for point in figures["points"]:
        counts = (f"{point[key]:,}" for key in ("requests", "streams", "cancelled"))
        rows.add_row(*counts, human_bytes(point["rss_bytes"]))
    stdout.print(rows)
    stdout.print(f"{figures['growth']:+.1%} since the first tenth; {figures['failures']:,} failed")


def _show_workers(figures: Mapping[str, Any]) -> None:
    rows = table(">workers", ">requests/s", ">CPU us", ">p99 ms", ">failed", title="Each has a share of a core")
    for each in figures["workers"]:
        for pace in each["paces"]:
            counts = f"{pace['cpu_us']:.1f}", f"{pace['p99_ms']:.2f}", f"{pace['failures']:,}"
            rows.add_row(str(each["workers"]), f"{pace['requests_per_s']:,.0f}", *counts)
    stdout.print(rows)
    stdout.print(
        f"two do {figures['ratio']:.2f} times the requests of one, by medians; a share is {figures['share']:.0%}"
    )
