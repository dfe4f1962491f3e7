"""What the command prints: people get tables and colour, machines one JSON object. Messages go to stderr."""

from __future__ import annotations

import json
from typing import Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tulou.core.errors import TulouError

stdout = Console(highlight=False, soft_wrap=False)
stderr = Console(stderr=True, highlight=False)


def emit(value: dict[str, Any]) -> None:
    """Print `value` as the one JSON object of a `--json` answer."""
    typer.echo(json.dumps(value, ensure_ascii=False, default=str))


def fail(err: TulouError, as_json: bool) -> None:
    if as_json:
        emit({"error": {"type": type(err).__name__, "message": str(err)}})
    else:
        stderr.print("[red]error:[/red] ", end="")
        stderr.print(str(err), markup=False, soft_wrap=True)  # paths and commands are to be copied


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house style; columns that start with '>' are aligned right.

    What is too wide goes on in the next line, Chinese and paths too, which have no spaces: nothing is cut.
    """
    made = Table(title=title, box=None, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left", title_style="bold")
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        made.add_column(column.lstrip(">"), justify=justify, header_style="dim", overflow="fold")
    return made


def plain(text: object) -> str:
    """`text` of a user, a file or a model, for a place where rich would read square brackets as markup."""
    return escape(str(text))


def human_bytes(n: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def human_seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
