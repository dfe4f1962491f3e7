"""What one stage did, in a few words: the rest of its line on the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tulou.cli.output import plain
from tulou.core.stage import StageResult

Summary = Mapping[str, Any]


def headline(result: StageResult) -> str:
    write = HEADLINES.get(result.name.split(".")[0])
    return write(result.summary) if write else ""


def _collect(summary: Summary) -> str:
    words = f"{summary['files']:,} files, {summary['documents']:,} documents"
    if failed := summary.get("failed"):
        words += f", [yellow]{len(failed)} unreadable[/yellow]"
    return words


def _clean(summary: Summary) -> str:
    changed = sum(summary.get("changed", {}).values())
    dropped = summary["in"] - summary["kept"]
    return f"{summary['in']:,} in, {summary['kept']:,} kept, {dropped:,} dropped, {changed:,} changes"


def _split(summary: Summary) -> str:
    words = f"{summary['train']:,} to train, {summary['validation']:,} to validate, {summary['test']:,} to test"
    if unlabelled := summary.get("unlabelled"):
        words += f", {unlabelled:,} without a label left out"
    if removed := summary["exam_removed"]:
        words += f", {removed:,} like the exam left out"
    return words


def _learnt(summary: Summary) -> str:
    metric = summary.get("validation_metric", "")
    value = summary.get(f"validation_{metric}")
    words = "" if value is None else f"{value:.1%} right, " if metric == "accuracy" else f"{metric} {value:.2f}, "
    resumed = f", went on at step {summary['resumed_at_step']:,}" if "resumed_at_step" in summary else ""
    return f"{words and f'held-out {words}'}{summary['tokens_s']:,} tokens/s{resumed}"


def _parity(summary: Summary) -> str:
    return ", ".join(f"{row['precision']} within {row['logit_difference']:.0e}" for row in summary["precisions"])


def _card(summary: Summary) -> str:
    warnings = len(summary.get("warnings", ()))
    return f"[yellow]{warnings} warning{'s' * (warnings > 1)} in its card[/yellow]" if warnings else "no warnings"


def _compress(summary: Summary) -> str:
    words = _chosen(summary)
    missing = [*summary.get("left_out", ()), *summary.get("not_made", ())]
    if not missing:
        return words
    told = "; ".join(f"{each['precision']} ({each['reason']})" for each in missing)
    return f"{words}, [yellow]left out: {plain(told)}[/yellow]"


def _chosen(summary: Summary) -> str:
    rows = {row["precision"]: row for row in summary.get("table", ())}
    served = rows.get(summary.get("chosen", ""))
    if served is None:
        return f"{summary.get('chosen', '')}"
    if served is next(iter(rows.values())):
        return f"[yellow]{plain(summary['reason'])}[/yellow]"
    tried = f" of {len(rows) - 1} candidates" if len(rows) > 2 else ""
    return f"{summary['chosen']}{tried} {served['size_ratio']:.1f}x smaller, {served['speed_ratio']:.1f}x faster"


def _register(summary: Summary) -> str:
    if summary["version"] == summary["serves"]:
        return f"version {summary['version']} serves"
    why = "scores worse" if summary.get("is_worse", True) else "waits to be promoted"
    return f"[yellow]version {summary['version']} {why}; version {summary['serves']} goes on serving[/yellow]"


def _exam(summary: Summary) -> str:
    return (
        f"found {summary['in_top_3']}/{summary['questions']}, cited {summary['cited_right']}/{summary['questions']}, "
        f"declined {summary['off_topic_declined']}/{summary['off_topic']} off-topic"
    )


HEADLINES: dict[str, Callable[[Summary], str]] = {
    "collect": _collect,
    "clean": _clean,
    "split": _split,
    "pretrain": _learnt,
    "train": _learnt,
    "finetune": _learnt,
    "parity": _parity,
    "card": _card,
    "passages": lambda summary: f"{summary['passages']:,} passages",
    "compress": _compress,
    "register": _register,
    "exam": _exam,
}
