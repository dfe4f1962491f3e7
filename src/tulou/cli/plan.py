"""`tulou plan`: what is still to run, and what it will take, before any of it is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from tulou.cli.app import HERE, JsonOption, ProjectOption, app
from tulou.cli.output import emit, human_bytes, human_seconds, plain, stdout, table
from tulou.cli.progress import Terminal
from tulou.core.progress import Silent


@app.command()
def plan(
    project: ProjectOption = HERE,
    until: Annotated[str | None, typer.Option(help="Only what this stage needs, such as 'train.intents'.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict time, memory, disk and money of each stage still to run, from a short trial; exit code 1 if it cannot
    fit."""
    from tulou.bootstrap.budget import make_plan
    from tulou.bootstrap.pipeline import build_pipeline, require_bases, require_inputs
    from tulou.bootstrap.project import Project

    opened = Project.open(project)
    require_inputs(opened)
    pipeline = build_pipeline(opened)
    require_bases(opened, pipeline, until)
    if as_json:
        made = make_plan(opened, pipeline, until, Silent())
        emit(made)
    else:
        with Terminal(stdout) as terminal:
            made = make_plan(opened, pipeline, until, terminal)
        show_plan(made)
    if not made["fits"]:
        raise typer.Exit(1)


def show_plan(plan: Mapping[str, Any]) -> None:
    stages = plan["stages"]
    if not stages:
        stdout.print(f"nothing to do: all {plan['up_to_date']} stages are up to date")
        return
    currency = plan["currency"]
    rows = table("stage", ">weights", ">memory", ">disk", ">time", f">{currency}", "from", title="\nPlan")
    for column in rows.columns[:-1]:
        column.no_wrap = True
    for name, stage in stages.items():
        rows.add_row(
            name,
            f"{stage['parameters'] / 1e6:,.1f}M" if stage["parameters"] else "",
            _or_nothing(human_bytes, stage["peak_bytes"]),
            _or_nothing(human_bytes, stage["disk_bytes"]),
            _or_nothing(human_seconds, stage["seconds"]) or "?",
            f"{stage['money']:.3f}" if stage["money"] is not None else "",
            plain(stage["basis"]) + (f"[yellow], {plain(stage['caution'])}[/yellow]" if stage["caution"] else ""),
        )
    stdout.print(rows)
    _show_refusals(stages)
    total = plan["total"]
    words = [human_seconds(total["seconds"])]
    if total["peak_bytes"]:
        words.append(f"at most {human_bytes(total['peak_bytes'])} of memory")
    if total["money"] is not None:
        words.append(f"{total['money']:.3f} {currency}")
    unknown = total["unknown_stages"]
    stdout.print(f"\n[bold]{'known so far' if unknown else 'in all'}[/bold]  {', '.join(words)}")
    if unknown:
        stdout.print(f"[yellow]not counted[/yellow]   {plain(_uncounted(unknown, total['unknown_trainings']))}")
    if total["money"] is None:
        stdout.print(
            "[dim]prices in [budget] of tulou.toml tell what that costs[/dim]".replace("[budget]", r"\[budget]")
        )


def _uncounted(stages: int, trainings: Sequence[str]) -> str:
    """Trainings by name: they may take longest of all."""
    words = [f"the training of {', '.join(trainings)}"] if trainings else []
    if others := stages - len(trainings):
        words.append(f"{others} {'other ' if trainings else ''}stage{'s' * (others > 1)}")
    return f"{' and '.join(words)}, of which nothing is known yet"


def _show_refusals(stages: Mapping[str, Any]) -> None:
    for name, stage in stages.items():
        if stage["refusal"]:
            stdout.print(f"[red]✗[/red] [bold]{name}[/bold] cannot run here: {plain(stage['refusal'])}")
            for each in stage["would_fit"]:
                stdout.print(f"    would fit: {plain(each)}")


def show_beside(rows: Sequence[Mapping[str, Any]]) -> None:
    """What stages took beside what was predicted; nothing where nothing was planned."""
    if not rows:
        return
    shown = table(
        "stage", ">predicted", ">took", ">off", ">memory predicted", ">held", ">off", title="\nPlan and truth"
    )
    shown.columns[0].no_wrap = True
    for row in rows:
        shown.add_row(
            row["stage"],
            human_seconds(row["predicted_s"]),
            human_seconds(row["seconds"]),
            _deviation(row["deviation"]),
            _or_nothing(human_bytes, row["predicted_bytes"]),
            human_bytes(row["own_bytes"]),
            _or_nothing(_deviation, row["memory_deviation"]),
        )
    stdout.print(shown)


def _deviation(share: float) -> str:
    colour = "green" if abs(share) <= 0.3 else "yellow"
    return f"[{colour}]{share:+.0%}[/{colour}]"


def _or_nothing(show: Any, value: float | None) -> str:
    return show(value) if value is not None else ""
