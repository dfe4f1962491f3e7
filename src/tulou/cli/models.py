"""Verbs around the registry: models list, show, compare, export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tulou.cli.app import HERE, JsonOption, ProjectOption, app
from tulou.cli.output import emit, human_bytes, plain, stdout, table
from tulou.cli.screens import accuracy_of, figure

models = typer.Typer(help="Registered models: list, show, compare, promote, rollback, export.", no_args_is_help=True)
app.add_typer(models, name="models")

ModelName = Annotated[str, typer.Argument(help="Name of a model, [model.NAME] in tulou.toml.")]


@models.command("list")
def list_models(project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Show every version of every model."""
    from tulou.bootstrap.project import Project

    registry = Project.open(project).registry
    found = [version for name in registry.names() for version in registry.versions(name)]
    if as_json:
        emit({"models": [{**asdict(version), "size_bytes": version.size_bytes} for version in found]})
        return
    rows = table("model", ">version", "", "precision", ">size", ">latency", "accuracy")
    for version in found:
        measured = next((row for row in version.table if row["precision"] == version.precision), None)
        rows.add_row(
            version.name,
            str(version.version),
            "champion" if version.is_champion else "challenger" if version.is_challenger else "",
            version.precision,
            human_bytes(version.size_bytes),
            f"{measured['latency_ms_p50']:.1f} ms" if measured else "",
            accuracy_of(measured) if measured else "",
        )
    stdout.print(rows)
    for version in found:
        if version.is_champion:
            why = plain(f"{version.name} {version.version}: {version.verdict}")
            stdout.print(why, style="dim", soft_wrap=True)


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
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="NAME, NAME@VERSION, NAME@champion or NAME@challenger.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same, of the other.")],
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Show two versions side by side: scores, size, latency, and what was different in their making."""
    from tulou.bootstrap.project import Project
    from tulou.model.versions import compare_versions

    registry = Project.open(project).registry
    found = compare_versions(*(registry.find(*_name_and_version(each)) for each in (a, b)))
    if as_json:
        emit(found)
    else:
        _show_comparison(found)


@models.command()
def export(
    name: ModelName,
    to: Annotated[Path, typer.Option("--to", help="A new or empty folder.")],
    kind: Annotated[str, typer.Option("--format", help="openvino, onnx or safetensors.")] = "openvino",
    version: Annotated[str | None, typer.Option(help="Number or alias, by default the champion.")] = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write a version's files to a folder, for use elsewhere."""
    from tulou.bootstrap.export import export_version
    from tulou.bootstrap.project import Project

    found = export_version(Project.open(project), name, version, kind, to)
    files = sorted(path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file())
    if as_json:
        emit({"name": name, "version": found.version, "format": kind, "folder": str(to.resolve()), "files": files})
    else:
        stdout.print(f"version {found.version} of {name} is in {to}: {', '.join(files)}", soft_wrap=True)


def _name_and_version(asked: str) -> tuple[str, str | None]:
    name, at, version = asked.partition("@")
    return name, version if at else None


def _show_comparison(found: dict[str, Any]) -> None:
    columns = [f"{plain(each['name'])} {each['version']}" for each in (found["a"], found["b"])]
    rows = table("", *(f">{column}" for column in columns), ">difference")
    rows.add_row("precision", *(plain(found[side]["precision"]) for side in ("a", "b")), "")
    for metric in found["metrics"]:
        name, difference = metric["name"], metric["difference"]
        if difference == 0:
            continue
        changed = "" if difference is None else ("+" if difference > 0 else "") + figure(name, difference)
        rows.add_row(name, *("-" if metric[side] is None else figure(name, metric[side]) for side in "ab"), changed)
    stdout.print(rows)
    if alike := [metric["name"] for metric in found["metrics"] if metric["difference"] == 0]:
        stdout.print(f"the same {', '.join(alike)}", style="dim")
    for title, part in (("settings", "settings"), ("data, by fingerprint", "data"), ("code", "code")):
        if not found[part]:
            stdout.print(f"the same {title}", style="dim")
            continue
        rows = table(f"different {title}", *columns)
        for each in found[part]:
            rows.add_row(plain(each["key"]), *("-" if each[side] is None else plain(each[side]) for side in "ab"))
        stdout.print(rows)
    stdout.print(plain(found["verdict"]), soft_wrap=True)
