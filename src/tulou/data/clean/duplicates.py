"""Copies: the same text again, and nearly the same text again. The first one stays.

Two equal texts with different labels contradict each other; the first label stays and the rest is recorded as
`other_label`. Near copies are looked for among prose only: table rows differ by one value on purpose, texts with
different numbers state different facts, and a near copy under another label asks another question.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from tulou.data.clean.record import Judge
from tulou.data.similarity import NearIndex, shingles

_NOT_A_LETTER = re.compile(r"[\W_]+")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


def exact_duplicate() -> Judge:
    """Texts that are equal but for case, punctuation and white space."""
    first: dict[bytes, tuple[str, str | None]] = {}  # digest to the id and label of the copy kept

    def judge(row: dict[str, Any]) -> tuple[str, str | None] | None:
        plain = _NOT_A_LETTER.sub("", row["text"].casefold())
        digest = hashlib.blake2b(plain.encode(), digest_size=16).digest()
        found = first.setdefault(digest, (row["id"], row["label"]))
        if found[0] == row["id"]:
            return None
        is_same = row["label"] is None or row["label"] == found[1]
        return ("same_text" if is_same else "other_label"), found[0]

    return judge


def near_duplicate(threshold: float, is_labelled: bool) -> Judge:
    """Texts whose Jaccard similarity reaches `threshold`."""
    seen = NearIndex(threshold)
    details: dict[str, tuple[str | None, list[str]]] = {}  # id to label and numbers

    def judge(row: dict[str, Any]) -> tuple[str, str | None] | None:
        if not is_labelled and "row=" in row["position"]:
            return None
        items = shingles(row["text"])
        numbers = [] if is_labelled else sorted(_NUMBER.findall(row["text"]))
        for key, _ in seen.similar(items):
            if details[key] == (row["label"], numbers):
                return "near_copy", key
        seen.add(row["id"], items)
        details[row["id"]] = (row["label"], numbers)
        return None

    return judge
