"""Verbs around the registry: models list, show, promote, rollback."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from tulou.cli.app import HERE, JsonOption, ProjectOption, app
from tulou.cli.output import emit, human_bytes, stdout, table
from tulou.cli.screens import accuracy_of

models = typer.Typer(help="Registered models: list, show, promote, rollback.", no_args_is_help=True)
app.add_typer(models, name="models")

ModelName = Annotated[str, typer.Argument(help="Name of a model, [model.NAME] in tulou.toml.")]


@models.command("list")
def list_models(project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Show every version of every model."""
    from tulou.bootstrap.project import Project

    registry = Project.open(project).registry
    found = [asdict(version) for name in registry.names() for version in registry.versions(name)]
    if as_json:
        emit({"models": found})
        return
    rows = table("model", ">version", "", "precision", ">size", ">latency", "accuracy")
    for version in found:
        measured = next((row for row in version["table"] if row["precision"] == version["precision"]), None)
        rows.add_row(
            version["name"],
            str(version["version"]),
            "champion" if version["is_champion"] else "",
            version["precision"],
            human_bytes(measured["size_bytes"]) if measured else "",
            f"{measured['latency_ms_p50']:.1f} ms" if measured else "",
            accuracy_of(measured) if measured else "",
        )
    stdout.print(rows)


@models.command()
def show(
    name: ModelName,
    version: Annotated[int | None, typer.Option(help="By default the champion.")] = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Show what is known of one version: evaluation, lineage, where its files are."""
    from tulou.bootstrap.project import Project

    found = asdict(Project.open(project).registry.find(name, version))
    if as_json:
        emit(found)
    else:
        stdout.print_json(data=found, default=str)


@models.command()
def promote(
    name: ModelName,
    version: Annotated[int, typer.Argument(help="Version that shall serve.")],
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Make a version the champion, which the service loads at its next start."""
    from tulou.bootstrap.project import Project

    registry = Project.open(project).registry
    registry.promote(name, version)
    _tell_champion(asdict(registry.find(name, None)), as_json)


@models.command()
def rollback(name: ModelName, project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Make the version before the champion the champion again."""
    from tulou.bootstrap.project import Project

    registry = Project.open(project).registry
    registry.rollback(name)
    _tell_champion(asdict(registry.find(name, None)), as_json)


def _tell_champion(champion: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit({"name": champion["name"], "champion": champion["version"]})
    else:
        stdout.print(f"{champion['name']} serves version {champion['version']} from the next `tulou serve` on")
