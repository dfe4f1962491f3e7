"""The command's frame: the application object and the options every verb shares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tulou import __version__

# As a newcomer meets them; what is not named here comes after them.
ORDER = (
    *(
        "init",
        "up",
        "run",
        "serve",
        "ask",
        "write",
        "status",
        "search",
        "evaluate",
        "plan",
        "explain",
        "trace",
        "iterate",
    ),
    *("models", "keys", "usage", "logs", "reveal", "bench"),
)


class InOrder(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        known = super().list_commands(ctx)
        return sorted(known, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


app = typer.Typer(
    cls=InOrder,
    name="tulou",
    help="Raw business data in; a measured, served, self-improving assistant out.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

ProjectOption = Annotated[
    Path, typer.Option("--project", "-p", envvar="TULOU_PROJECT", help="Folder with tulou.toml.", show_default="here")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

HERE = Path()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tulou {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass
