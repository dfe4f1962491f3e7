"""Verbs by which a version comes to serve: models promote, rollback, canary, advance. A running service follows."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tulou.cli.app import HERE, JsonOption, ProjectOption
from tulou.cli.models import ModelName, models
from tulou.cli.output import emit, stdout


@models.command()
def promote(
    name: ModelName,
    version: Annotated[int, typer.Argument(help="Version that shall serve.")],
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Make a version the champion, which a running service switches to without dropping a request."""
    from tulou.bootstrap.project import Project

    registry = Project.open(project).registry
    registry.promote(name, version)
    _tell({"name": name, "champion": registry.find(name).version}, as_json)


@models.command()
def rollback(name: ModelName, project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """End the trial of a version; where there is none, return to the version that served before."""
    from tulou.bootstrap.project import Project
    from tulou.bootstrap.rollout import roll_back

    _tell({"name": name, "champion": roll_back(Project.open(project), name).version}, as_json)


@models.command()
def canary(
    name: ModelName,
    version: Annotated[int | None, typer.Argument(help="By default the challenger.")] = None,
    share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Of the requests that it answers.", show_default="first of rollout.steps"),
    ] = None,
    shadow: Annotated[
        float, typer.Option(min=0, max=1, help="Of the requests that it gets copies of; nobody sees its answers.")
    ] = 0.0,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Try a version out beside the champion."""
    from tulou.bootstrap.project import Project
    from tulou.bootstrap.rollout import try_out

    found = try_out(Project.open(project), name, version, share, shadow)
    if as_json:
        emit(found)
        return
    parts = [f"answers {found['share']:.0%} of the requests"] if found["share"] else []
    parts += [f"gets copies of {found['shadow']:.0%}"] if found["shadow"] else []
    stdout.print(f"version {found['version']} of {name} {' and '.join(parts)}")


@models.command()
def advance(
    name: ModelName,
    force: Annotated[bool, typer.Option("--force", help="Whatever the gates of [rollout] say.")] = False,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Give the version that is tried out the next step's share, if it has answered well so far."""
    from tulou.bootstrap import rollout
    from tulou.bootstrap.project import Project

    found = rollout.advance(Project.open(project), name, force)
    if as_json:
        emit(found)
    else:
        what = "serves alone" if found["share"] >= 1 else f"answers {found['share']:.0%} of the requests"
        stdout.print(f"version {found['version']} of {name} {what}: {found['reason']}")


def _tell(champion: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(champion)
    else:
        stdout.print(f"{champion['name']} serves version {champion['champion']}")
