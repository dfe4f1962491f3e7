"""One screen for each thing a person asks about: a run, an exam, a search, a trace, the state of the project."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.text import Text

from tulou.cli.output import human_bytes, human_seconds, plain, stdout, table
from tulou.cli.plan import show_beside
from tulou.core.stage import StageResult

if TYPE_CHECKING:
    from tulou.bootstrap.project import Project


def show_run(results: Sequence[StageResult], seconds: float, project: Project) -> None:
    """The summary at the end of a run."""
    by_name = {result.name: result for result in results}
    _show_cleaning(by_name)
    _show_models(by_name)
    if exam := by_name.get("exam"):
        _show_score(exam.summary)
    peak = max((result.peak_rss_bytes for result in results if not result.is_cached), default=0)
    stdout.print(f"\n[green]done[/green] in {human_seconds(seconds)}, at most {human_bytes(peak)} of memory")
    if report := by_name.get("report"):
        stdout.print(f"what was cleaned and why: {plain(report.path / 'report.html')}", soft_wrap=True)
        stdout.print("records that a rule touched: tulou explain --source NAME --rule STEP.RULE", soft_wrap=True)
    if project.running_service():
        stdout.print("the running service follows: versions that were promoted answer once their replicas are ready")


def _show_cleaning(results: Mapping[str, StageResult]) -> None:
    rows = table("source", ">in", ">kept", ">copies", ">masked", "dropped mostly because of", title="\nData")
    for name, result in results.items():
        if name.startswith("clean."):
            summary = result.summary
            reasons = sorted(summary["dropped"].items(), key=lambda item: -item[1])[:3]
            copies = sum(count for rule, count in summary["dropped"].items() if "_duplicate." in rule)
            masked = sum(count for rule, count in summary["changed"].items() if rule.startswith("sensitive."))
            rows.add_row(
                name.partition(".")[2],
                f"{summary['in']:,}",
                f"{summary['kept']:,}",
                f"{copies:,}",
                f"{masked:,}",
                "\n".join(f"{count:,} {plain(reason)}" for reason, count in reasons),
            )
    if rows.row_count:
        stdout.print(rows)


def _show_models(results: Mapping[str, StageResult]) -> None:
    rows = table("model", "precision", ">size", ">latency", "accuracy", "", title="\nModels")
    for name, result in results.items():
        if not name.startswith("compress."):
            continue
        for row in result.summary.get("table", ()):
            chosen = "serves" if row["precision"] == result.summary.get("chosen") else ""
            rows.add_row(
                name.partition(".")[2],
                row["precision"],
                human_bytes(row["size_bytes"]),
                f"{row['latency_ms_p50']:.1f} ms",
                accuracy_of(row),
                chosen,
            )
    if rows.row_count:
        stdout.print(rows)
    for name, result in results.items():
        if name.startswith("compress.") and len(result.summary.get("table", ())) > 1:
            stdout.print(f"  {plain(name.partition('.')[2])}: {plain(result.summary['reason'])}", style="dim")


def accuracy_of(row: Mapping[str, Any]) -> str:
    """A classifier's accuracy, or a language model's perplexity and next-token accuracy."""
    if "accuracy" in row:
        validation = row.get("validation_accuracy")
        return f"{row['accuracy']:.1%}" + (f", validation {validation:.1%}" if validation is not None else "")
    return f"{row['token_accuracy']:.1%} of tokens, perplexity {row['perplexity']:.1f}"


def figure(metric: str, value: float) -> str:
    """A metric of the registry, where every number is a float: sizes with their unit, counts without a fraction."""
    if metric == "size_bytes":
        return ("-" if value < 0 else "") + human_bytes(abs(value))
    if metric == "latency_ms_p50":
        return f"{value:.2f} ms"
    is_count = value == int(value) and value != 1
    return f"{value:,.0f}" if is_count else f"{value:.4f}"


def _show_score(score: Mapping[str, Any]) -> None:
    stdout.print("\n[bold]Exam[/bold]")
    asked = score["questions"]
    stdout.print(f"right document in the top 3   {score['in_top_3']}/{asked}")
    stdout.print(f"right source cited            {score['cited_right']}/{asked}")
    stdout.print(f"off-topic questions declined  {score['off_topic_declined']}/{score['off_topic']}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in score["kinds"].items())
    stdout.print(f"answers                       {kinds}")


def show_exam(score: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> None:
    _show_score(score)
    misses = [
        row
        for row in score["rows"]
        if (row["on_topic"] and not (row["in_top_3"] and row["cited_right"]))
        or (not row["on_topic"] and row["kind"] != "declined")
    ]
    if misses:
        rows = table("missed", "expected", "cited", title="\nMisses")
        for row in misses:
            expected, cited = ", ".join(row["expected"]) or "decline", ", ".join(row["cited"]) or row["kind"]
            rows.add_row(plain(row["question"]), plain(expected), plain(cited))
        stdout.print(rows)
    rows = table("model", "held-out scores", title="\nModels")
    for name, metrics in models.items():
        shown = ", ".join(f"{key} {figure(key, value)}" for key, value in metrics.items() if isinstance(value, float))
        rows.add_row(name, shown or "-")
    stdout.print(rows)


def show_search(hits: Sequence[Mapping[str, Any]]) -> None:
    if not hits:
        stdout.print("nothing found")
    for rank, hit in enumerate(hits, 1):
        stdout.print(f"[bold]{rank}.[/bold] ", end="")
        stdout.print(hit["heading"] or hit["title"], markup=False, style="bold", end="  ")
        stdout.print(f"{hit['uri']} {hit['position']}", markup=False, style="dim", soft_wrap=True)
        stdout.print(f"   [dim]lexical {hit['lexical']:.2f}, cosine {hit['cosine']:.2f}[/dim]")
        stdout.print("   " + " ".join(hit["text"].split())[:300], markup=False)


def show_trace(traced: Mapping[str, Any]) -> None:
    answer = traced["answer"]
    stdout.print(f"[bold]question[/bold]  {plain(answer['question'])}")
    stdout.print(f"[bold]answer[/bold]    {plain(answer['answer'])}  [dim]({answer['kind']})[/dim]")
    stdout.print(f"[bold]model[/bold]     {traced['model']['name']} version {traced['model']['version'] or '-'}")
    if rated := traced["feedback"]:
        stdout.print(
            f"[bold]feedback[/bold]  {'up' if rated['rating'] > 0 else 'down'} {plain(rated['comment'] or '')}"
        )
    for passage in traced["passages"]:
        document = passage["document"] or {}
        stdout.print(f"[bold]passage[/bold]   {plain(passage['heading'] or passage['title'])}")
        stdout.print(
            f"  from     {plain(document.get('uri'))} {plain(document.get('position'))} ({document.get('media_type')})"
        )
        stdout.print(
            f"  content  sha256 {document.get('content_hash')}, changed {document.get('modified_at')}", soft_wrap=True
        )
        cleaned = ", ".join(f"{row['step']}.{row['rule']}" for row in passage["decisions"])
        stdout.print(f"  cleaned  {cleaned or 'kept as it came'}", soft_wrap=True)


def show_story(story: Mapping[str, Any]) -> None:
    _fact("record", story["id"])
    place = " ".join(part for part in (story["uri"], story["position"]) if part)
    _fact("from", f"{place} ({story['media_type']}), source {story['source']}")
    _fact("content", f"sha256 {story['content_hash']}, changed {story['modified_at']}")
    if about := [f"{key} {story[name]}" for name, key in (("label", "label"), ("subject_id", "by")) if story[name]]:
        _fact("about", ", ".join(about))
    _fact("collected", f"{story['collected']['chars']:,} characters, {story['collected']['language']}")
    _text(story["collected"]["text"])
    for number, decision in enumerate(story["decisions"], 1):
        remark = f" ({decision['after']})" if decision["action"] == "dropped" and decision["after"] else ""
        _fact(f"{number}. {decision['action']}", f"{decision['step']}.{decision['rule']}{remark}")
        if decision["action"] != "dropped" and decision["before"] != decision["after"]:
            _text(decision["before"], "- ")
            _text(decision["after"], "+ ")
    _fact("fate", f"dropped by {story['dropped_by']}" if story["fate"] == "dropped" else story["fate"])
    if copy := story["kept_copy"]:
        _fact("kept instead", f"{copy['id']}  {copy['uri'] or ''} {copy['position'] or ''}")
        _text(copy["text"])
    if cleaned := story["cleaned"]:
        _fact("clean text", f"{cleaned['chars']:,} characters, {cleaned['language']}")
        _text(cleaned["text"])
        _show_uses(story)


def _show_uses(story: Mapping[str, Any]) -> None:
    if copies := story["copies"]["count"]:
        _fact("stands for", f"{copies:,} {'copy' if copies == 1 else 'copies'}: {', '.join(story['copies']['ids'])}")
    for passage in story["passages"]:
        _fact("passage", f"{passage['id']}  {passage['chars']:,} characters  {passage['heading']}")
    for dataset in story["datasets"]:
        _fact("used in", f"{dataset['stage']}: {dataset['rows']:,} for {dataset['split']}")
    for answer in story["answers"]:
        _fact("answer", f"{answer['id']}  {answer['question']}")


def _fact(name: str, value: str) -> None:
    stdout.print(f"[bold]{plain(name):<13}[/bold] {plain(value)}", soft_wrap=True)


def _text(text: str | None, mark: str = "") -> None:
    for line in (text or "").splitlines():
        seen = "".join(char if char.isprintable() else " " for char in line)
        stdout.print(Padding(Text(mark + seen), (0, 0, 0, 2)))


def show_records(listing: Mapping[str, Any]) -> None:
    for record in listing["records"]:
        where = f"{record['source']} {record['uri']} {record['position']}"
        stdout.print(
            f"[bold]{plain(record['id'])}[/bold] {record['action']} by {plain(record['rule'])}", soft_wrap=True
        )
        stdout.print(f"  {plain(where)}", style="dim", soft_wrap=True)
        _text(" ".join((record["before"] or "").split())[:150])
    stdout.print(f"{len(listing['records']):,} of {listing['total']:,}; tulou explain --record ID tells one's story")


def show_status(status: Mapping[str, Any]) -> None:
    if at_work := status["run_at_work"]:
        whole, here = (
            human_seconds(max(0.0, time.time() - at_work[key])) for key in ("started_at", "stage_started_at")
        )
        stdout.print(
            f"[bold]run[/bold]       at work for {whole} (process {at_work['pid']}): {plain(at_work['title'])}, stage "
            f"{at_work['index']} of {at_work['total']}, for {here}",
            soft_wrap=True,
        )
    run = status["last_run"]
    if run:
        ago = human_seconds(max(0.0, time.time() - run["finished_at"]))
        stdout.print(f"[bold]last run[/bold]  {ago} ago, {run['stages']} stages")
    else:
        stdout.print("[bold]last run[/bold]  never; `tulou run` makes the first")
    if run and run["exam"]:
        exam = run["exam"]
        asked = exam["questions"]
        stdout.print(
            f"[bold]exam[/bold]      found {exam['in_top_3']}/{asked}, cited {exam['cited_right']}/{asked}, "
            f"declined {exam['off_topic_declined']}/{exam['off_topic']} off-topic"
        )
    show_beside(status["planned"])
    for model in status["models"]:
        stdout.print(f"[bold]model[/bold]     {model['name']} version {model['version']} ({model['precision']})")
    if not status["running"]:
        stdout.print("[bold]service[/bold]   not running; `tulou serve` starts it")
        return
    stdout.print(f"[bold]service[/bold]   {status['url']} (process {status['pid']})")
    rows = table("replica", "state", ">process", ">restarts", ">memory", ">in flight")
    for replica in status["replicas"]:
        rows.add_row(
            replica["name"],
            replica["state"],
            str(replica["pid"] or "-"),
            str(replica["restarts"]),
            human_bytes(replica["rss_bytes"]),
            str(replica["in_flight"]),
        )
    stdout.print(rows)
    for replica in status["replicas"]:
        if replica["state"] == "crash_loop":
            stdout.print(f"[red]{plain(replica['name'])} keeps crashing:[/red] {plain(replica['last_exit'] or '')}")
    for each in status["scalings"][-5:]:
        ago = human_seconds(max(0.0, time.time() - each["at"]))
        stdout.print(
            f"{plain(each['model'])} went from {each['before']} to {each['after']} replicas {ago} ago: "
            f"{plain(each['why'])}",
            style="dim",
        )
