"""Whether a sentence that a model wrote may be said: only if one passage says the same. Pure decisions.

A small model phrases poorly, so nothing it writes is trusted: clause by clause, its words, numbers and negations must
stand together in one passage in the same order, and the sentence must be whole, sound and in the language of the
question. The price: true paraphrases fail and are quoted instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from tulou.apps import words
from tulou.apps.quantities import Quantity
from tulou.apps.words import Clause
from tulou.core.prompt import is_no_answer
from tulou.core.types import Language, Passage

MIN_ORDER = 0.75  # share of a sentence's words in the order of the source
MAX_SKIPPED = 1  # clauses of the source left out between two of the sentence

_SCATTERED = "joins what the passage says in different places"
_HEADLESS = "begins in the middle of a sentence"
_REORDERED = "the words of the passage in another order"
_REVERSED = "says yes where the passage says no, or the reverse"
_TELLING = (None, _SCATTERED, _HEADLESS, _REORDERED, _REVERSED)  # the most telling reason last

_END = re.compile(r"[。！？.!?…][\"'”’）)」』]*$")
_OPEN, _CLOSE = "（([「『“【", "）)]」』”】"


@dataclass(frozen=True)
class Verdict:
    """Whether one generated sentence may be said; `passage` is the one that says it too."""

    is_grounded: bool
    reason: str
    passage: Passage | None = None


def judge_sentence(sentence: str, language: Language, passages: Sequence[Passage]) -> Verdict:
    """Whether one of `passages` says `sentence`, and `sentence` is whole, sound and in the language of the question."""
    if is_no_answer(sentence):
        return Verdict(False, "the model found no answer")
    if flaw := flaw_of(sentence):
        return Verdict(False, flaw)
    if words.is_chinese(sentence) != (language == "zh"):
        return Verdict(False, "not in the language of the question")
    reasons = []
    for passage in passages:
        reason = _unsupported(sentence, passage)
        if reason is None:
            return Verdict(True, "grounded", passage)
        reasons.append(reason)
    return Verdict(False, reasons[0] if reasons else "no passage")


def flaw_of(sentence: str) -> str | None:
    """What is broken about a sentence whatever it says, or None: cut off, repeating itself, a fragment, garbage."""
    bare = sentence.strip()
    if not _END.search(bare):
        return "not a complete sentence"
    if bare.endswith(("?", "？")):
        return "a question, not an answer"
    if "\ufffd" in bare or not (bare[0].isalnum() or bare[0] in _OPEN + "\"'¥$"):
        return "does not begin like a sentence"
    if "a" <= bare[0] <= "z":
        return "does not begin like a sentence"
    if any(bare.count(o) != bare.count(c) for o, c in zip(_OPEN, _CLOSE, strict=True)):
        return "an open bracket or quotation mark"
    if repeats(bare):
        return "repeats itself"
    if len(words.terms(bare)) + len(words.quantities(bare)) < 2:
        return "says nothing"
    return None


def repeats(text: str) -> bool:
    """Broken repetition: the same words twice running, one character four times, or mostly phrases already said."""
    tokens = re.findall(r"[\u3400-\u9fff]|[a-z]+|\d+(?:\.\d+)*", words.fold(text))
    if re.search(r"([^\W\d])\1{3,}", text):
        return True
    for size in range(1, len(tokens) // 2 + 1):
        for i in range(len(tokens) - 2 * size + 1):
            if tokens[i : i + size] == tokens[i + size : i + 2 * size] and (
                size > 1 or not words.is_chinese(tokens[i])
            ):
                return True
    trigrams = [tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2)]
    return len(trigrams) > 8 and len(set(trigrams)) < 0.75 * len(trigrams)


def _unsupported(sentence: str, passage: Passage) -> str | None:
    """What `sentence` says that `passage` does not, or None.

    Each clause must stand in one clause of the passage, the next one close behind it; the title and headings go without
    saying everywhere.
    """
    head = words.fold(f"{passage.title} {passage.heading}")
    source = words.clauses(passage.text)
    whole = words.fold(passage.text)
    place = None
    for clause in words.clauses(sentence):
        said = [term for term in clause.terms if not words.contains(head, term)]
        numbers = words.quantities(clause.text) - words.quantities(head)
        if missing := [term for term in said if not words.contains(whole, term)]:
            return f"words no passage has: {', '.join(dict.fromkeys(missing))}"
        if unknown := numbers - words.quantities(whole):
            return f"numbers no passage has: {', '.join(sorted(' '.join(pair).strip() for pair in unknown))}"
        if not said and not numbers:
            if words.negations(clause.text) > words.negations(head):
                return _REVERSED
            continue
        reasons = {i: _differs(clause, said, numbers, each, head) for i, each in enumerate(source)}
        if place is not None:
            reasons = {i: reason for i, reason in reasons.items() if place < i <= place + MAX_SKIPPED + 1}
        place = next((i for i, reason in reasons.items() if reason is None), None)
        if place is None:
            return max(reasons.values(), key=_TELLING.index, default=_SCATTERED) or _SCATTERED
    return "says nothing beyond the heading" if place is None else None


def _differs(
    clause: Clause, said: Sequence[str], numbers: AbstractSet[Quantity], source: Clause, head: str
) -> str | None:
    """Why `source` does not say `clause`, or None."""
    if not all(words.contains(source.text, term) for term in said) or not numbers <= words.quantities(source.text):
        return _SCATTERED
    if words.negations(clause.text) != words.negations(source.text):
        return _REVERSED
    if said and _order(said, source.text) < MIN_ORDER:
        return _REORDERED
    subject = [term for term in source.terms if not words.contains(head, term)]
    if said and subject and not _starts(subject[0], said[0]):
        return _HEADLESS
    return None


def _starts(subject: str, said: str) -> bool:
    """Whether a sentence starts where its source does; two texts are not always cut into the same Chinese words."""
    return subject == said or (words.is_chinese(said) and (subject.startswith(said) or said.startswith(subject)))


def _order(said: Sequence[str], source: str) -> float:
    """Share of `said` that comes in the order of `source`: longest common subsequence, Chinese by first position."""
    places = [_place(source, term) for term in said]
    longest: list[int] = []
    for i, place in enumerate(places):
        longest.append(1 + max((longest[j] for j in range(i) if places[j] <= place), default=0))
    return max(longest) / len(said)


def _place(source: str, term: str) -> int:
    if words.is_chinese(term):
        return source.find(term)
    return next((i for i, word in enumerate(words.terms(source)) if word == term), -1)
