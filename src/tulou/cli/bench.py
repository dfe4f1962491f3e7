"""Verbs that measure: bench clean and search. What they print is what `docs/benchmarks.md` quotes."""

from __future__ import annotations

import contextlib
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tulou.cli.app import JsonOption, app
from tulou.cli.output import emit, human_bytes, human_seconds, stdout, table
from tulou.cli.progress import Terminal
from tulou.core.errors import TulouError
from tulou.core.progress import Progress, Silent

bench = typer.Typer(help="Measure this machine: data, models, service.", no_args_is_help=True)
app.add_typer(bench, name="bench")

KeepOption = Annotated[
    Path | None, typer.Option("--keep", help="Work in this folder and leave everything in it.", show_default="none")
]


@bench.command()
def clean(
    rows: Annotated[
        int | None, typer.Option(min=100, help="Documents.", show_default="20,000; with --memory 5,000,000")
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Also run Data-Juicer and datatrove.")] = False,
    peer: Annotated[
        list[str] | None, typer.Option(help="Also run this one of them alone.", show_default="none")
    ] = None,
    spelling: Annotated[bool, typer.Option("--spelling", help="Also correct spelling.")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="Short documents by the million: how much memory?")] = False,
    kill: Annotated[
        bool, typer.Option("--kill", help="With --memory: kill -9 in the middle, resume, compare.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal corpora.")] = 0,
    keep: KeepOption = None,
    as_json: JsonOption = False,
) -> None:
    """Clean a labelled dirty corpus with the real pipeline: speed, memory, and what it got right."""
    if kill and not memory:
        raise typer.BadParameter("--kill belongs to --memory")
    if memory:
        from tulou.bench import memory as bench_memory

        wanted = rows or bench_memory.ROWS
        figures = measured(
            keep, as_json, lambda folder, progress: bench_memory.bench_memory(wanted, folder, kill, progress, seed=seed)
        )
        show: Callable[[Mapping[str, Any]], None] = _show_memory
    else:
        from tulou.bench.clean import bench_clean
        from tulou.bench.peers import PEERS

        known = [each.name for each in PEERS]
        if unknown := set(peer or ()) - set(known):
            raise typer.BadParameter(f"--peer {unknown.pop()}: there are {' and '.join(known)}")
        chosen = known if peers else peer or []
        figures = measured(
            keep,
            as_json,
            lambda folder, progress: bench_clean(rows or _ROWS, folder, chosen, progress, seed=seed, spelling=spelling),
        )
        show = _show_clean
    if as_json:
        emit(figures)
    else:
        show(figures)


_ROWS = 20_000


