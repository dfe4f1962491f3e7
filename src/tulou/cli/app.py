"""The command's frame: the application object and the options every verb shares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tulou import __version__

app = typer.Typer(
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
