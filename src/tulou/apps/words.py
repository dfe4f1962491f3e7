"""What a text says, reduced to what can be compared: content words, quantities, negations, clauses.

Chinese is segmented by jieba and compared by substring, because two texts are rarely cut alike; English is compared by
a crude stem. Numbers are read with their unit, so that "7 days" never supports "7 hours". The price is recall: a true
paraphrase in other words counts as different, and the caller quotes instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import rjieba

from tulou.apps import lexicon
from tulou.apps.lexicon import fold
from tulou.apps.quantities import is_numeral, quantities, without_numerals
from tulou.core.sentences import split_sentences
from tulou.data.search.words import stem
from tulou.data.search.words import words as search_words

_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(rf"[{_HAN}]+|[a-z][a-z0-9]*(?:[-'][a-z0-9]+)*|\d+[a-z][a-z0-9]*")
_HAN_ONLY = re.compile(rf"[{_HAN}]+")
_CLAUSE_END = re.compile(r"[；;。！？!?\n|]+|(?<!\d)[,，]|[,，](?!\d)|\.(?!\d)|\s[-–—]\s|——")

_NEGATION = re.compile(
    r"[不无没未非勿别莫否]|除外|除了|\b(?:no|not|never|none|neither|nor|without|cannot|except|excluding|unless)\b|n['’]t\b"
)
__all__ = [
    "Clause",
    "affinity",
    "clauses",
    "contains",
    "fold",
    "is_chinese",
    "negations",
    "quantities",
    "question_terms",
    "sentences",
    "terms",
]


@dataclass(frozen=True)
class Clause:
    text: str  # folded
    terms: tuple[str, ...]


@lru_cache(maxsize=4096)
def terms(text: str) -> tuple[str, ...]:
    """Content words of `text` in order, Chinese as segmented, English stemmed; numbers are left to `quantities`."""
    return tuple(_terms(fold(text)))


def question_terms(question: str) -> tuple[str, ...]:
    """What a question is about, each word once, as search knows it (synonyms folded), without those that only ask."""
    folded = search_words(question)
    return tuple(dict.fromkeys([word for word in folded if word not in _asking()] or folded))


def contains(text: str, term: str) -> bool:
    """Whether folded `text` holds `term`: Chinese as a substring, English as a whole word of the same stem."""
    return term in text if _HAN_ONLY.fullmatch(term) else term in terms(text)


def affinity(text: str, term: str) -> float:
    """How well `text` covers one of the `question_terms`, 0..1: the word or a synonym, else part of its characters."""
    if term in _found(text):
        return 1.0
    if len(term) > 1 and _HAN_ONLY.fullmatch(term):
        return 0.4 * sum(character in text for character in term) / len(term)
    return 0.0


def chinese_runs(question: str) -> list[str]:
    """The Chinese of a question between the words that only ask or only hold a sentence together."""
    plain = _asking_zh().sub(" ", fold(question))
    return _HAN_ONLY.findall(plain)


def negations(text: str) -> int:
    """How often folded `text` says no; two texts with the same words but another count say different things."""
    return len(_NEGATION.findall(text))


@lru_cache(maxsize=2048)
def clauses(text: str) -> tuple[Clause, ...]:
    """The parts of `text` between punctuation marks, folded; a colon joins what it announces, a property its value."""
    parts = (part.strip() for part in _CLAUSE_END.split(fold(text)) if part)
    return tuple(Clause(part, terms(part)) for part in parts if part)


def sentences(text: str) -> list[str]:
    """Whole sentences of `text`; what a semicolon joins stays joined."""
    whole: list[str] = []
    for part in split_sentences(text):
        if whole and whole[-1].endswith(("；", ";")):
            whole[-1] += part
        else:
            whole.append(part)
    return whole


def is_chinese(text: str) -> bool:
    return bool(_HAN_ONLY.search(text))


def _terms(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(without_numerals(text)):
        token = match.group()
        if _HAN_ONLY.fullmatch(token):
            yield from (
                word
                for word in rjieba.cut(token)
                if word not in lexicon.words("grammar", "zh") and not is_numeral(word)
            )
        elif token not in lexicon.words("grammar", "en") and not token.endswith("n't"):
            yield stem(token.removesuffix("'s"))


@lru_cache(maxsize=2048)
def _found(text: str) -> frozenset[str]:
    return frozenset(search_words(text))


@lru_cache(maxsize=1)
def _asking_zh() -> re.Pattern[str]:
    plain = sorted(lexicon.words("asking", "zh") | lexicon.words("grammar", "zh"), key=len, reverse=True)
    return re.compile("|".join(plain))


@lru_cache(maxsize=1)
def _asking() -> frozenset[str]:
    return lexicon.words("asking", "zh") | {stem(word) for word in lexicon.words("asking", "en")}
