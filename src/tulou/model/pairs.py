"""Questions and the passages that answer them, for a search encoder to learn from.

Three sources: questions made of the passages themselves, what people clicked after asking, and answers they liked. A
click names a passage by its text, or a document by id, uri or title; of a document's passages the one that shares most
with the question is meant. Questions of the exam, and anything close to them, are taken out.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tulou.core.errors import DataError
from tulou.core.prompt import question_in
from tulou.core.tables import CONVERSATION, DOCUMENT, PAIR, PASSAGE
from tulou.core.types import Passage
from tulou.model.dataset import VALIDATION_SHARE, character_pairs, resembles_exam, share_of
from tulou.model.questions import Questioner
from tulou.model.rows import read_rows

WORDINGS = 2  # of each question made of a passage

Found = tuple[str, Passage, str]
"""A question, the passage that answers it, and where that is known from."""


def search_pairs(
    passages: Path,
    exam: Sequence[str],
    out: Path,
    seed: int,
    embedded_text: Callable[[Mapping[str, str]], str],
    *,
    makes_questions: bool = False,
    clicks: Path | None = None,
    feedback: Path | None = None,
) -> dict[str, Any]:
    """Write PAIR rows to `out`; return how many come from where.

    `embedded_text` gives the text under which the index embeds a PASSAGE row; `clicks` holds DOCUMENT rows, the
    question as text and what was clicked as label; `feedback` CONVERSATION rows. Raises `DataError` where no pair is
    left.
    """
    known = [Passage(**row) for row in read_rows(passages, PASSAGE)]
    library = _Library(known)
    counts: Counter[str] = Counter()
    found: list[Found] = []
    if makes_questions:
        found += _made(known, random.Random(seed))
    for row in read_rows(clicks, DOCUMENT) if clicks else ():
        if not row["label"]:
            counts["click_without_target"] += 1
        elif (passage := library.named(row["label"], row["text"])) is None:
            counts["click_on_unknown"] += 1
        else:
            found.append((row["text"], passage, "clicks"))
    for row in read_rows(feedback, CONVERSATION) if feedback else ():
        question = question_in(row["messages"][-2]["content"])
        if (passage := library.named(row["document_id"], question)) is not None:
            found.append((question, passage, "feedback"))
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for question, passage, source in found:
        if resembles_exam(question, exam):
            counts["removed_like_exam"] += 1
        elif (question, passage.id) not in rows:
            counts[source] += 1
            rows[question, passage.id] = _row(question, passage, embedded_text)
    if not rows:
        raise DataError(
            f"{len(known)} passages, clicks and feedback give no pair of question and passage to learn from"
        )
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows.values()), schema=PAIR), out / "pairs-00000.parquet")
    splits = Counter(row["split"] for row in rows.values())
    kinds = ("passages", "clicks", "feedback", "click_on_unknown", "click_without_target", "removed_like_exam")
    return {"pairs": len(rows), "splits": dict(splits), **{kind: counts[kind] for kind in kinds}}


class _Library:
    """Passages by whatever a click may call them."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._by_name: dict[str, list[Passage]] = defaultdict(list)
        for passage in passages:
            for name in {passage.id, passage.document_id, passage.uri, passage.title, passage.text.strip()} - {""}:
                self._by_name[name].append(passage)

    def named(self, name: str, question: str) -> Passage | None:
        asked = character_pairs(question)
        return max(
            self._by_name.get(name.strip(), ()),
            key=lambda passage: len(asked & character_pairs(f"{passage.heading} {passage.text}")),
            default=None,
        )


def _made(passages: Sequence[Passage], rng: random.Random) -> Iterator[Found]:
    questioner = Questioner(passages)
    for passage in passages:
        for question in questioner.ask(passage, WORDINGS, rng):
            yield question.text, passage, "passages"


def _row(question: str, passage: Passage, embedded_text: Callable[[Mapping[str, str]], str]) -> dict[str, Any]:
    return {
        "id": f"{passage.id}-{int(share_of(question) * 1e9)}",
        "document_id": passage.document_id,
        "question": question,
        "passage": embedded_text({"title": passage.title, "heading": passage.heading, "text": passage.text}),
        "language": passage.language,
        "split": "validation" if share_of(f"{passage.id}/{question}") < VALIDATION_SHARE else "train",
    }
