"""Verbs that work on a project without serving it: init, run, evaluate, search, iterate, trace, explain,
status, logs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tulou.cli.app import HERE, JsonOption, ProjectOption, app
from tulou.cli.explained import explain_text
from tulou.cli.output import emit, human_seconds, plain, stderr, stdout
from tulou.cli.plan import show_beside
from tulou.cli.progress import Terminal
from tulou.cli.screens import (
    show_exam,
    show_records,
    show_run,
    show_search,
    show_status,
    show_story,
    show_trace,
)
from tulou.core.errors import SettingsError, TulouError
from tulou.core.progress import Silent
from tulou.core.stage import Stage, StageResult


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make; must be new or empty.")],
    template: Annotated[str, typer.Option(help="Sample business to start from.")] = "shop",
    as_json: JsonOption = False,
) -> None:
    """Make a project: tulou.toml with sample data to replace by your own."""
    from tulou.bootstrap.sample import write_project

    if as_json:
        written = write_project(template, folder, Silent())
    else:
        with Terminal(stdout) as terminal:
            written = write_project(template, folder, terminal)
    skipped = [file for file in written if file["skipped"]]
    if as_json:
        emit({"folder": str(folder.resolve()), "template": template, "files": len(written), "skipped": skipped})
        return
    stdout.print(f"[green]✓[/green] wrote {len(written) - len(skipped)} files to [bold]{plain(folder)}[/bold]")
    for file in skipped:
        stdout.print(f"  [yellow]skipped[/yellow] {plain(file['path'])}: {plain(file['skipped'])}")
    stdout.print(f"  next: [bold]tulou up --project {plain(folder)}[/bold]")


@app.command()
def run(
    project: ProjectOption = HERE,
    until: Annotated[
        str | None, typer.Option(help="Stop after this stage, such as 'clean' or 'train.intents'.")
    ] = None,
    redo: Annotated[list[str] | None, typer.Option(help="Forget this stage's output and make it again.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Turn the raw data into a search index and registered models; does only what is not done yet."""
    answer = run_pipeline(project, until, redo or [], as_json)
    if as_json:
        emit(answer)


def run_pipeline(folder: Path, until: str | None, redo: list[str], as_json: bool) -> dict[str, Any]:
    """Run the project's stages and show it; returns the `--json` answer."""
    from tulou.bootstrap.budget import compare_results
    from tulou.bootstrap.pipeline import build_pipeline, require_bases, require_inputs
    from tulou.bootstrap.project import Project

    project = Project.open(folder)
    require_inputs(project)
    for key in project.settings.without_effect():
        stderr.print(f"[yellow]note:[/yellow] {key} in tulou.toml has no effect in this version")
    pipeline = build_pipeline(project)
    pipeline.forget(redo)
    require_bases(project, pipeline, until)
    started = time.monotonic()
    if as_json:
        results = pipeline.run(Silent(), Unseen(), until)
    else:
        with Terminal(stdout) as terminal:
            results = pipeline.run(terminal, terminal, until)
    seconds = round(time.monotonic() - started, 2)
    did_nothing = all(result.is_cached for result in results)
    planned = compare_results(project, [result for result in results if not result.is_cached])
    if not as_json:
        if did_nothing:
            stdout.print(f"nothing to do: all {len(results)} stages are up to date ({human_seconds(seconds)})")
        else:
            show_run(results, seconds, project)
            show_beside(planned)
    return {
        "project": str(project.folder),
        "did_nothing": did_nothing,
        "seconds": seconds,
        "planned": planned,
        "stages": [
            {
                "name": result.name,
                "fingerprint": result.fingerprint,
                "cached": result.is_cached,
                "seconds": result.seconds,
                "summary": result.summary,
            }
            for result in results
        ],
    }


class Unseen:
    """A watcher for `--json`: nobody is looking."""

    def started(self, stage: Stage, index: int, total: int) -> None:
        pass

    def finished(self, result: StageResult, index: int, total: int) -> None:
        pass


