"""What happens to a record, in order: the visible list of steps, each with the traits it waits for.

Markup goes before characters are folded, or `＜b＞` would become a tag; sensitive data go before anything is shown.
Copies are not among these steps: they are found among all records, when these steps are done.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tulou.core.settings import CleanSettings
from tulou.data.clean.characters import collapse_space, fold_characters
from tulou.data.clean.encoding import repair
from tulou.data.clean.markup import strip_markup
from tulou.data.clean.quality import advertising, empty, quality
from tulou.data.clean.record import Look, Mask, Step, Wake, judging, rewriting
from tulou.data.clean.sensitive import find_sensitive, kinds_to_drop, protect
from tulou.data.kernels.survey import Count, Survey, Trait, survey

Steps = list[tuple[str, Step]]


def build_steps(
    settings: CleanSettings, is_labelled: bool, token_key: bytes | None = None, look: Look = survey
) -> Steps:
    """The steps that look at one record at a time."""
    rewrite = partial(rewriting, look=look)
    steps = [
        ("encoding", rewrite("encoding", repair, Trait.LATIN1 | Trait.RARE_HAN)),
        ("markup", rewrite("markup", strip_markup, Trait.ANGLE | Trait.AMPERSAND)),
        ("characters", rewrite("characters", fold_characters, Trait.INVISIBLE | Trait.FOLDABLE)),
        ("space", rewrite("space", collapse_space, Trait.SPACING)),
        ("empty", judging("empty", empty, _is_blank)),
        ("sensitive", judging("sensitive", _dropping(kinds_to_drop(settings.sensitive)), _has(_SENSITIVE))),
        ("sensitive", rewrite("sensitive", protect(settings.sensitive, token_key), _SENSITIVE)),
        ("quality", judging("quality", quality(settings), _may_be_poor(settings))),
    ]
    if is_labelled:
        steps.append(("spam", judging("spam", advertising)))
    return [(name, step) for name, step in steps if name not in settings.off]


_SENSITIVE = Trait.DIGITS | Trait.AT


def _has(traits: Trait) -> Wake:
    return lambda seen: (seen.traits & np.uint32(traits)) != 0


def _is_blank(seen: Survey) -> Mask:
    return seen.counts[:, Count.CHARS] <= seen.counts[:, Count.SPACES]


def _may_be_poor(settings: CleanSettings) -> Wake:
    def wake(seen: Survey) -> Mask:
        counts = seen.counts
        visible = counts[:, Count.CHARS] - counts[:, Count.SPACES]
        is_short = visible < settings.min_chars
        symbols = visible - counts[:, Count.ALNUM]
        is_odd = symbols > settings.max_symbol_ratio * visible
        return is_short | is_odd | ((seen.traits & np.uint32(Trait.REPEATED | Trait.LINES)) != 0)

    return wake


def _dropping(kinds: set[str]) -> Any:
    def judge(row: dict[str, Any]) -> tuple[str, str | None] | None:
        if not kinds:
            return None
        found = [kind for _, _, kind in find_sensitive(row["text"]) if kind in kinds]
        return (found[0], None) if found else None

    return judge
