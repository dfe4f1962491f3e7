"""What happens to a record, in order: the visible list of steps, each with the traits it waits for.

Markup goes before characters are folded, or `＜b＞` would become a tag; sensitive data go before anything is shown.
Copies are not among these steps: they are found among all records, when these steps are done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tulou.core.settings import CleanSettings
from tulou.data.clean.characters import collapse_space, fold_characters
from tulou.data.clean.chinese import simplify
from tulou.data.clean.encoding import repair
from tulou.data.clean.forbidden import forbidden
from tulou.data.clean.markup import strip_markup
from tulou.data.clean.quality import (
    BOILERPLATE_CHARS,
    BOILERPLATE_HINT,
    DUPLICATE_PASSAGE_SHARE,
    LONG_CHARS,
    PASSAGE_CHARACTERS,
    PASSAGE_WORDS,
    QUALITY_RULES,
    advertising,
    empty,
)
from tulou.data.clean.record import (
    Decision,
    Look,
    Mask,
    Redaction,
    Rewrite,
    Step,
    judging,
    reporting,
    rewriting,
    rewriting_informed,
    survey_of,
    without_dropped,
)
from tulou.data.clean.sensitive import Guard, build_guard
from tulou.data.clean.sensitive.kinds import mark_of
from tulou.data.kernels.passages import may_repeat_passages
from tulou.data.kernels.survey import Count, Trait, survey

WAITS_FOR = {
    "encoding": Trait.MISREAD | Trait.RARE_HAN,
    "markup": Trait.ANGLE | Trait.AMPERSAND,
    "characters": Trait.INVISIBLE | Trait.FOLDABLE,
    "chinese": Trait.HAN_BEYOND,
    "space": Trait.SPACING,
}
"""The traits without one of which a rewriting step changes nothing."""

_MANY_LONG = 16  # long texts in a batch, for which loading Numba pays

# Titles are names, or the first characters of the text, cut in the middle of a word.
_SPELLING: dict[str, Callable[[str, Rewrite, Trait | None], Step]] = {
    "correct": partial(rewriting, leaves_titles=True),
    "report": reporting,
}


@dataclass(frozen=True)
class Rules:
    steps: list[tuple[str, Step]]
    redact: Redaction  # for texts that people look at

    @property
    def mending(self) -> list[tuple[str, Step]]:
        """The steps at the beginning that rewrite texts and titles with a trait of `WAITS_FOR`, and touch no others."""
        return [(name, step) for name, step in self.steps if name in WAITS_FOR]

    @property
    def others(self) -> list[tuple[str, Step]]:
        return [(name, step) for name, step in self.steps if name not in WAITS_FOR]

    def to_mend(self, batch: pa.RecordBatch) -> NDArray[np.int64]:
        """The rows of a SURVEYED batch that `mending` may touch."""
        awaited = np.uint32(reduce(or_, (WAITS_FOR[name] for name, _ in self.mending), 0))
        return np.flatnonzero((batch.column("traits").to_numpy() | batch.column("title_traits").to_numpy()) & awaited)


def build_rules(
    settings: CleanSettings,
    project: Path,
    *,
    is_labelled: bool,
    token_key: bytes | None = None,
    speller: Rewrite | None = None,
    look: Look = survey,
) -> Rules:
    """The steps that look at one record at a time; paths in `settings` are relative to the folder `project`.

    Without a `speller`, which learns from the whole source first, spelling is left out. Raises `SettingsError` for a
    word list or recogniser that cannot be loaded.
    """
    guard = build_guard(settings, token_key, project)
    sensitive = _traits(guard.traits)
    rewrite = partial(rewriting, look=look)
    steps = [
        ("encoding", rewrite("encoding", repair, WAITS_FOR["encoding"])),
        ("markup", rewrite("markup", strip_markup, WAITS_FOR["markup"])),
        ("characters", rewrite("characters", fold_characters, WAITS_FOR["characters"])),
        ("chinese", rewrite("chinese", simplify, WAITS_FOR["chinese"]) if settings.traditional == "simplify" else None),
        ("space", rewrite("space", collapse_space, WAITS_FOR["space"])),
        ("empty", judging("empty", empty, _is_blank)),
        ("sensitive records", _asked_together(guard, judging("sensitive", guard.judge)) if guard.drops else None),
        ("sensitive", _asked_together(guard, rewriting_informed("sensitive", guard.rewrite, sensitive, look))),
        ("spelling", _SPELLING[settings.spelling]("spelling", speller, None) if speller else None),
        (
            "forbidden",
            judging("forbidden", forbidden(project / words)) if (words := settings.forbidden_words) else None,
        ),
        *_quality_steps(settings),
        ("spam", judging("spam", advertising) if is_labelled else None),
    ]
    wanted = [(name, step) for name, step in steps if step and name.partition(" ")[0] not in settings.off]
    return Rules(wanted, Redaction(guard.redact, _traits(guard.shown_traits), look, **_masked(guard, wanted)))


def _masked(guard: Guard, steps: list[tuple[str, Step]]) -> dict[str, Any]:
    """From which step on there is nothing left to mask in what is shown."""
    names = [name.partition(" ")[0] for name, _ in steps]
    if "sensitive" not in names or not guard.masks_what_is_shown:
        return {}
    later = {*names[names.index("sensitive") + 1 :], "exact_duplicate", "near_duplicate"} - {"sensitive"}
    return {"masked_in": frozenset(later), "masked_by": "sensitive", "mark_of": mark_of}


def _traits(names: frozenset[str]) -> Trait | None:
    """None where every text has to be looked at."""
    return None if "ALWAYS" in names else Trait(sum(Trait[name] for name in names))


def _asked_together(guard: Guard, step: Step) -> Step:
    """Recognisers at a URL are asked about a whole batch at a time."""
    if not guard.is_remote:
        return step

    def run(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Decision]]:
        left = without_dropped(batch)
        guard.prepare(text for name in ("text", "title") for text in left.column(name).to_pylist())
        return step(batch)

    return run


def _is_blank(batch: pa.RecordBatch) -> Mask:
    counts = survey_of(batch).counts
    is_blank: Mask = counts[:, Count.CHARS] <= counts[:, Count.SPACES]
    return is_blank


def _quality_steps(settings: CleanSettings) -> list[tuple[str, Step]]:
    """A step for each quality rule that is not switched off, which is asked about the rows it may drop."""
    wanted = {name: make for name, make in QUALITY_RULES.items() if f"quality.{name}" not in settings.off}
    return [
        (f"quality {name}", judging("quality", make(settings), partial(_QUALITY_WAKES[name], settings)))
        for name, make in wanted.items()
    ]


def _may_be_short(settings: CleanSettings, batch: pa.RecordBatch) -> Mask:
    few: Mask = _visible(batch) < settings.min_chars
    return few


def _may_be_symbols(settings: CleanSettings, batch: pa.RecordBatch) -> Mask:
    visible = _visible(batch)
    many: Mask = visible - survey_of(batch).counts[:, Count.ALNUM] > settings.max_symbol_ratio * visible
    return many


def _may_be_digits(settings: CleanSettings, batch: pa.RecordBatch) -> Mask:
    many: Mask = survey_of(batch).counts[:, Count.DIGITS] > settings.max_digit_ratio * _visible(batch)
    return many


def _may_be_foreign(settings: CleanSettings, batch: pa.RecordBatch) -> Mask:
    return np.full(batch.num_rows, bool(settings.languages))


def _may_repeat(_: CleanSettings, batch: pa.RecordBatch) -> Mask:
    seen = survey_of(batch)
    is_long = seen.counts[:, Count.CHARS] >= LONG_CHARS
    is_plain = is_long & (seen.counts[:, Count.PIPES] == 0) & _is_in(batch.column("language"), ("zh", "en"))
    if is_plain.sum() >= _MANY_LONG:
        long_texts = batch.column("text").filter(pa.array(is_plain))
        is_long[is_plain] = may_repeat_passages(long_texts, DUPLICATE_PASSAGE_SHARE, PASSAGE_WORDS, PASSAGE_CHARACTERS)
    may: Mask = is_long | ((seen.traits & np.uint32(Trait.REPEATED | Trait.REPEATED_WORDS | Trait.LINES)) != 0)
    return may


def _is_in(column: pa.StringArray, values: tuple[str, ...]) -> Mask:
    is_in: Mask = pc.is_in(column, pa.array(values)).to_numpy(zero_copy_only=False)
    return is_in


def _may_be_furniture(_: CleanSettings, batch: pa.RecordBatch) -> Mask:
    is_brief = survey_of(batch).counts[:, Count.CHARS] <= BOILERPLATE_CHARS
    return _matches(batch.column("text"), is_brief, BOILERPLATE_HINT)


_QUALITY_WAKES: dict[str, Callable[[CleanSettings, pa.RecordBatch], Mask]] = {
    "too_short": _may_be_short,
    "symbols": _may_be_symbols,
    "digits": _may_be_digits,
    "language": _may_be_foreign,
    "repetitive": _may_repeat,
    "boilerplate": _may_be_furniture,
}


def _visible(batch: pa.RecordBatch) -> NDArray[np.int32]:
    counts = survey_of(batch).counts
    visible: NDArray[np.int32] = counts[:, Count.CHARS] - counts[:, Count.SPACES]
    return visible


def _matches(texts: pa.StringArray, asked: Mask, pattern: str) -> Mask:
    """Which of the texts `asked` about have a match of `pattern` (RE2, any case)."""
    found = asked.copy()
    some = texts.filter(pa.array(asked))
    found[asked] = pc.match_substring_regex(some, pattern, ignore_case=True).to_numpy(zero_copy_only=False)
    return found
