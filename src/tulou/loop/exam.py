"""The exam: questions that no training saw, put to the whole assistant, and judged on what it found and what it cited.

It asks for documents and not for wording: was the right document among the first three found, does the answer cite
it, and is an off-topic question declined. That needs no judge model and no luck.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tulou.core.errors import DataError
from tulou.core.progress import Progress

TOP = 3


@dataclass(frozen=True)
class Question:
    id: str
    language: str
    question: str
    documents: tuple[str, ...] = ()  # uris, any of which answers it; none for an off-topic question


@dataclass(frozen=True)
class Answered:
    """What the assistant did with one question."""

    kind: str  # "generated", "quoted", "declined"
    found: tuple[str, ...]  # uris of the documents found, best first, each once
    cited: tuple[str, ...]  # uris of the documents the answer's text was taken from
    text: str


Ask = Callable[[str], Awaitable[Answered]]


def load_questions(path: Path) -> list[Question]:
    """Questions from JSON lines with `id`, `language`, `question` and, for the real exam, `documents`.

    Raises `DataError` naming the file and the line that is wrong.
    """
    questions = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"the exam {path} does not exist; name it in [exam] of tulou.toml") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            questions.append(
                Question(str(row["id"]), str(row["language"]), str(row["question"]), tuple(row.get("documents", ())))
            )
        except (ValueError, KeyError, TypeError) as err:
            raise DataError(f"{path}, line {number}: not a question with id, language and question ({err})") from err
    return questions


async def take_exam(
    questions: Sequence[Question], off_topic: Sequence[Question], ask: Ask, progress: Progress
) -> dict[str, Any]:
    """Ask everything once; returns counts, counts by language, how answers were made, and each miss in full."""
    rows = []
    with progress.bar("exam", len(questions) + len(off_topic), "questions") as bar:
        for question in (*questions, *off_topic):
            answered = await ask(question.question)
            rows.append(_judge(question, answered))
            bar.advance()
    return {**_score(rows), "rows": rows}


def _judge(question: Question, answered: Answered) -> dict[str, Any]:
    right = set(question.documents)
    return {
        "id": question.id,
        "language": question.language,
        "question": question.question,
        "on_topic": bool(right),
        "kind": answered.kind,
        "in_top_3": bool(right & set(answered.found[:TOP])),
        "cited_right": bool(right & set(answered.cited)),
        "expected": sorted(right),
        "found": list(answered.found[:TOP]),
        "cited": list(answered.cited),
        "answer": answered.text,
    }


def _score(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    on = [row for row in rows if row["on_topic"]]
    off = [row for row in rows if not row["on_topic"]]
    score: dict[str, Any] = {
        "questions": len(on),
        "in_top_3": sum(row["in_top_3"] for row in on),
        "cited_right": sum(row["cited_right"] for row in on),
        "declined_wrongly": sum(row["kind"] == "declined" for row in on),
        "off_topic": len(off),
        "off_topic_declined": sum(row["kind"] == "declined" for row in off),
        "kinds": {kind: sum(row["kind"] == kind for row in rows) for kind in ("generated", "quoted", "declined")},
    }
    score["by_language"] = {
        language: {
            "questions": len(of_language),
            "in_top_3": sum(row["in_top_3"] for row in of_language),
            "cited_right": sum(row["cited_right"] for row in of_language),
        }
        for language in sorted({row["language"] for row in on})
        if (of_language := [row for row in on if row["language"] == language])
    }
    return score
