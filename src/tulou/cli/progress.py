"""Progress in a terminal: a line for each finished stage, bars with counts, rates and time left for the one at work.

Where the output is no terminal (a file, CI) bars are left out and only the lines are printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from tulou.cli.headlines import headline
from tulou.cli.output import plain
from tulou.core.progress import Bar
from tulou.core.stage import Stage, StageResult

_ONE_LINE = Column(no_wrap=True)


class CountColumn(ProgressColumn):
    """`1,234/5,000`, and nothing where nothing is counted."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text(f"{task.completed:,.0f}" if task.completed else "")
        return Text(f"{task.completed:,.0f}/{task.total:,.0f}", style="green")


class RateColumn(ProgressColumn):
    """`1,234 documents/s`."""

    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit", "")
        if not task.speed:
            return Text(unit, style="dim")
        speed = f"{task.speed:,.0f}" if task.speed >= 10 else f"{task.speed:.1f}"
        return Text(f"{speed} {unit}/s", style="dim")


class TerminalBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, n: float = 1) -> None:
        self._progress.advance(self._task, n)

    def note(self, text: str) -> None:
        self._progress.update(self._task, note=plain(text))


class Terminal:
    """Shows a run; is both the `Progress` handed to stages and the pipeline's `Watcher`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._current: TaskID | None = None
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", table_column=_ONE_LINE),
            BarColumn(bar_width=10),
            CountColumn(table_column=_ONE_LINE),
            RateColumn(table_column=_ONE_LINE),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True, table_column=_ONE_LINE),
            TextColumn("[dim]{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Terminal:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def bar(self, title: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        task = self._bars.add_task(title, total=total, unit=unit, note="")
        try:
            yield TerminalBar(self._bars, task)
        finally:
            self._bars.remove_task(task)

    def started(self, stage: Stage, index: int, total: int) -> None:
        if not self.console.is_terminal:
            return
        self._current = self._bars.add_task(
            f"[bold]{stage.title}", total=None, unit="", note=f"stage {index} of {total}"
        )

    def finished(self, result: StageResult, index: int, total: int) -> None:
        if self._current is not None:
            self._bars.remove_task(self._current)
            self._current = None
        mark = "[dim]=[/dim]" if result.is_cached else "[green]✓[/green]"
        took = "[dim]unchanged[/dim]" if result.is_cached else f"{result.seconds:.1f} s"
        self.console.print(
            f"{mark} [dim]{index:>2}/{total}[/dim] {result.title:<40} {took:<12} {headline(result)}", soft_wrap=True
        )
