"""What to quote: the best sentences of the best passage, as they stand. Pure decisions.

A sentence is worth the words of the question that it holds, rare ones more, and the kind of quantity that the question
asks for. Neighbouring sentences are taken together while each adds something.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tulou.apps import words
from tulou.apps.quantities import Quantity, is_money, is_time
from tulou.core.types import Hit, Language, Passage

QUOTE_CHARS = {"zh": 180, "en": 360, "other": 360}  # longest quote
QUOTE_SENTENCES = 3

_END = re.compile(r"[。！？.!?…][\"'”’）)」』]*$")
_MARKUP = re.compile(r"^\s*(?:#{1,6}\s+|[-*+•·]\s+|\d{1,2}[.)、]\s*|>\s*)|\*\*|__|`|^\s*\|\s*|\s*\|\s*$", re.MULTILINE)
_CELL = re.compile(r"[^:：。.]{1,40}[:：]\s*\S")
_ANSWER_MARK = re.compile(r"^\s*(?:答|a|answer)\s*[:：]\s*", re.IGNORECASE)
_QUESTION_MARK = re.compile(r"^\s*(?:问|q|question)\s*[:：]\s*", re.IGNORECASE)
# What kind of quantity a question asks for, and how to recognise one that answers it.
_ASKS: tuple[tuple[re.Pattern[str], Callable[[Quantity], bool]], ...] = (
    (re.compile(r"多久|(?:几|多少)(?:天|年|个月|小时)|多长时间|什么时候|何时|how (?:long|soon)|when|until"), is_time),
    (re.compile(r"多少钱|什么价|价格|价钱|几块|费用|运费|how much|price|cost|fee"), is_money),
    (re.compile(r"多少|几|how many|percentage|rate"), lambda _quantity: True),
)


@dataclass(frozen=True)
class Quote:
    text: str
    passage: Passage


def quote(question: str, language: Language, hits: Sequence[Hit]) -> Quote | None:
    """The best sentences of the best of `hits`, which come ranked; they stand together and are given as they are.

    A passage in the language of the question goes before better ones in another, if it has half as much to say.
    """
    shown = {hit.passage.id: sentences for hit in hits if (sentences := sentences_of(hit.passage))}
    candidates = [hit.passage for hit in hits if hit.passage.id in shown]
    if not candidates:
        return None
    asked = words.question_terms(question)
    enough = 0.5 * _covers(candidates[0].text, asked)
    own = (each for each in candidates if each.language == language and _covers(each.text, asked) >= enough)
    chosen = next(own, candidates[0])
    return Quote(_best_run(question, language, shown[chosen.id], chosen), chosen)


def sentences_of(passage: Passage) -> list[str]:
    """Sentences fit to be shown: no markup, no repeated heading, no question without its answer."""
    last_heading = re.split(r"\s*>\s*", passage.heading)[-1].strip() if passage.heading else ""
    plain = _MARKUP.sub("", passage.text)
    found = []
    for sentence in words.sentences(plain):
        bare = _ANSWER_MARK.sub("", sentence).strip()
        if not bare or bare in (passage.title, last_heading) or _QUESTION_MARK.match(bare):
            continue
        found.append(bare)
    return found


def _best_run(question: str, language: Language, sentences: Sequence[str], passage: Passage) -> str:
    asked = words.question_terms(question)
    weights = _weights(asked, sentences, words.fold(f"{passage.title} {passage.heading}"))
    kind = _quantity_wanted(question)
    values = [_value(sentence, asked, weights, kind) for sentence in sentences]
    for i, sentence in enumerate(sentences[:-1]):  # a question is answered, and a colon explained, by what follows
        if sentence.endswith(("?", "？", ":", "：")):
            values[i + 1] += values[i]
            values[i] = values[i] if sentence.endswith((":", "：")) else 0.0
    best, chosen = -math.inf, (0, 1)
    for start in range(len(sentences)):
        for stop in range(start + 1, min(start + QUOTE_SENTENCES, len(sentences)) + 1):
            run = sentences[start:stop]
            too_long = sum(map(len, run)) > QUOTE_CHARS[language] and stop - start > 1
            if too_long or run[0].endswith(("?", "？")) or (run[-1].endswith((":", "：")) and stop < len(sentences)):
                continue
            worth = _covers(" ".join(run), asked, weights) + 0.2 * sum(values[start:stop]) - 0.12 * (stop - start - 1)
            worth += 0.25 * max(values[start:stop]) - 0.01 * start
            if worth > best + 1e-9:
                best, chosen = worth, (start, stop)
    best_run = _joined(_with_list(sentences, *chosen, QUOTE_CHARS[language]))
    if kind is not None and not _has_quantity(best_run, kind) and _is_row(sentences, QUOTE_CHARS[language]):
        return _joined(sentences)  # the cell that names the thing is not the cell that was asked for
    return best_run


def _is_row(sentences: Sequence[str], max_chars: int) -> bool:
    """Whether these are the cells of a table row, "column: value" each, short enough to be quoted together."""
    return all(map(_CELL.match, sentences)) and sum(map(len, sentences)) <= max_chars


def _with_list(sentences: Sequence[str], start: int, stop: int, max_chars: int) -> Sequence[str]:
    """A run in which a colon announces a list, with all of the list that fits."""
    is_list = any(sentence.endswith((":", "：")) for sentence in sentences[start:stop])
    while is_list and stop < len(sentences) and not _END.search(sentences[stop]):
        if sum(map(len, sentences[start : stop + 1])) > max_chars:
            break
        stop += 1
    return sentences[start:stop]


def _value(sentence: str, asked: Sequence[str], weights: dict[str, float], kind: int | None) -> float:
    value = _covers(sentence, asked, weights)
    return value + 0.35 if kind is not None and _has_quantity(sentence, kind) else value


def _weights(asked: Sequence[str], sentences: Sequence[str], head: str) -> dict[str, float]:
    """Words found in few of the passage's sentences tell these apart; those in its heading go without saying."""
    holding = {term: sum(words.affinity(sentence, term) == 1 for sentence in sentences) for term in asked}
    return {
        term: math.log(1 + (len(sentences) + 1) / (1 + count)) * (0.25 if words.affinity(head, term) == 1 else 1.0)
        for term, count in holding.items()
    }


