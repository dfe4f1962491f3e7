"""What `tulou explain TEXT` shows: the text with its words coloured, the training rows like it, the passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from tulou.cli.output import emit, plain, stdout, table

if TYPE_CHECKING:
    from tulou.bootstrap.project import Project

SHOWN = 8  # tokens, the strongest
_FOR, _AGAINST = (47, 125, 91), (180, 83, 60)


def explain_text(
    project: Project, text: str, model: str | None, label: str | None, html: Path | None, as_json: bool
) -> None:
    from tulou.bootstrap import explain

    found = explain.explain_text(project, text, model, label)
    if html is not None:
        from tulou.model.explain import explanation_page

        html.write_text(explanation_page(found), encoding="utf-8")
    if as_json:
        emit(found)
        return
    show_explanation(found)
    if html is not None:
        stdout.print(f"written to {plain(html)}", soft_wrap=True)


def show_explanation(found: Mapping[str, Any]) -> None:
    if found["classification"]:
        _show_classification(found)
    if found["passages"]:
        _show_passages(found["passages"])
    elif reason := found.get("no_passages_because"):
        stdout.print(f"\nno passages: {plain(reason)}", soft_wrap=True)


def _show_classification(found: Mapping[str, Any]) -> None:
    told = found["classification"]
    others = ", ".join(f"{plain(label)} {share:.1%}" for label, share in told["labels"] if label != told["label"])
    stdout.print(f"[bold]{plain(found['model'])}[/bold] says [bold]{plain(told['label'])}[/bold], "
                 f"{told['probability']:.1%} sure [dim]({others})[/dim]")  # fmt: skip
    stdout.print(coloured(told["text"], told["tokens"]))
    words = _figures_whole(table("word", ">speaks for it", title="\nWords"))
    spoken = [token for token in told["tokens"] if token["text"].strip()]
    for token in sorted(spoken, key=lambda token: -abs(token["score"]))[:SHOWN]:
        words.add_row(plain(token["text"]), f"{token['score']:+.3f}")
    stdout.print(words)
    if len(spoken) > SHOWN:
        stdout.print(f"[dim]{SHOWN} of {len(spoken)} tokens shown, the strongest; --json and --html tell all[/dim]")
    stdout.print(
        f"[dim]scores add up to the logits' difference of {told['logit'] - told['baseline_logit']:+.3f} but for "
        f"{told['completeness_error']:+.4f} ({told['relative_error']:.2%}), in {told['steps']} steps[/dim]"
    )
    rows = _figures_whole(table(">cosine", "label", "training row", "record", title="\nNearest training rows"))
    for row in found["neighbours"]:
        rows.add_row(
            f"{row['cosine']:.3f}", plain(row["label"]), plain(" ".join(row["text"].split())), plain(row["document_id"])
        )
    stdout.print(rows)
    stdout.print("[dim]tulou explain --record RECORD tells where one comes from[/dim]")
    if found["is_champion"] is False:
        stdout.print("[yellow]note:[/yellow] of the last run; what the serving version was made of is gone")


def _show_passages(passages: Sequence[Mapping[str, Any]]) -> None:
    rows = _figures_whole(table(">score", ">cosine", ">words", "passage", "document", title="\nPassages"))
    for hit in passages:
        said = " ".join(hit["text"].split())
        rows.add_row(
            f"{hit['score']:.4f}", f"{hit['cosine']:.2f}", f"{hit['lexical']:.2f}",
            plain(f"{hit['heading'] or hit['title']}: {said}"), plain(hit["uri"]),
        )  # fmt: skip
    stdout.print(rows)


def _figures_whole(rows: Table) -> Table:
    """`rows` whose numbers keep to one line, however much the texts beside them ask for."""
    for column in rows.columns:
        column.no_wrap = column.justify == "right"
    return rows


def coloured(text: str, tokens: Sequence[Mapping[str, Any]]) -> Text:
    """`text` with each token on a background as strong as its score: green speaks for the label, red against it."""
    shown = Text(text)
    most = max((abs(token["score"]) for token in tokens), default=0.0) or 1.0
    for token in tokens:
        share = abs(token["score"]) / most
        if token["start"] < token["end"] and share > 0.05:
            red, green, blue = (round(part * share) for part in (_FOR if token["score"] > 0 else _AGAINST))
            shown.stylize(f"white on rgb({red},{green},{blue})", token["start"], token["end"])
    return shown