@app.command()
def evaluate(
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Take the exam: held-out questions to the whole assistant, and the models' held-out scores."""
    from tulou.bootstrap.assistant import exam
    from tulou.bootstrap.project import Project

    opened = Project.open(project)
    if as_json:
        score = asyncio.run(exam(opened, Silent()))
    else:
        with Terminal(stdout) as terminal:
            score = asyncio.run(exam(opened, terminal))
    models = {name: opened.registry.find(name).metrics for name in opened.settings.models}
    if as_json:
        emit({"exam": score, "models": models})
    else:
        show_exam(score, models)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for, in Chinese or English.")],
    project: ProjectOption = HERE,
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="How many passages.")] = 5,
    language: Annotated[list[str] | None, typer.Option(help="Only passages in it: zh, en or other.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only passages of this [[data.source]].")] = None,
    since: Annotated[str | None, typer.Option(help="Only of documents from then on: 2026-11-30.")] = None,
    until: Annotated[str | None, typer.Option(help="Only of documents up to then, that day included.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find passages in the index."""
    from tulou.bootstrap.assistant import find
    from tulou.bootstrap.project import Project

    for each in set(language or ()) - {"zh", "en", "other"}:
        raise typer.BadParameter(f"{each!r} is no language here; choose zh, en or other", param_hint="--language")
    opened = Project.open(project)
    found = find(opened, query, k, languages=language or (), sources=source or (), since=since, until=until)
    hits = asyncio.run(found)
    if as_json:
        emit({"query": query, "hits": hits})
    else:
        show_search(hits)


@app.command()
def iterate(project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Teach the models what users said: snapshot the feedback, retrain what depends on it, register new versions."""
    from tulou.bootstrap.project import Project
    from tulou.loop.feedback import take_snapshot

    opened = Project.open(project)
    sensitive = opened.settings.data.clean.sensitive
    key = opened.secret("token") if "tokenize" in sensitive.values() else None
    feedback = take_snapshot(opened.state, opened.feedback, sensitive, key)
    if not as_json:
        stdout.print(
            f"feedback: {feedback['given']} given ({feedback['up']} up, {feedback['down']} down, "
            f"{feedback['corrected']} corrected), {feedback['conversations']} to learn from"
        )
    if not feedback["is_new"]:
        if as_json:
            emit({"feedback": feedback, "run": None})
        else:
            stdout.print("nothing new to learn from; rate answers at /chat first")
        return
    answer = run_pipeline(project, None, [], as_json)
    if as_json:
        emit({"feedback": feedback, "run": answer})


@app.command()
def trace(
    answer: Annotated[
        str, typer.Argument(help="Id of an answer, or how it begins, as /chat, `tulou ask` and the console show it.")
    ],
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Walk from an answer back to its model, passages, cleaning decisions and source files."""
    from tulou.bootstrap.pipeline import build_pipeline
    from tulou.bootstrap.project import Project
    from tulou.loop.trace import trace_answer

    opened = Project.open(project)
    done = build_pipeline(opened).latest()
    if "passages" not in done:
        raise TulouError("this project has not been run yet; `tulou run` first")
    cleaned = {name.partition(".")[2]: result.path for name, result in done.items() if name.startswith("clean.")}
    traced = trace_answer(answer, opened.state, cleaned, done["passages"].path)
    if as_json:
        emit(traced)
    else:
        show_trace(traced)


@app.command()
def explain(
    text: Annotated[str | None, typer.Argument(help="A text to explain: what a model makes of it, and why.")] = None,
    model: Annotated[str | None, typer.Option(help="With TEXT: this classifier or chat model only.")] = None,
    label: Annotated[str | None, typer.Option(help="With TEXT: explain this label, not the likeliest.")] = None,
    html: Annotated[Path | None, typer.Option(help="With TEXT: write the explanation to this page too.")] = None,
    record: Annotated[str | None, typer.Option(help="Id of a record, or how it begins.")] = None,
    source: Annotated[str | None, typer.Option(help="List records of this source instead.")] = None,
    rule: Annotated[str | None, typer.Option(help="List records that this rule touched: quality.too_short.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many records to list.")] = 20,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Tell why a model says what it says of TEXT; or one record's whole story; or list records that a rule touched."""
    from tulou.bootstrap.pipeline import build_pipeline
    from tulou.bootstrap.project import Project
    from tulou.data.clean.sensitive import build_guard
    from tulou.data.story import Outputs, list_records, tell_story

    opened = Project.open(project)
    if text is not None:
        explain_text(opened, text, model, label, html, as_json)
        return
    if not record and not source and not rule:
        raise SettingsError(
            "give a TEXT, name a record with --record ID, or list records with --source NAME --rule STEP.RULE"
        )
    done = {name: result.path for name, result in build_pipeline(opened).latest().items()}
    collected, cleaned = (
        {name.partition(".")[2]: path for name, path in done.items() if name.startswith(f"{step}.")}
        for step in ("collect", "clean")
    )
    if not collected:
        raise TulouError("this project has not been run yet; `tulou run` first")
    datasets = {name: path for name, path in done.items() if name.startswith(("split.", "examples."))}
    outputs = Outputs(collected, cleaned, done.get("passages"), datasets)
    if record:
        settings = opened.settings.data.clean
        key = opened.secret("token") if "tokenize" in settings.sensitive.values() else None
        redact = build_guard(settings, key, opened.folder).redact
        story = tell_story(record, outputs, redact, opened.state)
        emit(story) if as_json else show_story(story)
    else:
        listing = list_records(outputs, source, rule, limit)
        emit(listing) if as_json else show_records(listing)


@app.command()
def reveal(
    text: Annotated[str, typer.Argument(help="A token such as [phone:…], or a text with tokens in it.")],
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Turn the tokens of sensitive data back into values, with the key of the project that made them."""
    from tulou.bootstrap.project import Project
    from tulou.data.clean.sensitive import reveal as revealed

    opened = Project.open(project)
    if not opened.has_secret("token"):
        raise TulouError(f"{opened.folder} has made no tokens: it has no .tulou/token.secret to turn them back with")
    value = revealed(text, opened.secret("token"))
    if as_json:
        emit({"text": value})
    else:
        stdout.print(plain(value))


@app.command()
def status(project: ProjectOption = HERE, as_json: JsonOption = False) -> None:
    """Say what was run, which models are registered, and whether the service is up and how it feels."""
    from tulou.bootstrap.project import Project
    from tulou.bootstrap.status import project_status

    found = project_status(Project.open(project))
    if as_json:
        emit(found)
    else:
        show_status(found)


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="Only logs whose name starts so, such as 'service'.")] = None,
    project: ProjectOption = HERE,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing new lines until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what the service and its replicas logged."""
    from tulou.bootstrap.project import Project
    from tulou.ops import logs as log_files

    folder = Project.open(project).logs
    records = log_files.tail(folder, name, lines)
    if as_json and not follow:
        emit({"records": records})
        return
    for record in records:
        _print_record(record, as_json)
    if follow:
        for record in log_files.follow(folder, name):
            _print_record(record, as_json)


def _print_record(record: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(record)
        return
    level = str(record["log.level"])
    colour = {"warning": "yellow", "error": "red", "critical": "red"}.get(level, "dim")
    stdout.print(f"[dim]{str(record['@timestamp'])[:23]:<23}[/dim] [{colour}]{level:<8}[/{colour}] ", end="")
    stdout.print(f"{record['log']}: {record.get('message', '')}", markup=False)
