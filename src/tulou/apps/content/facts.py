"""What the knowledge says about a subject, in the two forms a template can use: sentences and properties.

A passage counts only if it names the subject; a property is a line "name: value". Pure functions over search hits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tulou.apps import words
from tulou.apps.support.quoting import sentences_of
from tulou.core.types import Hit, Language, Passage

MAX_SENTENCES = 8
MAX_PROPERTIES = 12

_PROPERTY = re.compile(
    r"^\s*[-*•·|]?\s*(?P<name>[^:：|。；;,，]{1,24}?)\s*[:：]\s*(?P<value>[^:：].{0,159}?)\s*\|?\s*$"
)
_SEPARATOR = re.compile(r"\n|；|; | \| ")


@dataclass(frozen=True)
class Property:
    name: str
    value: str


@dataclass(frozen=True)
class Facts:
    passages: tuple[Passage, ...] = ()
    sentences: tuple[str, ...] = ()
    properties: tuple[Property, ...] = ()


def facts_about(subject: str, language: Language, hits: Sequence[Hit]) -> Facts:
    """Facts from the passages of `hits` that name `subject`, in its language where there are any, best first."""
    naming = [hit.passage for hit in hits if _names(hit.passage, subject)]
    passages = [passage for passage in naming if passage.language == language] or naming
    sentences: dict[str, None] = {}
    properties: dict[str, Property] = {}
    for passage in passages:
        for entry in _entries(passage, subject):
            match = _PROPERTY.match(entry)
            if match and not _is_name_of(match["value"], subject):
                properties.setdefault(
                    words.fold(match["name"]), Property(match["name"].strip(), match["value"].strip())
                )
        for sentence in sentences_of(passage):
            if _is_sentence(sentence) and _is_about(sentence, passage, subject):
                sentences.setdefault(sentence)
    return Facts(tuple(passages), tuple(sentences)[:MAX_SENTENCES], tuple(properties.values())[:MAX_PROPERTIES])


def _names(passage: Passage, subject: str) -> bool:
    return _mentions(f"{passage.title}\n{passage.heading}\n{passage.text}", subject)


def _mentions(text: str, subject: str) -> bool:
    """All words of the subject, and its numbers, are in `text`; "Lark Buds 2" is not "Lark Buds"."""
    folded = words.fold(text)
    if words.fold(subject).strip() in folded:
        return True
    wanted = words.terms(subject)
    return bool(wanted) and all(words.contains(folded, term) for term in wanted)


def _is_about(sentence: str, passage: Passage, subject: str) -> bool:
    """A whole passage headed by the subject is about it; of any other, only the sentences that name it."""
    return _mentions(f"{passage.title} {passage.heading}", subject) or _mentions(sentence, subject)


def _entries(passage: Passage, subject: str) -> list[str]:
    entries = _SEPARATOR.split(passage.text)
    if _mentions(f"{passage.title} {passage.heading}", subject):
        return entries
    names_it = any((match := _PROPERTY.match(entry)) and _is_name_of(match["value"], subject) for entry in entries)
    return entries if names_it else []


def _is_name_of(value: str, subject: str) -> bool:
    return words.fold(subject).strip() in words.fold(value) and len(value) < 2 * len(subject) + 12


def _is_sentence(text: str) -> bool:
    return text.endswith(("。", "！", ".", "!")) and len(words.terms(text)) >= 2
