"""The cleaning of one source, as a visible list of steps with one signature.

Records stream through in batches; only the steps that look for copies remember what they saw (a digest or a few
kilobytes a record). Every change and loss is a decision, written out with the text before and after, in which sensitive
values are always masked.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tulou.core.progress import Progress
from tulou.core.settings import CleanSettings
from tulou.core.types import DECISION
from tulou.data.clean.characters import collapse_space, fold_characters
from tulou.data.clean.duplicates import exact_duplicate, near_duplicate
from tulou.data.clean.encoding import repair
from tulou.data.clean.markup import strip_markup
from tulou.data.clean.quality import advertising, empty, quality
from tulou.data.clean.record import Decision, Step, judging, rewriting
from tulou.data.clean.sensitive import find_sensitive, kinds_to_drop, protect, redact
from tulou.data.parquet import RowWriter, count_rows, document_writer, read_batches

_EXAMPLES_PER_RULE = 3
_SHOWN_CHARS = 160
_KEPT_CHARS = 2000  # of a text before and after, in decisions.parquet


def build_steps(settings: CleanSettings, is_labelled: bool, token_key: bytes | None = None) -> list[tuple[str, Step]]:
    """What happens to a record, in order. Markup goes before characters are folded, or `＜b＞` would become a tag."""
    steps = [
        ("encoding", rewriting("encoding", repair)),
        ("markup", rewriting("markup", strip_markup)),
        ("characters", rewriting("characters", fold_characters)),
        ("space", rewriting("space", collapse_space)),
        ("empty", judging("empty", empty)),
        ("sensitive", judging("sensitive", _dropping(kinds_to_drop(settings.sensitive)))),
        ("sensitive", rewriting("sensitive", protect(settings.sensitive, token_key))),
        ("quality", judging("quality", quality(settings))),
    ]
    if is_labelled:
        steps.append(("spam", judging("spam", advertising)))
    steps.append(("exact_duplicate", judging("exact_duplicate", exact_duplicate())))
    if settings.near_duplicate_similarity < 1:
        judge = near_duplicate(settings.near_duplicate_similarity, is_labelled)
        steps.append(("near_duplicate", judging("near_duplicate", judge)))
    return steps


def clean(
    documents: Path, out: Path, settings: CleanSettings, progress: Progress, *, token_key: bytes | None = None
) -> dict[str, Any]:
    """Read DOCUMENT rows from the folder `documents`, write the clean ones and `decisions.parquet` into `out`.

    Returns counts of records in, kept, and dropped or changed by "step.rule", with a few examples each. `token_key` is
    wanted only where a kind of sensitive data is to be tokenized; without it that raises `SettingsError`.
    """
    total = count_rows(documents)
    is_labelled = _has_labels(documents)
    steps = build_steps(settings, is_labelled, token_key)
    dropped: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    examples: list[dict[str, Any]] = []
    kept = 0
    with (
        document_writer(out) as cleaned,
        RowWriter(out, "decisions", DECISION, is_one_file=True) as decided,
        progress.bar("clean", total=total, unit="records") as bar,
    ):
        for batch in read_batches(documents):
            rows = batch.num_rows
            for _, step in steps:
                batch, decisions = step(batch)
                for decision in decisions:
                    rule = f"{decision.step}.{decision.rule}"
                    counts = dropped if decision.action == "dropped" else changed
                    counts[rule] += 1
                    row = _written(decision)
                    decided.add(row)
                    if counts[rule] <= _EXAMPLES_PER_RULE:
                        examples.append(_example(row))
            cleaned.write(batch)
            kept += batch.num_rows
            bar.advance(rows)
            bar.note(f"{kept:,} kept")
    return {
        "in": total,
        "kept": kept,
        "dropped": dict(dropped.most_common()),
        "changed": dict(changed.most_common()),
        "examples": sorted(examples, key=lambda example: (example["step"], example["rule"])),
    }


def _has_labels(documents: Path) -> bool:
    return any(
        batch.column("label").null_count < batch.num_rows for batch in read_batches(documents, columns=["label"])
    )


def _dropping(kinds: set[str]) -> Any:
    def judge(row: dict[str, Any]) -> tuple[str, str | None] | None:
        if not kinds:
            return None
        found = [kind for _, _, kind in find_sensitive(row["text"]) if kind in kinds]
        return (found[0], None) if found else None

    return judge


def _written(decision: Decision) -> dict[str, Any]:
    row = asdict(decision)
    for side in ("before", "after"):
        if row[side] is not None:
            row[side] = redact(row[side][: _KEPT_CHARS + 100])[:_KEPT_CHARS]  # cut last, lest half a number stay
    return row


def _example(row: dict[str, Any]) -> dict[str, Any]:
    """The row cut around the first difference."""
    before, after = row["before"] or "", row["after"]
    start = 0
    if row["action"] == "changed" and after is not None:
        shared = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
        start = max(0, shared - _SHOWN_CHARS // 3)
        after = after[start : start + _SHOWN_CHARS]
    return {"step": row["step"], "rule": row["rule"], "before": before[start : start + _SHOWN_CHARS], "after": after}
