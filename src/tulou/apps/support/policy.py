"""When to answer, what may be said, and what to quote instead: pure decisions about a question, passages and a draft.

A small model phrases poorly, so nothing it writes is trusted: a sentence is said only if one passage says the same with
the same words, numbers and negations in the same order. What fails is replaced by the passage's own best sentences, and
where no passage fits the question, nobody pretends. The price: true paraphrases are quoted instead of generated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tulou.apps import words
from tulou.apps.quantities import Quantity, is_money, is_time
from tulou.apps.support.scope import asks_elsewhere
from tulou.core.prompt import is_no_answer
from tulou.core.types import Hit, Language, Passage

# How much a passage must have in common with the question; calibrated on tests/apps/support_questions.py.
MIN_LEXICAL = 0.45  # share of the question's IDF weight found in the passage
MIN_COVERAGE = 0.5  # share of the question's content words found in it, synonyms counting in part
MIN_COSINE = 0.5  # similarity of MiniLM vectors that speaks for itself (English only)
MIN_ORDER = 0.75  # share of a sentence's words in the order of the source
QUOTE_CHARS = {"zh": 180, "en": 360, "other": 360}  # longest quote
QUOTE_SENTENCES = 3

_END = re.compile(r"[。！？.!?…][\"'”’）)」』]*$")
_MARKUP = re.compile(r"^\s*(?:#{1,6}\s+|[-*+•·]\s+|\d{1,2}[.)、]\s*|>\s*)|\*\*|__|`|^\s*\|\s*|\s*\|\s*$", re.MULTILINE)
_OPEN, _CLOSE = "（([「『“【", "）)]」』”】"
_ANSWER_MARK = re.compile(r"^\s*(?:答|a|answer)\s*[:：]\s*", re.IGNORECASE)
_QUESTION_MARK = re.compile(r"^\s*(?:问|q|question)\s*[:：]\s*", re.IGNORECASE)
_FOLLOW_UP = re.compile(
    r"^(?:那|那么|还有|如果是|要是)|呢[?？]?$|^(?:and|or|but|so|then)\b|^(?:what|how) about\b"
    r"|\b(?:it|that|them|this|those)\b[?.!]?$"
)
# What kind of quantity a question asks for, and how to recognise one that answers it.
_ASKS: tuple[tuple[re.Pattern[str], Callable[[Quantity], bool]], ...] = (
    (re.compile(r"多久|(?:几|多少)(?:天|年|个月|小时)|多长时间|什么时候|何时|how (?:long|soon)|when|until"), is_time),
    (re.compile(r"多少钱|什么价|价格|价钱|几块|费用|运费|how much|price|cost|fee"), is_money),
    (re.compile(r"多少|几|how many|percentage|rate"), lambda _quantity: True),
)


@dataclass(frozen=True)
class Relevance:
    """Whether the passages have to do with the question, and the evidence for it."""

    is_relevant: bool
    reason: str  # "relevant", "nothing_found", "off_topic", "elsewhere", "too_little_in_common"
    lexical: float = 0.0
    coverage: float = 0.0
    cosine: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """Whether one generated sentence may be said; `passage` is the one that says it too."""

    is_grounded: bool
    reason: str
    passage: Passage | None = None


@dataclass(frozen=True)
class Quote:
    text: str
    passage: Passage


# --- Is anything relevant? -------------------------------------------------------------------------------------------


def judge_relevance(question: str, language: Language, hits: Sequence[Hit]) -> Relevance:
    """Whether the best of `hits` answers questions like this one; when in doubt, yes, because a quote can be judged."""
    if not hits:
        return Relevance(False, "nothing_found")
    lexical = max(hit.lexical for hit in hits)
    coverage = max(coverage_of(question, hit.passage) for hit in hits)
    cosine = max(hit.cosine for hit in hits)
    elsewhere = asks_elsewhere(question, [_all_of(hit.passage) for hit in hits])
    if elsewhere is not None:
        return Relevance(False, elsewhere, lexical, coverage, cosine)
    is_relevant = (
        lexical >= MIN_LEXICAL
        or coverage >= MIN_COVERAGE
        or (language != "zh" and cosine >= MIN_COSINE)
        or (lexical + coverage) / 2 + (max(cosine, 0.0) / 4 if language != "zh" else 0.0) >= MIN_LEXICAL
    )
    return Relevance(is_relevant, "relevant" if is_relevant else "too_little_in_common", lexical, coverage, cosine)


def rank(question: str, language: Language, hits: Sequence[Hit]) -> list[Hit]:
    """`hits` in the order in which to quote them: those that cover the question best, its own language first.

    The other language stays behind unless it covers clearly more, so that a question whose answer exists in one
    language only is still answered.
    """
    best = max((hit.score for hit in hits), default=0.0) or 1.0

    kind = _quantity_wanted(question)

    def worth(hit: Hit) -> float:
        own = 0.35 if hit.passage.language == language else 0.0
        own += 0.15 if kind is not None and _has_quantity(hit.passage.text, kind) else 0.0
        vector = max(hit.cosine, 0.0) * (0.2 if language == "zh" else 0.5)
        return own + vector + hit.score / best * 0.6 + hit.lexical * 0.5 + coverage_of(question, hit.passage) * 0.5

    return sorted(hits, key=worth, reverse=True)


def coverage_of(question: str, passage: Passage) -> float:
    """Share of the question's content words that `passage` has, 0..1; synonyms and parts of words count less."""
    asked = words.question_terms(question)
    text = _all_of(passage)
    return sum(words.affinity(text, term) for term in asked) / len(asked) if asked else 0.0


