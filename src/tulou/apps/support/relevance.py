"""Whether what search found has to do with the question, and in which order to use it: pure decisions.

Search always finds something. The evidence is how much of the question the passages share: words (weighted by rarity
and plainly counted), runs of Chinese characters, words of a heading. A logistic regression on development questions
gave the weights, and its threshold leans towards answering, because a quote can be judged by its reader and a refusal
cannot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tulou.apps import words
from tulou.apps.support.scope import asks_elsewhere
from tulou.core.types import Hit, Language, Passage

# Weights of the evidence, fitted for each language on 187 questions and 106 off-topic ones; the threshold is 0.
_CHINESE = {"lexical": 1.8, "coverage": 0.9, "runs": 3.1, "headed": 1.7, "shared": 1.0, "bias": -3.1}
_ENGLISH = {"lexical": 0.8, "headed": 0.9, "shared": 1.8, "cosine": 5.0, "bias": -4.5}
_ENGLISH_BY_WORDS = {"lexical": 2.8, "coverage": 1.1, "headed": 1.1, "shared": 3.1, "bias": -5.5}  # without vectors

CONTENDERS = 3  # documents that may be quoted side by side
_CLOSE_SECOND = 0.8  # of the leader's worth; with less, a passage does not contend

_FOLLOW_UP = re.compile(
    r"^(?:那|那么|还有|如果是|要是)|呢[?？]?$|^(?:and|or|but|so|then)\b|^(?:what|how) about\b"
    r"|\b(?:it|that|them|this|those)\b[?.!]?$"
)


@dataclass(frozen=True)
class Relevance:
    """Whether the passages answer questions like this one, and the evidence for it."""

    is_relevant: bool
    reason: str  # "relevant", "nothing_found", "off_topic", "elsewhere", "too_little_in_common"
    evidence: float = 0.0  # log-odds; above 0 is relevant


def judge_relevance(question: str, language: Language, hits: Sequence[Hit]) -> Relevance:
    """Whether the best of `hits` has enough in common with the question."""
    if not hits:
        return Relevance(False, "nothing_found")
    elsewhere = asks_elsewhere(question, [_all_of(hit.passage) for hit in hits])
    if elsewhere is not None:
        return Relevance(False, elsewhere)
    evidence = _evidence(question, language, hits)
    is_relevant = evidence >= 0
    return Relevance(is_relevant, "relevant" if is_relevant else "too_little_in_common", evidence)


def rank(question: str, language: Language, hits: Sequence[Hit]) -> list[Hit]:
    """`hits` in the order in which to use them: search's own, helped by the heading and the question's language.

    The other language stays behind unless it fits clearly better, so that a question whose answer exists in one
    language only is still answered.
    """
    return [hit for _, hit in _by_worth(question, language, hits)]


def contenders(question: str, language: Language, hits: Sequence[Hit]) -> list[Hit]:
    """The best passage, and those of other documents in its language that are nearly as good, best first.

    One hit means that search is sure of its document; several, that a reader should see more than one.
    """
    ranked = _by_worth(question, language, hits)
    if not ranked:
        return []
    most, leader = ranked[0]
    close = [
        hit
        for worth, hit in ranked
        if worth >= _CLOSE_SECOND * most and hit.passage.language == leader.passage.language
    ]
    of_document = {hit.passage.uri: hit for hit in reversed(close)}  # the best of each
    return [hit for hit in close if of_document[hit.passage.uri] is hit][:CONTENDERS]


def _by_worth(question: str, language: Language, hits: Sequence[Hit]) -> list[tuple[float, Hit]]:
    best = max((hit.score for hit in hits), default=0.0) or 1.0
    asked = words.question_terms(question)

    def worth(hit: Hit) -> float:
        own = 0.35 if hit.passage.language == language else 0.0
        vector = max(hit.cosine, 0.0) * (0.2 if language == "zh" else 0.5)  # MiniLM reads little Chinese
        headed = 0.3 * _shared(_head_of(hit.passage), asked) / len(asked) if asked else 0.0
        return own + vector + headed + 0.6 * hit.score / best + 0.8 * hit.lexical + 0.3 * _covered(hit.passage, asked)

    return sorted(((worth(hit), hit) for hit in hits), key=lambda pair: -pair[0])


def is_follow_up(question: str) -> bool:
    """Whether a question leans on the one before it: "And abroad?", "那换货呢？"."""
    return bool(_FOLLOW_UP.search(words.fold(question))) and len(words.question_terms(question)) <= 3


def _evidence(question: str, language: Language, hits: Sequence[Hit]) -> float:
    cosine = max(hit.cosine for hit in hits)
    by_vectors = _ENGLISH if cosine else _ENGLISH_BY_WORDS
    weights = _CHINESE if language == "zh" else by_vectors
    asked = words.question_terms(question)
    texts = [_all_of(hit.passage) for hit in hits]
    measured = {
        "lexical": max(hit.lexical for hit in hits),
        "coverage": max(_covered(hit.passage, asked) for hit in hits),
        "runs": max(_runs(question, text) for text in texts),
        "headed": min(2, max(_shared(_head_of(hit.passage), asked) for hit in hits)),
        "shared": max(_shared(text, asked) for text in texts),
        "cosine": cosine,
        "bias": 1.0,
    }
    return sum(weight * measured[name] for name, weight in weights.items())


def _covered(passage: Passage, asked: Sequence[str]) -> float:
    text = _all_of(passage)
    return sum(words.affinity(text, term) for term in asked) / len(asked) if asked else 0.0


def _shared(text: str, asked: Sequence[str]) -> int:
    return sum(words.affinity(text, term) == 1 for term in asked)


def _runs(question: str, text: str) -> float:
    """Share of the question's Chinese characters that lie in a run of two or more which `text` has, too."""
    runs = words.chinese_runs(question)
    total = sum(map(len, runs))
    found = 0
    for run in runs:
        pairs = [i for i in range(len(run) - 1) if run[i : i + 2] in text]
        found += len({place for i in pairs for place in (i, i + 1)})
    return found / total if total else 0.0


def _head_of(passage: Passage) -> str:
    return words.fold(f"{passage.title} {passage.heading}")


def _all_of(passage: Passage) -> str:
    return words.fold(f"{passage.title}\n{passage.heading}\n{passage.text}")
