"""What cleaning steps pass on: a record batch, and a decision for each record they changed or dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tulou.core.types import DOCUMENT
from tulou.data.language import detect


@dataclass(frozen=True)
class Decision:
    """One thing a step did to one record; the row of DECISION."""

    record_id: str
    uri: str
    position: str
    step: str
    rule: str
    action: str  # "changed" or "dropped"
    before: str | None
    after: str | None


Step = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, list[Decision]]]

Rewrite = Callable[[str], tuple[str, list[str]]]
"""A text to the better text and the rules that changed it, none if it is as it was."""

Judge = Callable[[dict[str, Any]], tuple[str, str | None] | None]
"""A row to the rule that drops it with a remark (the kept copy's id), or None to keep it."""


def rewriting(step: str, rewrite: Rewrite) -> Step:
    """The step that applies `rewrite` to titles and texts."""

    def run(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Decision]]:
        rows = batch.select(["id", "uri", "position"]).to_pylist()
        titles, texts, languages = (batch.column(name).to_pylist() for name in ("title", "text", "language"))
        decisions: list[Decision] = []
        for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
            title = titles[number]
            titles[number], title_rules = rewrite(title)
            texts[number], rules = rewrite(text)
            before, after = (text, texts[number]) if rules else (title, titles[number])
            if rules:
                languages[number] = detect(after)
            place = (row["id"], row["uri"], row["position"], step)
            decisions += [Decision(*place, rule, "changed", before, after) for rule in rules or title_rules]
        if not decisions:
            return batch, []
        columns = {name: batch.column(name) for name in DOCUMENT.names}
        columns |= {"title": pa.array(titles), "text": pa.array(texts), "language": pa.array(languages)}
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=DOCUMENT), decisions

    return run


def judging(step: str, judge: Judge) -> Step:
    """The step that drops the rows that `judge` names a rule for."""

    def run(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Decision]]:
        kept: list[bool] = []
        decisions: list[Decision] = []
        for row in batch.to_pylist():
            verdict = judge(row)
            kept.append(verdict is None)
            if verdict is not None:
                place = (row["id"], row["uri"], row["position"], step)
                decisions.append(Decision(*place, verdict[0], "dropped", row["text"], verdict[1]))
        return (batch.filter(pa.array(kept)) if decisions else batch), decisions

    return run
