"""Questions that belong elsewhere although a passage may share a word with them: small talk, errands, other companies.

Search finds "bad weather may delay parcels" for a question about the weather. So a request of a kind that no shop
answers counts only if something else in it is found, and the name of another company only if the passages know it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from tulou.apps import lexicon, words


def asks_elsewhere(question: str, texts: Sequence[str]) -> str | None:
    """ "off_topic" or "elsewhere" for a question that the folded `texts` of the hits only seem to answer, else None."""
    folded = words.fold(question)
    if any(not _is_known(name, texts) for name in _companies().findall(folded)):
        return "elsewhere"
    if not _errands().search(folded):
        return None
    generic = lexicon.words("errands", "generic")
    rest = [term for term in words.question_terms(_errands().sub(" ", folded)) if term not in generic]
    support = max((sum(words.affinity(text, term) >= 0.7 for term in rest) for text in texts), default=0)
    return None if support >= 2 and support >= 0.6 * len(rest) else "off_topic"


def _is_known(name: str, texts: Sequence[str]) -> bool:
    return any(name in text if words.is_chinese(name) else re.search(rf"\b{re.escape(name)}\b", text) for text in texts)


@cache
def _errands() -> re.Pattern[str]:
    return re.compile("|".join(lexicon.entries("errands", "patterns")))


@cache
def _companies() -> re.Pattern[str]:
    names = "|".join(map(re.escape, sorted(lexicon.words("companies", "en"), key=len, reverse=True)))
    return re.compile("|".join(lexicon.words("companies", "zh")) + rf"|\b(?:{names})\b")