def is_follow_up(question: str) -> bool:
    """Whether a question leans on the one before it: "And abroad?", "那换货呢？"."""
    return bool(_FOLLOW_UP.search(words.fold(question))) and len(words.question_terms(question)) <= 3


# --- May this be said? -----------------------------------------------------------------------------------------------


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
    tokens = re.findall(r"[\u3400-\u9fff]|[a-z0-9.]+", words.fold(text))
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


def addresses(text: str, question: str, language: Language, hits: Sequence[Hit]) -> bool:
    """Whether a grounded `text` is about the question, measured against the quote that would stand in its place.

    It must cover at least half of what the quote covers, and carry a number where the quote answers "how long" with
    one.
    """
    rival = quote(question, language, hits)
    if rival is None:
        return False
    kind = _quantity_wanted(question)
    if kind is not None and _has_quantity(rival.text, kind) and not _has_quantity(text, kind):
        return False
    asked = words.question_terms(question)
    return _covers(text, asked) >= 0.5 * _covers(rival.text, asked)


def _unsupported(sentence: str, passage: Passage) -> str | None:
    """What `sentence` says that `passage` does not, or None."""
    head = words.fold(f"{passage.title} {passage.heading}")
    folded = words.fold(sentence)
    said = [term for term in words.terms(sentence) if not words.contains(head, term)]
    numbers = words.quantities(sentence) - words.quantities(head)
    missing = [term for term in said if not words.contains(words.fold(passage.text), term)]
    if missing:
        return f"words no passage has: {', '.join(dict.fromkeys(missing))}"
    if unknown := numbers - words.quantities(passage.text):
        return f"numbers no passage has: {', '.join(sorted(' '.join(pair).strip() for pair in unknown))}"
    window = _smallest_window(words.clauses(passage.text), said, numbers, len(words.clauses(sentence)) + 1)
    if window is None:
        return "joins what the passage says in different places"
    source = ", ".join(clause.text for clause in window)
    if words.negations(folded) != words.negations(source):
        return "says yes where the passage says no, or the reverse"
    if said and _order(said, source) < MIN_ORDER:
        return "the words of the passage in another order"
    if words.is_chinese(sentence) and said and not any(clause.text.find(said[0]) in range(4) for clause in window):
        return "begins in the middle of a sentence"
    return None


def _smallest_window(
    clauses: Sequence[words.Clause], said: Sequence[str], numbers: Iterable[tuple[str, str]], max_clauses: int
) -> Sequence[words.Clause] | None:
    """The fewest neighbouring clauses that hold all words and numbers of a sentence."""
    wanted = set(numbers)
    for size in range(1, max_clauses + 1):
        for start in range(len(clauses) - size + 1):
            window = clauses[start : start + size]
            text = ", ".join(clause.text for clause in window)
            if all(words.contains(text, term) for term in said) and wanted <= words.quantities(text):
                return window
    return None


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


# --- What to quote ---------------------------------------------------------------------------------------------------


def quote(question: str, language: Language, hits: Sequence[Hit]) -> Quote | None:
    """The best sentences of the best passage in the language of the question, or of the best at all.

    `hits` come ranked. The sentences stand together in the passage and are given as they are.
    """
    own = [hit for hit in hits if hit.passage.language == language] or list(hits)
    for hit in own:
        sentences = sentences_of(hit.passage)
        if sentences:
            return Quote(_best_run(question, language, sentences, hit.passage), hit.passage)
    return None


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
    return _joined(sentences[chosen[0] : chosen[1]])


def _value(sentence: str, asked: Sequence[str], weights: dict[str, float], kind: int | None) -> float:
    value = _covers(sentence, asked, weights)
    return value + 0.35 if kind is not None and _has_quantity(sentence, kind) else value


def _weights(asked: Sequence[str], sentences: Sequence[str], head: str) -> dict[str, float]:
    """Words found in few of the passage's sentences tell these apart; those in its heading go without saying."""
    folded = [words.fold(sentence) for sentence in sentences]
    holding = {term: sum(words.contains(text, term) for text in folded) for term in asked}
    return {
        term: math.log(1 + (len(sentences) + 1) / (1 + count)) * (0.25 if words.contains(head, term) else 1.0)
        for term, count in holding.items()
    }


def _covers(text: str, asked: Sequence[str], weights: dict[str, float] | None = None) -> float:
    folded = words.fold(text)
    total = sum(weights.values()) if weights else float(len(asked))
    if not total:
        return 0.0
    return sum(words.affinity(folded, term) * (weights[term] if weights else 1.0) for term in asked) / total


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


def _all_of(passage: Passage) -> str:
    return words.fold(f"{passage.title}\n{passage.heading}\n{passage.text}")
