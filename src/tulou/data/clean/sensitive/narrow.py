"""A text as recognisers read it: narrow digits and letters, one kind of dash and space, nothing invisible.

Folding is one to one, so places carry over; only zero-width characters are taken out, and then a table leads from
places in the narrow text back to the text as written. Most texts have neither and are passed on as they are.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_ZERO_WIDTH = "\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff"
_INVISIBLE = re.compile(f"[{_ZERO_WIDTH}]")
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_SPACES = "\xa0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_FOLD = (
    {
        chr(code): chr(code - 0xFEE0)
        for first, last in ((0xFF10, 0xFF19), (0xFF20, 0xFF3A), (0xFF41, 0xFF5A))
        for code in range(first, last + 1)
    }
    | dict(zip("＋．＿％＃", "+._%#", strict=True))
    | dict.fromkeys(_DASHES, "-")
    | dict.fromkeys(_SPACES, " ")
)
_WIDE_SIGNS = f"{_DASHES}{_SPACES}０-９＠-Ｚａ-ｚ＋．＿％＃"
_WIDE = re.compile(f"[{_WIDE_SIGNS}]")
_NOT_NARROW = re.compile(f"[{_WIDE_SIGNS}{_ZERO_WIDTH}]")


class Narrow(NamedTuple):
    text: str
    places: list[int] | None  # of each character in the text as written, and its end; None: the same

    def span(self, start: int, end: int) -> tuple[int, int]:
        if self.places is None:
            return start, end
        return self.places[start], self.places[end - 1] + 1


def narrow(text: str) -> Narrow:
    if text.isascii() or not _NOT_NARROW.search(text):
        return Narrow(text, None)
    folded = _WIDE.sub(lambda char: _FOLD[char[0]], text)  # few characters of a text are wide
    if not _INVISIBLE.search(folded):
        return Narrow(folded, None)
    places = [place for place, char in enumerate(folded) if not _INVISIBLE.match(char)]
    return Narrow(_INVISIBLE.sub("", folded), places)
