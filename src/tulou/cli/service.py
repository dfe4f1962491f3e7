"""Verbs around the running service: serve, up, ask, write."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated, Any

import typer

from tulou.cli.app import HERE, JsonOption, ProjectOption, app
from tulou.cli.output import emit, plain, stdout
from tulou.cli.project import run_pipeline


@app.command()
def serve(
    what: Annotated[str, typer.Argument(help="all, gateway (replicas run elsewhere) or replica (one model).")] = "all",
    model: Annotated[str | None, typer.Option(help="Of a replica: the model to serve.")] = None,
    project: ProjectOption = HERE,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT instead of the one in tulou.toml.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the registered models and the applications until Ctrl-C; or only one part of that."""
    if what not in ("all", "gateway", "replica"):
        raise typer.BadParameter(f"{what!r} cannot be served; choose all, gateway or replica", param_hint="what")
    if (what == "replica") != (model is not None):
        raise typer.BadParameter("goes with `tulou serve replica`, which needs it", param_hint="--model")
    from tulou.bootstrap.project import Project
    from tulou.bootstrap.service import serve_project, serve_replica

    opened = Project.open(project, listen)
    if model is not None:
        raise typer.Exit(serve_replica(opened, model))
    serve_project(opened, lambda ready: _show_ready(ready, as_json), has_replicas=what == "all")


@app.command()
def up(
    project: ProjectOption = HERE,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT instead of the one in tulou.toml.")] = None,
    as_json: JsonOption = False,
) -> None:
    """`tulou run`, then `tulou serve`."""
    from tulou.bootstrap.project import Project
    from tulou.bootstrap.service import require_free_port

    require_free_port(Project.open(project, listen).settings.service)  # before minutes of work, not after
    answer = run_pipeline(project, None, [], as_json)
    if as_json:
        emit(answer)
    # In this process's place: what training took of memory, gigabytes, would otherwise stay for as long as it serves.
    sys.stdout.flush()
    wanted = [*(["--listen", listen] if listen else []), *(["--json"] if as_json else [])]
    os.execv(sys.executable, [sys.executable, "-m", "tulou", "serve", "--project", str(project), *wanted])  # noqa: S606


def _show_ready(ready: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(ready)
        return
    url = ready["url"]
    stdout.print(f"\n[green]●[/green] [bold]{url}[/bold] is up", highlight=False)
    stdout.print(f"  customers   {url}/chat")
    stdout.print(f"  console     {url}/")
    stdout.print(f"  content     {url}/content")
    stdout.print(f"  OpenAI API  {url}/v1")
    file = plain(ready["admin_key_file"])
    if key := ready.get("admin_key"):
        stdout.print(f"  key         [bold]{key}[/bold]  [yellow]shown only now[/yellow]; also in {file}")
    else:
        stdout.print(f"  key         in {file}")
    stdout.print("  Ctrl-C stops everything")


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What a customer would ask, in Chinese or English.")],
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Ask the customer-service assistant, without starting the service."""
    from tulou.bootstrap.assistant import answer
    from tulou.bootstrap.project import Project

    found = asyncio.run(answer(Project.open(project), question))
    if as_json:
        emit(found)
        return
    stdout.print(found["text"], markup=False)
    stdout.print(f"\n[dim]{found['kind']}, {found['latency_ms']:.0f} ms, answer {found['turn_id']}[/dim]")
    for source in found["sources"]:
        mark = "•" if source["is_cited"] else " "
        stdout.print(
            f"{mark} {source['heading'] or source['title']} - {source['uri']}",
            markup=False,
            style="dim",
            soft_wrap=True,
        )


@app.command()
def write(
    template: Annotated[str, typer.Argument(help="Name of a template in the project's content folder.")],
    values: Annotated[list[str] | None, typer.Option("--set", help="A field of the template: name=value.")] = None,
    language: Annotated[str | None, typer.Option(help="zh or en; by default the template's own.")] = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write a text from a template, such as `tulou write product-description --set name=...`."""
    from tulou.bootstrap.assistant import compose
    from tulou.bootstrap.project import Project

    def show(text: str) -> None:
        if not as_json:
            stdout.print(text, markup=False, end="", soft_wrap=True)

    found = asyncio.run(compose(Project.open(project), template, fields_of(values or []), language, show))
    if as_json:
        emit(found)
    else:
        stdout.print(f"\n\n[dim]{found['kind']}[/dim]")


def fields_of(values: list[str]) -> dict[str, str]:
    """`["name=Kettle"]` to `{"name": "Kettle"}`."""
    fields = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"{value!r} is not name=value", param_hint="--set")
        fields[name.strip()] = text
    return fields
