"""A chat model on held-out answers: perplexity and next-token accuracy, by language; and whether its answers are true.

Perplexity and accuracy do not say that it writes well; both suffer when compression hurts. Whether what it writes by
itself is grounded is judged sentence by sentence by whoever is handed in.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tulou.core.errors import DataError
from tulou.core.prompt import passages_in
from tulou.core.tables import CONVERSATION
from tulou.model.causal import IGNORED, Turn, encode_conversation, load_chat_tokenizer
from tulou.model.evaluate.groundedness import Answer, Supports, evaluate_groundedness, shares_words
from tulou.model.rows import read_rows
from tulou.model.served import open_scorer, open_writer

MAX_CONVERSATIONS = 200
HARDEST_SHOWN = 5
WRITTEN_ANSWERS = 24  # answers are generated for so many held-out questions, to see whether they are grounded
WRITTEN_TOKENS = 96  # as the support application allows by default


@dataclass(frozen=True)
class Score:
    """Of the answers' tokens in one conversation, or in several."""

    surprise: float = 0.0  # nats
    right: int = 0
    tokens: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(self.surprise + other.surprise, self.right + other.right, self.tokens + other.tokens)

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.surprise / self.tokens, 700.0))

    def figures(self) -> dict[str, float]:
        return {
            "tokens": self.tokens,
            "perplexity": self.perplexity,
            "token_accuracy": self.right / self.tokens,
        }


def evaluate_chat(folder: Path, examples: Path, split: str = "validation") -> dict[str, Any]:
    """Score a served chat folder on the answers of one split's CONVERSATION rows, at most 200 of them.

    Raises `DataError` where that split is empty or nothing of it fits the model's context.
    """
    scored = _scored(folder, examples, split)
    return {"conversations": len(scored), **_total(score for _, score in scored).figures()}


def report_chat(
    folder: Path,
    examples: Path,
    split: str = "validation",
    segments: Callable[[Mapping[str, Any]], Mapping[str, str]] | None = None,
    supports: Supports = shares_words,
) -> dict[str, Any]:
    """Everything about a chat folder on held-out conversations; `segments(row)` names further columns' values."""
    scored = _scored(folder, examples, split)
    by_segment: dict[str, dict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
    for row, score in scored:
        for name, value in {"language": row["language"], **(segments(row) if segments else {})}.items():
            by_segment[name][value].append(score)
    hardest = sorted(scored, key=lambda pair: -pair[1].surprise / pair[1].tokens)[:HARDEST_SHOWN]
    return {
        "conversations": len(scored),
        **_total(score for _, score in scored).figures(),
        "by_segment": {
            name: {
                value: {"conversations": len(scores), **_total(scores).figures()}
                for value, scores in sorted(values.items())
            }
            for name, values in by_segment.items()
        },
        "hardest": [
            {
                **{key: row[key] for key in ("id", "document_id")},
                "question": row["messages"][-2]["content"].rsplit("\n", 1)[-1],
                "answer": row["messages"][-1]["content"],
                "perplexity": score.perplexity,
            }
            for row, score in hardest
        ],
        "groundedness": evaluate_groundedness(_written(folder, [row for row, _ in scored]), supports),
    }


def _written(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """What the model answers by itself to questions spread over `rows`, with the passages it was shown."""
    write = open_writer(folder)
    step = max(1, len(rows) // WRITTEN_ANSWERS)
    answers = []
    for row in rows[::step][:WRITTEN_ANSWERS]:
        prompt = row["messages"][:-1]
        text = write(prompt, WRITTEN_TOKENS)
        answers.append(Answer(text, tuple(passages_in(prompt[-1]["content"])), row["language"], row["id"]))
    return answers


def _scored(folder: Path, examples: Path, split: str) -> list[tuple[dict[str, Any], Score]]:
    tokenizer, logits_of = load_chat_tokenizer(folder), open_scorer(folder)
    rows = [row for row in read_rows(examples, CONVERSATION) if row["split"] == split][:MAX_CONVERSATIONS]
    turns = [(row, encode_conversation(tokenizer, row["messages"])) for row in rows]
    fitting = [(row, turn) for row, turn in turns if len(turn.ids) <= logits_of.max_tokens]
    if not fitting:
        raise DataError(f"{examples} has no conversations of split {split!r} that fit the model to evaluate on")
    return [(row, _score(turn, logits_of)) for row, turn in fitting]


def _score(turn: Turn, logits_of: Callable[[Sequence[int]], Any]) -> Score:
    logits = logits_of(turn.ids)[:-1].astype(np.float64)  # (T - 1, V): position t predicts the token at t + 1
    targets = np.array(turn.targets[1:])  # (T - 1,)
    is_answer = targets != IGNORED
    logits, targets = logits[is_answer], targets[is_answer]  # (N, V), (N,)
    peak = logits.max(axis=1, keepdims=True)  # (N, 1)
    total = peak[:, 0] + np.log(np.exp(logits - peak).sum(axis=1))  # (N,) log of the sum of exponentials
    surprise = float((total - logits[np.arange(len(targets)), targets]).sum())
    return Score(surprise, int((logits.argmax(axis=1) == targets).sum()), len(targets))


def _total(scores: Any) -> Score:
    return sum(scores, Score())
