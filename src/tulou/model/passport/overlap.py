"""Contamination: how much of each exam question, or held-out row, stands in one training row.

The share of a question's character runs of eight that one row holds, as GPT-3's report did with runs of words (Brown et
al. 2020, appendix C); characters because Chinese has no words to count. The runs of the questions are indexed and the
training rows stream past, so it takes time in proportion to the training set and memory to the questions.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

RUN = 8  # characters without spaces: about two English words, four to eight Chinese ones
SUSPECT = 0.5  # of a question's runs in one row
COPIED = 0.8  # the similarity from which `data.split` keeps two texts on one side
EXAMPLES_SHOWN = 10


def overlap(questions: Sequence[str], training: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """How many of `questions` are in `training`, (id, text) each: whole, nearly, or to a half; the worst in full."""
    folded = [_fold(question) for question in questions]
    runs = [_runs(text) for text in folded]
    holders: dict[str, list[int]] = defaultdict(list)
    for place, question in enumerate(runs):
        for run in question:
            holders[run].append(place)
    best = [(0.0, "", "")] * len(questions)  # share, id and text of the row that holds most
    rows = 0
    for row_id, text in training:
        rows += 1
        bare = _fold(text)
        met = Counter(place for run in _runs(bare) for place in holders.get(run, ()))
        for place, count in met.items():
            share = count / len(runs[place])
            if share > best[place][0]:
                best[place] = (share, row_id, text)
    worst = sorted(range(len(questions)), key=lambda place: -best[place][0])
    return {
        "questions": len(questions),
        "rows": rows,
        "identical": sum(bool(text) and text == _fold(found) for text, (_, _, found) in zip(folded, best, strict=True)),
        "copied": sum(share >= COPIED for share, _, _ in best),
        "suspect": sum(share >= SUSPECT for share, _, _ in best),
        "mean_share": sum(share for share, _, _ in best) / len(best) if best else 0.0,
        "examples": [
            {"question": questions[place], "row": best[place][1], "text": best[place][2], "share": best[place][0]}
            for place in worst[:EXAMPLES_SHOWN]
            if best[place][0] >= SUSPECT
        ],
    }


def _fold(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _runs(folded: str) -> frozenset[str]:
    return frozenset(folded[i : i + RUN] for i in range(max(1, len(folded) - RUN + 1))) if folded else frozenset()
