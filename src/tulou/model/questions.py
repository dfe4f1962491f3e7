"""Questions that a customer might ask about a passage, with the words of the passage that answer them.

Three sources, all of them in the passage itself: its heading, the telling terms of each sentence, and the columns of
a table row. The answers are copied, so a model trained on them learns to find and quote, not to invent.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tulou.core.sentences import split_sentences
from tulou.core.types import Passage

MAX_ANSWER_BYTES = 320  # about 80 tokens
MIN_ANSWER_BYTES = 24  # a shorter sentence takes the next one along

_OPENINGS = {
    "zh": ("", "", "请问", "你好，", "您好，请问", "想问一下，", "麻烦问下，", "咨询："),
    "en": ("", "", "Hi, ", "Hello, ", "Please tell me: ", "Quick question: ", "I would like to know: "),
}
_HEADING_FORMS = {
    "zh": ("{heading}？", "{topic}：{heading}？", "{topic}的{heading}是怎样的？", "关于{topic}，{heading}？"),
    "en": ("{heading}?", "{topic}: {heading}?", "about {topic}, {heading}?", "what about {heading} ({topic})?"),
}
_TERM_FORMS = {
    "zh": ("{a}{b}怎么规定的？", "{a}和{b}？", "关于{a}，{b}怎么办？", "{a}的话，{b}呢？", "{b} {a}"),
    "en": ("what about {a} and {b}?", "{a} {b}?", "is there anything on {a} with {b}?", "how does {b} work for {a}?"),
}
_FIELD_FORMS = {
    "zh": ("{thing}的{field}是什么？", "{thing}{field}多少？", "{thing}，{field}？", "{field}呢，我说的是{thing}"),
    "en": (
        "what is the {field} of the {thing}?",
        "{thing} {field}?",
        "tell me the {field} of the {thing}",
        "{thing}: {field}?",
    ),
}
# How people ask for columns that most catalogues have; the first pattern found in the column's name counts.
_SPOKEN_FORMS = {
    re.compile("价格|售价|单价"): ("{thing}多少钱？", "{thing}卖多少？", "{thing}什么价？"),
    re.compile("保修|质保"): ("{thing}保修多久？", "{thing}保多长时间？", "{thing}坏了还在保修期吗？"),
    re.compile("颜色"): ("{thing}有什么颜色？", "{thing}有几种颜色可以选？"),
    re.compile("重量"): ("{thing}有多重？", "{thing}重不重？"),
    re.compile(r"\bprice\b", re.IGNORECASE): ("how much is the {thing}?", "how much does the {thing} cost?"),
    re.compile(r"\bwarranty\b", re.IGNORECASE): (
        "how long is the warranty on the {thing}?",
        "is my {thing} under warranty?",
    ),
    re.compile(r"\bcolou?rs?\b", re.IGNORECASE): (
        "which colours does the {thing} come in?",
        "is the {thing} sold in red?",
    ),
    re.compile(r"\bweight\b", re.IGNORECASE): ("how heavy is the {thing}?", "how much does the {thing} weigh?"),
}

_FIELD = re.compile(r"^\s*([^:：\n]{1,30})[:：]\s*(\S.*)$")
_LIST_MARK = re.compile(r"^(?:[-*•]|\d+[.)、])\s*")
_CHINESE_RUN = re.compile(r"[㐀-鿿]+")
_LATIN_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.'-]*[A-Za-z0-9]|[A-Za-z0-9]")


@dataclass(frozen=True)
class Question:
    key: str  # the same for all wordings of one question, so that they stay on one side of the split
    text: str
    answer: str


class Questioner:
    """Makes questions from passages; learns from all of them which terms tell one from another."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = len(passages)
        self._document_frequency = Counter(term for passage in passages for term in set(terms(passage.text)))

    def ask(self, passage: Passage, wordings: int, rng: random.Random) -> Iterable[Question]:
        """Up to `wordings` wordings of every question that `passage` answers."""
        fields = _fields(passage.text)
        if len(fields) >= 3:
            yield from self._about_fields(passage, fields, wordings, rng)
        else:
            yield from self._about_sentences(passage, wordings, rng)

    def _about_fields(
        self, passage: Passage, fields: Sequence[tuple[str, str]], wordings: int, rng: random.Random
    ) -> Iterable[Question]:
        spoken = _spoken(passage)
        (_, thing), rest = fields[0], fields[1:]
        for field, value in rest:
            answer = f"{thing}，{field}：{value}。" if spoken == "zh" else f"{_capital(thing)}, {field}: {value}."
            forms = [*_spoken_forms(field), *_FIELD_FORMS[spoken]]
            for form in rng.sample(forms, min(wordings, len(forms))):
                yield _question(passage, field, form.format(thing=thing, field=field), answer, rng)

    def _about_sentences(self, passage: Passage, wordings: int, rng: random.Random) -> Iterable[Question]:
        spoken = _spoken(passage)
        listed = (_LIST_MARK.sub("", sentence) for sentence in split_sentences(passage.text))
        sentences = [sentence for sentence in listed if _is_whole(sentence)]
        is_frequent_question = not passage.heading and passage.title.endswith(("?", "？"))
        heading = (passage.title if is_frequent_question else passage.heading.rpartition(">")[2]).strip(" ?？")
        if heading and sentences:
            answer = _fill(sentences, MAX_ANSWER_BYTES // 2, spoken)
            forms = _HEADING_FORMS[spoken][:1] * wordings if is_frequent_question else _HEADING_FORMS[spoken]
            for form in rng.sample(forms, min(wordings, len(forms))):
                text = form.format(topic=passage.title, heading=heading)
                yield _question(passage, "heading", text, answer, rng)
        for number, sentence in enumerate(sentences):
            answer = _fill(sentences[number:], MIN_ANSWER_BYTES, spoken)
            telling = self._telling(sentence, 4)
            if len(telling) < 2 or len(answer.encode()) > MAX_ANSWER_BYTES:
                continue
            for form in rng.sample(_TERM_FORMS[spoken], min(wordings, len(_TERM_FORMS[spoken]))):
                a, b = rng.sample(telling, 2)
                yield _question(passage, str(number), form.format(a=a, b=b), answer, rng)

    def _telling(self, sentence: str, count: int) -> list[str]:
        """The terms of `sentence` found in the fewest passages."""
        weight = {t: math.log((1 + self._passages) / (1 + self._document_frequency[t])) for t in terms(sentence)}
        return sorted((t for t in weight if len(t) > 1), key=lambda t: (-weight[t], t))[:count]


def _spoken_forms(field: str) -> Sequence[str]:
    return next((forms for pattern, forms in _SPOKEN_FORMS.items() if pattern.search(field)), ())


def terms(text: str) -> list[str]:
    """Words of both languages, lower case; Chinese cut by jieba."""
    import rjieba

    found = [word.lower() for word in _LATIN_WORD.findall(text)]
    return found + [word for run in _CHINESE_RUN.findall(text) for word in rjieba.cut(run)]


def _fields(text: str) -> list[tuple[str, str]]:
    """(column, value) of each line of a table row; empty if any line is something else."""
    matches = [_FIELD.match(line) for line in text.splitlines() if line.strip()]
    return [(m[1].strip(), m[2].strip()) for m in matches if m] if all(matches) else []


def _is_whole(sentence: str) -> bool:
    """Whether it begins and ends like a sentence; rows of a table and broken lines of a PDF do not."""
    return sentence[-1:] in set("。！？.!?") and not "a" <= sentence[0] <= "z"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _fill(sentences: Sequence[str], enough_bytes: int, spoken: str) -> str:
    """Leading sentences until they hold `enough_bytes`, at least one."""
    joined = ""
    for sentence in sentences:
        joined += ("" if spoken == "zh" or not joined else " ") + sentence
        if len(joined.encode()) >= enough_bytes:
            break
    return joined


def _question(passage: Passage, part: str, text: str, answer: str, rng: random.Random) -> Question:
    spoken = _spoken(passage)
    return Question(f"{passage.id}/{part}", rng.choice(_OPENINGS[spoken]) + text, answer)


def _spoken(passage: Passage) -> str:
    return "zh" if passage.language == "zh" else "en"
