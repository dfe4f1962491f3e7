"""What cleaning steps pass on: a record batch, and a decision for each record they changed or dropped.

Between steps a batch carries what the survey saw of each text. A rule states which traits it waits for and is asked
only about those rows; rows that it changes are surveyed again. Rows that one drops stay in the batch, marked, and are
asked about no more, until `without_dropped` takes them out: each time that costs a copy of all that stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tulou.core.tables import DECISION, DOCUMENT
from tulou.data.kernels.scripts import languages
from tulou.data.kernels.survey import Count, Survey, Trait, survey

_DECISION_CHARS = 400  # of a text before and after, around what was changed
_CONTEXT_CHARS = 80  # of them before the first difference
_SLACK_CHARS = 64
_JUDGED = ["id", "uri", "position", "title", "text", "language", "traits"]


class Decision(NamedTuple):
    """One thing a step did to one record; the row of DECISION."""

    record_id: str
    uri: str
    position: str
    step: str
    rule: str
    action: str  # "changed", "reported" (would be changed) or "dropped"
    before: str | None
    after: str | None


SURVEYED = pa.schema(
    [
        *DOCUMENT,
        pa.field("traits", pa.uint32()),
        pa.field("title_traits", pa.uint32()),
        pa.field("counts", pa.list_(pa.int32(), len(Count))),
        pa.field("is_dropped", pa.bool_()),
    ]
)

Step = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, list[Decision]]]
"""A SURVEYED batch to the same rows, some changed, some marked as dropped, and what was done to them."""

Rewrite = Callable[[str], tuple[str, list[str]]]
"""A text to the better text and the rules that changed it, none if it is as it was."""

Informed = Callable[[str, int], tuple[str, list[str]]]
"""A rewrite that is told the traits of the text, too."""

Judge = Callable[[dict[str, Any]], tuple[str, str | None] | None]
"""A row, `_JUDGED` of it, to the rule that drops it with a remark (the kept copy's id), or None to keep it."""

Look = Callable[[pa.StringArray], Survey]

Mask = NDArray[np.bool_]

Wake = Callable[[pa.RecordBatch], Mask]
"""Which rows of a SURVEYED batch a judge has to be asked about."""


def always(batch: pa.RecordBatch) -> Mask:
    return np.ones(batch.num_rows, dtype=bool)


def with_survey(batch: pa.RecordBatch, look: Look = survey) -> pa.RecordBatch:
    """A DOCUMENT batch as steps take it."""
    seen = look(batch.column("text"))
    columns = [batch.column(name) for name in DOCUMENT.names]
    columns += [pa.array(seen.traits), pa.array(look(batch.column("title")).traits), _counts_array(seen.counts)]
    columns.append(pa.array(np.zeros(batch.num_rows, dtype=bool)))
    return pa.RecordBatch.from_arrays(columns, schema=SURVEYED)


def without_dropped(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.filter(pc.invert(batch.column("is_dropped"))) if rows_left(batch) < batch.num_rows else batch


def rows_left(batch: pa.RecordBatch) -> int:
    left: int = batch.num_rows - batch.column("is_dropped").true_count
    return left


def part_of(batch: pa.RecordBatch, rows: NDArray[np.int64]) -> pa.RecordBatch:
    """Only these `rows`, for steps that touch no others."""
    return batch.take(pa.array(rows))


def put_back(batch: pa.RecordBatch, rows: NDArray[np.int64], part: pa.RecordBatch) -> pa.RecordBatch:
    """`batch` with what steps that only rewrite made of its `part`."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name in ("text", "title", "language"):
        columns[name] = _with(columns[name], rows, part.column(name))
    for name in ("traits", "title_traits"):
        known = columns[name].to_numpy().copy()
        known[rows] = part.column(name).to_numpy()
        columns[name] = pa.array(known)
    counts = survey_of(batch).counts.copy()
    counts[rows] = survey_of(part).counts
    columns["counts"] = _counts_array(counts)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=SURVEYED)


def without_survey(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.select(DOCUMENT.names)


def survey_of(batch: pa.RecordBatch) -> Survey:
    counts = batch.column("counts").flatten().to_numpy().reshape(batch.num_rows, len(Count))
    return Survey(batch.column("traits").to_numpy(), counts)


def rewriting(
    step: str, rewrite: Rewrite, waits_for: Trait | None, look: Look = survey, *, leaves_titles: bool = False
) -> Step:
    """The step that applies `rewrite` to texts and titles that have one of the traits; None: to all."""
    return rewriting_informed(step, lambda text, _: rewrite(text), waits_for, look, leaves_titles=leaves_titles)


def rewriting_informed(
    step: str, rewrite: Informed, waits_for: Trait | None, look: Look = survey, *, leaves_titles: bool = False
) -> Step:
    """The same for a rewrite that is told the traits."""

    def run(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Decision]]:
        texts = _rewritten(batch, "text", "traits", waits_for, rewrite)
        titles = {} if leaves_titles else _rewritten(batch, "title", "title_traits", waits_for, rewrite)
        if not texts and not titles:
            return batch, []
        return _replaced(batch, texts, titles, look), _changes(batch, step, texts, titles)

    return run


def reporting(step: str, rewrite: Rewrite, waits_for: Trait | None) -> Step:
    """The step that says what `rewrite` would do, and leaves everything as it is."""

    def run(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Decision]]:
        texts = _rewritten(batch, "text", "traits", waits_for, lambda text, _: rewrite(text))
        return batch, _changes(batch, step, texts, {}, "reported")

    return run


def judging(step: str, judge: Judge, wake: Wake = always) -> Step:
    """The step that drops the rows that `judge` names a rule for."""

    def run(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Decision]]:
        is_dropped = _dropped(batch)
        asked = np.flatnonzero(wake(batch) & ~is_dropped)
        if len(asked) == 0:
            return batch, []
        rows = batch.select(_JUDGED).take(pa.array(asked)).to_pylist()
        decisions: list[Decision] = []
        for number, row in zip(asked, rows, strict=True):
            verdict = judge(row)
            if verdict is not None:
                is_dropped[number] = True
                place = (row["id"], row["uri"], row["position"], step)
                decisions.append(Decision(*place, verdict[0], "dropped", row["text"], verdict[1]))
        if decisions:
            batch = batch.set_column(batch.schema.get_field_index("is_dropped"), "is_dropped", pa.array(is_dropped))
        return batch, decisions

    return run


def _dropped(batch: pa.RecordBatch) -> Mask:
    """Which rows are dropped already; a copy."""
    is_dropped: Mask = batch.column("is_dropped").to_numpy(zero_copy_only=False)
    return is_dropped.copy()


Changes = dict[int, tuple[str, str, list[str]]]  # row to the text before, after, and the rules


def _rewritten(batch: pa.RecordBatch, column: str, traits: str, waits_for: Trait | None, rewrite: Informed) -> Changes:
    """What `rewrite` makes of the texts in `column` whose `traits` it waits for."""
    known = batch.column(traits).to_numpy()
    is_asked = ~_dropped(batch)
    if waits_for is not None:
        is_asked &= (known & np.uint32(waits_for)) != 0
    rows = np.flatnonzero(is_asked)
    found: Changes = {}
    asked = zip(rows.tolist(), known[rows].tolist(), batch.column(column).take(pa.array(rows)).to_pylist(), strict=True)
    for row, of_text, text in asked:
        after, rules = rewrite(text, of_text)
        if rules:
            found[row] = (text, after, rules)
    return found


def _replaced(batch: pa.RecordBatch, texts: Changes, titles: Changes, look: Look) -> pa.RecordBatch:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    if texts:
        seen = survey_of(batch)
        traits, counts = seen.traits.copy(), seen.counts.copy()
        rows = np.fromiter(texts, dtype=np.int64)
        after = pa.array([change[1] for change in texts.values()], pa.string())
        anew = look(after)
        traits[rows], counts[rows] = anew.traits, anew.counts
        columns["text"] = _with(columns["text"], rows, after)
        columns["language"] = _with(columns["language"], rows, languages(after))
        columns["traits"], columns["counts"] = pa.array(traits), _counts_array(counts)
    if titles:
        rows = np.fromiter(titles, dtype=np.int64)
        after = pa.array([change[1] for change in titles.values()], pa.string())
        title_traits = batch.column("title_traits").to_numpy().copy()
        title_traits[rows] = look(after).traits
        columns["title"], columns["title_traits"] = _with(columns["title"], rows, after), pa.array(title_traits)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=SURVEYED)


def _with(column: pa.StringArray, rows: NDArray[np.int64], values: pa.StringArray) -> pa.StringArray:
    mask = np.zeros(len(column), dtype=bool)
    mask[rows] = True
    return pc.replace_with_mask(column, pa.array(mask), values)


def _counts_array(counts: NDArray[np.int32]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(counts).ravel()), len(Count))


def _changes(
    batch: pa.RecordBatch, step: str, texts: Changes, titles: Changes, action: str = "changed"
) -> list[Decision]:
    """One decision for each rule that touched a row; its text speaks for its title."""
    rows = sorted({*texts, *titles})
    places = batch.select(["id", "uri", "position"]).take(pa.array(rows, pa.int64())).to_pylist()
    decisions = []
    for row, place in zip(rows, places, strict=True):
        before, after, rules = texts.get(row) or titles[row]
        decisions += [
            Decision(place["id"], place["uri"], place["position"], step, rule, action, before, after) for rule in rules
        ]
    return decisions


@dataclass(frozen=True)
class Redaction:
    """How texts are shown to people: with sensitive values masked, where a text may have any."""

    redact: Callable[[str, int], str]  # told the traits of the text
    waits_for: Trait | None  # None: every text has to be looked at
    look: Look = survey
    masked_in: frozenset[str] = frozenset()  # steps that see texts with everything masked already
    masked_by: str = ""  # the step that masks them
    mark_of: Callable[[str], str] = str  # a rule of that step to what begins where it put something

    def __call__(self, texts: Sequence[str]) -> list[str]:
        shown = list(texts)
        traits = self.look(pa.array(shown, pa.string())).traits
        rows = range(len(shown)) if self.waits_for is None else np.flatnonzero(traits & np.uint32(self.waits_for))
        for row in rows:
            shown[row] = self.redact(shown[row], int(traits[row]))
        return shown

    def is_masked(self, decision: Decision) -> bool:
        """Whether the texts of `decision` may be shown as they are, `before` being what its step made of it."""
        return decision.step in self.masked_in or (decision.step == self.masked_by and decision.action == "changed")


def decision_batch(decisions: Sequence[Decision], redact: Redaction) -> pa.RecordBatch:
    """DECISION rows: the texts cut around what was changed, with no sensitive value to be read in them."""
    shown: dict[_Key, tuple[str | None, str | None]] = {}
    waiting: dict[_Key, tuple[_Cut | None, _Cut | None]] = {}
    keys = [_key(decision, redact) for decision in decisions]
    for decision, key in zip(decisions, keys, strict=True):
        if key in shown or key in waiting:
            continue
        if decision.step == redact.masked_by and redact.is_masked(decision):
            place = (decision.after or "").find(redact.mark_of(decision.rule))
            marked = _cut(decision.after or "", max(0, place - _CONTEXT_CHARS))
            shown[key] = (marked.trimmed(marked.text),) * 2
            continue
        before, after = _cuts(decision)
        if not redact.is_masked(decision):
            waiting[key] = before, after
        else:
            shown[key] = before and before.trimmed(before.text), after and after.trimmed(after.text)
    masked = iter(redact([cut.text for pair in waiting.values() for cut in pair if cut is not None]))
    for key, (before, after) in waiting.items():
        shown[key] = before and before.trimmed(next(masked)), after and after.trimmed(next(masked))
    columns = [list(column) for column in zip(*decisions, strict=True)][:6] if decisions else [[]] * 6
    columns.append([shown[key][0] for key in keys])
    columns.append(
        [
            decision.after if decision.action == "dropped" else shown[key][1]
            for decision, key in zip(decisions, keys, strict=True)
        ]
    )
    return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], schema=DECISION)


_Key = tuple[int, int, str]


def _key(decision: Decision, redact: Redaction) -> _Key:
    """One pair of texts often serves several rules; what is masked is shown around each one's own mark."""
    return id(decision.before), id(decision.after), decision.rule if decision.step == redact.masked_by else ""


class _Cut(NamedTuple):
    """A stretch of a text, with some slack to be cut off after masking, lest half a number stay at an edge."""

    text: str
    slack_before: int
    slack_after: int

    def trimmed(self, masked: str) -> str:
        return masked[self.slack_before : len(masked) - self.slack_after]


def _cut(text: str, start: int) -> _Cut:
    """Some `_DECISION_CHARS` of `text` from `start` on; whole where it is short."""
    if len(text) <= _DECISION_CHARS:
        return _Cut(text, 0, 0)
    last = start + _DECISION_CHARS + _SLACK_CHARS
    before = min(_SLACK_CHARS, start)
    return _Cut(text[start - before : last], before, _SLACK_CHARS if last < len(text) else 0)


def _cuts(decision: Decision) -> tuple[_Cut | None, _Cut | None]:
    before, after = decision.before, decision.after
    if before is None:
        return None, None
    if after is None or decision.action == "dropped":  # `after` is a remark, then
        return _cut(before, 0), None
    is_short = len(before) <= _DECISION_CHARS >= len(after)  # then both are shown whole
    start = 0 if is_short else first_difference(before, after, _CONTEXT_CHARS)
    return _cut(before, start), _cut(after, start)


def excerpt(text: str, redact: Callable[[str], str]) -> str:
    """The beginning of `text` as decisions show it."""
    cut = _cut(text, 0)
    return cut.trimmed(redact(cut.text))


def first_difference(before: str, after: str, context: int) -> int:
    """Where to begin to show what changed: `context` characters before it."""
    return max(0, _shared_prefix(before, after) - context)


def _shared_prefix(a: str, b: str) -> int:
    """How many characters `a` and `b` begin with in common, found by halving."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a.startswith(b[low:middle], low):
            low = middle
        else:
            high = middle - 1
    return low