def _covers(text: str, asked: Sequence[str], weights: dict[str, float] | None = None) -> float:
    total = sum(weights.values()) if weights else float(len(asked))
    if not total:
        return 0.0
    return sum(words.affinity(text, term) * (weights[term] if weights else 1.0) for term in asked) / total


def _quantity_wanted(question: str) -> int | None:
    folded = words.fold(question)
    return next((i for i, (pattern, _) in enumerate(_ASKS) if pattern.search(folded)), None)


def _has_quantity(text: str, kind: int) -> bool:
    return any(map(_ASKS[kind][1], words.quantities(text)))


def _joined(sentences: Sequence[str]) -> str:
    text = ""
    for sentence in sentences:
        glue = "" if not text or text[-1] in "。！？；：，" else "\n" if not _END.search(text) else " "
        text += glue + sentence
    return text


def addresses(text: str, question: str, language: Language, hits: Sequence[Hit]) -> bool:
    """Whether a grounded `text` is about the question, measured against the quote that would stand in its place.

    It must cover nearly all that the quote covers, and carry a number where the quote answers "how long" with
    one.
    """
    rival = quote(question, language, hits)
    if rival is None:
        return False
    kind = _quantity_wanted(question)
    if kind is not None and _has_quantity(rival.text, kind) and not _has_quantity(text, kind):
        return False
    asked = words.question_terms(question)
    return _covers(text, asked) >= 0.8 * _covers(rival.text, asked)
