"""How good a model is on rows that it has not seen, measured on the graph that will be served.

A classifier: accuracy, macro-F1, accuracy by language, and which labels it takes for which. A chat model: perplexity
and next-token accuracy on held-out answers; neither says that it writes well, both suffer when compression hurts.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tulou.core.errors import DataError
from tulou.core.types import CONVERSATION, LABELLED
from tulou.model.causal import IGNORED, encode_conversation, load_chat_tokenizer
from tulou.model.rows import read_rows
from tulou.model.served import ServedEncoder, ServedScorer

CONFUSIONS_SHOWN = 10
MAX_CONVERSATIONS = 200


def evaluate_classifier(model: Path | Callable[[str], str], examples: Path, split: str = "test") -> dict[str, Any]:
    """Score a served folder, or any function from text to label, on the LABELLED rows of one split.

    Raises `DataError` where that split is empty.
    """
    predict = ServedEncoder(model).label if isinstance(model, Path) else model
    rows = [row for row in read_rows(examples, LABELLED) if row["split"] == split]
    if not rows:
        raise DataError(f"{examples} has no rows of split {split!r} to evaluate on")
    return score_labels(
        [row["label"] for row in rows], [predict(row["text"]) for row in rows], [row["language"] for row in rows]
    )


def score_labels(truth: Sequence[str], guesses: Sequence[str], languages: Sequence[str]) -> dict[str, Any]:
    right = [want == got for want, got in zip(truth, guesses, strict=True)]
    by_language: dict[str, list[bool]] = defaultdict(list)
    for language, is_right in zip(languages, right, strict=True):
        by_language[language].append(is_right)
    confused = Counter((want, got) for want, got in zip(truth, guesses, strict=True) if want != got)
    return {
        "rows": len(right),
        "accuracy": sum(right) / len(right),
        "macro_f1": _macro_f1(truth, guesses),
        "by_language": {language: sum(marks) / len(marks) for language, marks in sorted(by_language.items())},
        "confusions": [
            {"label": want, "predicted": got, "count": count}
            for (want, got), count in confused.most_common(CONFUSIONS_SHOWN)
        ],
    }


def evaluate_chat(folder: Path, examples: Path, split: str = "validation") -> dict[str, Any]:
    """Score a served chat folder on the answers of one split's CONVERSATION rows, at most 200 of them.

    Raises `DataError` where that split is empty or nothing of it fits the model's context.
    """
    tokenizer, score = load_chat_tokenizer(folder), ServedScorer(folder)
    rows = [row for row in read_rows(examples, CONVERSATION) if row["split"] == split]
    turns = [encode_conversation(tokenizer, row["messages"]) for row in rows[:MAX_CONVERSATIONS]]
    turns = [turn for turn in turns if len(turn.ids) <= score.max_tokens]
    if not turns:
        raise DataError(f"{examples} has no conversations of split {split!r} that fit the model to evaluate on")
    surprise, right, tokens = 0.0, 0, 0
    for turn in turns:
        logits = score(turn.ids)[:-1].astype(np.float64)  # (T - 1, V): position t predicts the token at t + 1
        targets = np.array(turn.targets[1:])  # (T - 1,)
        is_answer = targets != IGNORED
        logits, targets = logits[is_answer], targets[is_answer]  # (N, V), (N,)
        peak = logits.max(axis=1, keepdims=True)  # (N, 1)
        total = peak[:, 0] + np.log(np.exp(logits - peak).sum(axis=1))  # (N,) log of the sum of exponentials
        surprise += float((total - logits[np.arange(len(targets)), targets]).sum())
        right += int((logits.argmax(axis=1) == targets).sum())
        tokens += len(targets)
    return {
        "conversations": len(turns),
        "tokens": tokens,
        "perplexity": math.exp(min(surprise / tokens, 700.0)),
        "token_accuracy": right / tokens,
    }


def _macro_f1(truth: Sequence[str], guesses: Sequence[str]) -> float:
    """Mean over labels of the harmonic mean of precision and recall."""
    scores = []
    for label in sorted(set(truth)):
        both = sum(want == got == label for want, got in zip(truth, guesses, strict=True))
        named = sum(want == label for want in truth) + sum(got == label for got in guesses)
        scores.append(2 * both / named)
    return sum(scores) / len(scores)
