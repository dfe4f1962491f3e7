"""Runs of digits: where a text has seven and more of them in a row, whatever separates them.

All numbers that identify begin where a run or a group in one begins, so only these places are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_RUN = re.compile(r"[0-9](?=[0-9 .()（）-]{6})(?:[ .()（）-]{0,3}+[0-9]){6,}+")  # after few digits no more is tried
_GROUP = re.compile("[0-9]+")
_SEPARATORS = dict.fromkeys(map(ord, " .()（）-"))


class Run:
    def __init__(self, text: str, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.digits = text[start:end]
        self.is_solid = self.digits.isdigit()
        self.groups = [(start, end)]  # where its groups of digits begin and end
        if not self.is_solid:
            self.digits = self.digits.translate(_SEPARATORS)
            self.groups = [match.span() for match in _GROUP.finditer(text, start, end)]

    def is_bounded(self, text: str) -> bool:
        """Whether no Latin letter touches it."""
        return not (_is_latin(text[self.start - 1 : self.start]) or _is_latin(text[self.end : self.end + 1]))


def runs(text: str) -> Iterator[Run]:
    for match in _RUN.finditer(text):
        yield Run(text, *match.span())


def _is_latin(char: str) -> bool:
    return char.isascii() and char.isalpha()
