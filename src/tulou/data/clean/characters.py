"""Characters that look the same made the same, and white space that means nothing made plain.

NFKC as a whole would turn ① into 1, ½ into 1⁄2 and m² into m2, so only what is safe is folded: full-width letters,
digits and symbols (Chinese punctuation stays), half-width kana, letters in fancy dress (𝐛𝐨𝐥𝐝), ligatures, compatibility
ideographs and radicals, and composition of accents. What cannot be seen goes: controls, zero-width and direction
marks, tags; the joiner inside an emoji stays. Two C-speed passes, about 10 microseconds a kilobyte.
"""

from __future__ import annotations

import re
import unicodedata

NEEDS = ("FOLDABLE", "INVISIBLE")  # of fold_characters
SPACE_NEEDS = ("SPACING",)  # of collapse_space

_CHINESE_PUNCTUATION = "！（），：；？～"
_FOLDED_RANGES = [
    (0xFF01, 0xFF5E),  # full-width ASCII
    (0xFF65, 0xFF9F),  # half-width kana
    (0xFFE0, 0xFFE2),  # full-width currency and signs; U+FFE3 would become a space
    (0xFFE4, 0xFFE6),
    (0x1D400, 0x1D7FF),  # mathematical letters and digits, which advertisers write to get past filters
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
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufffe"
    r"\U000e0000-\U000e007f]|\u200d(?![\u2600-\u27bf\U0001f000-\U0001fbff])"
)

_SPACES = re.compile(r"(?<=\S)[ \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_CJK_GAP = re.compile(
    r"(?<=[，。！？：；、）]) (?=[\u3400-\u9fff，。！？：；、（])|(?<=[\u3400-\u9fff]) (?=[，。！？：；、）])"
)
_ODD_INDENT = re.compile(
    r"[ \t]*[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]\s*"
)  # two U+3000 begin a Chinese paragraph
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
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
    """Runs of spaces to one, none at line ends or beside Chinese punctuation, at most one blank line.

    Indentation by plain spaces and tabs stays: in lists and code it means something.
    """
    plain = "\n".join(map(_collapsed, _LINE_END.sub("\n", text).split("\n")))
    plain = _BLANK_LINES.sub("\n\n", plain).strip("\n")
    plain = plain if "\n" in plain else plain.strip()
    return plain, ["collapsed"] if plain != text else []


def _collapsed(line: str) -> str:
    indent = _ODD_INDENT.match(line)
    return _CJK_GAP.sub("", _SPACES.sub(" ", line[indent.end() :] if indent else line)).rstrip()