@bench.command()
def search(
    rows: Annotated[int, typer.Option(min=100, help="Passages.")] = 200_000,
    keep: KeepOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build an index of random passages and search it: recall, latency, additions, kills."""
    from tulou.bench.search import bench_search

    figures = measured(keep, as_json, lambda folder, progress: bench_search(rows, progress, folder))
    if as_json:
        emit(figures)
    else:
        stdout.print_json(data=figures, default=str)


def measured(keep: Path | None, as_json: bool, measure: Callable[[Path, Progress], dict[str, Any]]) -> dict[str, Any]:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, or the processes we watch would outlive us
    with _folder(keep) as folder:
        if as_json:
            return measure(folder, Silent())
        with Terminal(stdout) as terminal:
            return measure(folder, terminal)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """A folder to work in: a new one that vanishes, or `keep`, which must hold nothing of anybody else's."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="tulou-bench-") as made:
            yield Path(made)
        return
    mark = keep / ".tulou-bench"
    if keep.exists() and any(keep.iterdir()) and not mark.exists():
        raise TulouError(f"{keep} holds files that are not a benchmark's; name a new or empty folder")
    keep.mkdir(parents=True, exist_ok=True)
    mark.touch()
    yield keep.resolve()


def _show_clean(figures: Mapping[str, Any]) -> None:
    ours, peers = figures["tulou"], figures["peers"]
    stdout.print(
        f"{figures['rows']:,} documents, {human_bytes(figures['bytes'])}, {figures['machine']['cores']} cores, "
        f"seed {figures['seed']}\n"
    )
    speed = table("", ">documents/s", ">without start", ">seconds", ">memory", ">ratio", title="Speed")
    for name, run in {"tulou": ours, **peers}.items():
        ratio = f"{run['ratio']:.1f}x ({run['ratio_without_start']:.1f}x)" if "ratio" in run else ""
        speed.add_row(
            f"{name} {run.get('version', '')}",
            f"{run['documents_per_s']:,.0f}",
            f"{run['documents_per_s_without_start']:,.0f}",
            f"{run['seconds']:.1f}",
            human_bytes(run["peak_pss_bytes"]),
            ratio,
        )
    stdout.print(speed)
    stdout.print(
        f"median of {len(ours['runs_s'])}, after one of {human_seconds(ours['warm_up_s'])} in which loops are compiled",
        style="dim",
    )
    stages = table("stage", "step", ">seconds", ">documents/s", title="\nWhere the time goes")
    for stage in ours["stages"]:
        stages.add_row(stage["name"], "", f"{stage['seconds']:.2f}", f"{stage['documents_per_s']:,.0f}")
        for step in stage["steps"]:
            rate = f"{step['in'] / step['seconds']:,.0f}" if step["seconds"] else ""
            stages.add_row("", step["name"], f"{step['seconds']:.2f}", rate)
    stdout.print(stages)
    runs = {"tulou": ours, **peers}
    _show_quality({name: run["quality"] for name, run in runs.items()})
    _show_sensitive({name: run["quality"]["sensitive"] for name, run in runs.items()})


def _show_quality(qualities: Mapping[str, Mapping[str, Any]]) -> None:
    rows = table("what was right", *(f">{name}" for name in qualities), title="\nQuality")
    for title, pick in _QUALITY:
        rows.add_row(title, *(pick(quality) for quality in qualities.values()))
    for at, bucket in enumerate(next(iter(qualities.values()))["near_duplicates"]["by_similarity"]):
        each = [quality["near_duplicates"]["by_similarity"][at] for quality in qualities.values()]
        title = f"  merged of {bucket['pairs']} pairs from {bucket['from']:.2f} on"
        rows.add_row(title, *(percent(one["merged"] / one["pairs"]) for one in each))
    for kind, found in next(iter(qualities.values()))["repaired"].items():
        for sort in found["by_sort"]:
            each = [quality["repaired"][kind]["by_sort"].get(sort, {}) for quality in qualities.values()]
            rows.add_row(f"  {kind} {sort}", *(percent(one.get("share")) for one in each))
    stdout.print(rows)


def _show_sensitive(kinds: Mapping[str, Mapping[str, Any]]) -> None:
    rows = table("sensitive", *(f">{name}" for name in kinds), title="\nSensitive data: recall / precision")
    for kind, first in next(iter(kinds.values())).items():
        if not first["planted"]:
            continue
        each = [found.get(kind, {}) for found in kinds.values()]
        rows.add_row(
            f"{kind} ({first['planted']})",
            *(_recall_and_precision(one) for one in each),
        )
    rows.add_row(
        "look-alikes hidden",
        *(f"{_sum(found, 'lookalikes_hidden')} of {_sum(found, 'lookalikes')}" for found in kinds.values()),
    )
    stdout.print(rows)


def _recall_and_precision(found: Mapping[str, Any]) -> str:
    if not found.get("has_rule"):
        return "no rule"
    return f"{percent(found['recall'])} / {percent(found['precision'])}"


def _sum(kinds: Mapping[str, Mapping[str, Any]], key: str) -> int:
    return sum(found[key] for found in kinds.values())


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _spelled(quality: Mapping[str, Any], key: str) -> str:
    return percent(quality["spelling"][key] if quality["spelling"] else None)


_QUALITY: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("near copies found, at 0.8 and above", lambda q: percent(q["near_duplicates"]["recall"])),
    ("documents wrongly merged", lambda q: percent(q["lost"]["merged_share"])),
    ("  less than 0.7 alike", lambda q: f"{q['lost']['merged_far']:,}"),
    ("good documents lost", lambda q: percent(q["lost"]["share"])),
    ("exact copies found", lambda q: percent(q["exact_duplicates"]["same"]["recall"])),
    ("exact copies found under dirt", lambda q: percent(q["exact_duplicates"]["disguised"]["recall"])),
    ("junk dropped: too short", lambda q: percent(q["junk"].get("too_short", {}).get("dropped"))),
    ("junk dropped: symbols", lambda q: percent(q["junk"].get("symbols", {}).get("dropped"))),
    ("junk dropped: repeated", lambda q: percent(q["junk"].get("repeated", {}).get("dropped"))),
    ("spelling: precision on changed words", lambda q: _spelled(q, "precision")),
    ("spelling: recall", lambda q: _spelled(q, "recall")),
    ("mojibake restored exactly", lambda q: percent(q["repaired"]["mojibake"]["share"])),
    ("HTML removed exactly", lambda q: percent(q["repaired"]["html"]["share"])),
    ("full width restored exactly", lambda q: percent(q["repaired"]["full_width"]["share"])),
    ("invisible characters removed", lambda q: percent(q["repaired"]["control"]["share"])),
)


def _show_memory(figures: Mapping[str, Any]) -> None:
    stdout.print(
        f"{figures['rows']:,} documents, {human_bytes(figures['bytes'])}: {human_seconds(figures['seconds'])}, "
        f"{figures['documents_per_s']:,.0f} documents/s, {figures['kept']:,} kept"
    )
    stdout.print(
        f"peak memory {human_bytes(figures['peak_pss_bytes'])} (shared pages counted for every process: "
        f"{human_bytes(figures['peak_rss_bytes'])})"
    )
    if accident := figures.get("kill"):
        same = "[green]the same[/green]" if accident["is_same"] else "[red]different[/red]"
        stdout.print(
            f"killed after {human_seconds(accident['killed_after_s'])} ({accident['orphans']} processes left behind), "
            f"resumed in {human_seconds(accident['resumed_s'])} "
            f"(finished before: {', '.join(accident['cached_stages']) or 'nothing'}): the output is {same}",
            soft_wrap=True,
        )
