"""Characters that look the same made the same, and white space that means nothing made plain.

NFKC as a whole would turn ① into 1 and m² into m2, so only what is safe is folded: full-width letters, digits and
symbols (Chinese punctuation stays), ligatures, compatibility ideographs and radicals, and composition of accents.
"""

from __future__ import annotations

import re
import unicodedata

_CHINESE_PUNCTUATION = "！（），：；？～"
_FOLDED_RANGES = [
    (0xFF01, 0xFF5E),  # full-width ASCII
    (0xFFE0, 0xFFE6),  # full-width currency
    (0xFB00, 0xFB06),  # Latin ligatures
    (0xF900, 0xFAFF),  # CJK compatibility ideographs
    (0x2E80, 0x2FDF),  # CJK and Kangxi radicals, which PDFs write for the characters themselves
]
_FOLD = {
    code: folded
    for first, last in _FOLDED_RANGES
    for code in range(first, last + 1)
    if chr(code) not in _CHINESE_PUNCTUATION and (folded := unicodedata.normalize("NFKC", chr(code))) != chr(code)
}
_INVISIBLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufffe]")

_SPACES = re.compile(r"(?<=\S)[ \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_CJK_GAP = re.compile(
    r"(?<=[，。！？：；、）]) (?=[\u3400-\u9fff，。！？：；、（])|(?<=[\u3400-\u9fff]) (?=[，。！？：；、）])"
)
_BLANK_LINES = re.compile(r"\n{3,}")


def fold_characters(text: str) -> tuple[str, list[str]]:
    if text.isascii() and not _INVISIBLE.search(text):
        return text, []
    rules = []
    if (visible := _INVISIBLE.sub("", text)) != text:
        rules.append("invisible")
    if (folded := visible.translate(_FOLD)) != visible:
        rules.append("full_width")
    if (composed := unicodedata.normalize("NFC", folded)) != folded:
        rules.append("composed")
    return composed, rules


def collapse_space(text: str) -> tuple[str, list[str]]:
    """Runs of spaces to one, none at line ends or beside Chinese punctuation, at most one blank line."""
    lines = (_CJK_GAP.sub("", _SPACES.sub(" ", line)).rstrip() for line in text.replace("\r", "\n").split("\n"))
    plain = _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n")
    plain = plain if "\n" in plain else plain.strip()
    return plain, ["collapsed"] if plain != text else []
