"""Whether answers say what the passages say: sentence by sentence, each needs one passage that supports it.

The rule that supports is handed in, so that the assistant's own strict rule and a judge model can be used alike. The
one that ships, `shares_words`, asks that a passage holds all of a sentence's numbers and most of its words in runs (the
extractive fragment coverage of Grusky et al. 2018); a true paraphrase fails it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tulou.core.prompt import is_no_answer
from tulou.core.sentences import split_sentences

Supports = Callable[[str, Sequence[str], str], bool]
"""Whether one of the passages says the sentence; the third argument is the answer's language."""

MIN_COVERAGE = 0.75  # of a sentence's word pairs: one joint between two copied runs in a sentence of five words
UNGROUNDED_SHOWN = 10

_TERM = re.compile(r"[㐀-鿿]|[^\W\d_]+|\d+(?:[.,:]\d+)*")


@dataclass(frozen=True)
class Answer:
    text: str
    passages: tuple[str, ...]
    language: str = "en"
    id: str = ""


def evaluate_groundedness(answers: Iterable[Answer], supports: Supports | None = None) -> dict[str, Any]:
    """Shares of sentences and of answers that are grounded, with the first sentences that are not.

    Answers that decline are counted and not judged. Without any other answer the shares are None.
    """
    supports = supports or shares_words
    counts = {"answers": 0, "declined": 0, "grounded_answers": 0, "sentences": 0, "grounded_sentences": 0}
    ungrounded = []
    for answer in answers:
        if is_no_answer(answer.text):
            counts["declined"] += 1
            continue
        sentences = split_sentences(answer.text)
        wrong = [sentence for sentence in sentences if not supports(sentence, answer.passages, answer.language)]
        counts["answers"] += 1
        counts["grounded_answers"] += bool(sentences) and not wrong
        counts["sentences"] += len(sentences)
        counts["grounded_sentences"] += len(sentences) - len(wrong)
        ungrounded += [{"id": answer.id, "sentence": sentence} for sentence in wrong]
    return {
        **counts,
        "grounded_answer_share": _share(counts["grounded_answers"], counts["answers"]),
        "grounded_sentence_share": _share(counts["grounded_sentences"], counts["sentences"]),
        "ungrounded": ungrounded[:UNGROUNDED_SHOWN],
    }


def shares_words(sentence: str, passages: Sequence[str], language: str = "en") -> bool:  # noqa: ARG001
    """Whether one passage holds all numbers and at least three quarters of the neighbouring words of `sentence`."""
    said = _terms(sentence)
    if not said:
        return False
    pairs: set[tuple[str, ...]] = {*itertools.pairwise(said)} or {(said[0],)}
    numbers = {term for term in said if term[0].isdigit()}
    for passage in passages:
        source = _terms(passage)
        known = {*itertools.pairwise(source), *((term,) for term in source)}
        if numbers <= set(source) and len(pairs & known) / len(pairs) >= MIN_COVERAGE:
            return True
    return False


def _terms(text: str) -> list[str]:
    """Words, numbers and single Chinese characters, in order."""
    return [found.casefold() for found in _TERM.findall(text)]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
